"""CPU-seconds, wall seconds, peak memory and bytes of every data step of an edition.

    python benchmarks/data_layer.py --edition 2022 > benchmarks/data_layer.md

Each step runs in a process of its own, so that its peak memory is its own; imports are in the
figures. Workbooks come from NAICS_SOURCE_DIR, from the package (`sample`), or from the network.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import resource
import shlex
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from naics_model.corpus.editions import load_editions
from naics_model.dataset.checks import CHECKED
from naics_model.dataset.steps import Step, steps_of
from naics_model.encoder.backbones import MINILM
from naics_model.jobs.cost import peak_memory_bytes
from naics_model.storage.layout import EditionFolder

LAST_OF_THE_TAXONOMY = 'relations'
CPU_BAR, MEMORY_BAR = 15.0, 1000.0


class Figures(NamedTuple):
    """What a step took: CPU-seconds, wall seconds, and megabytes of memory and of output."""

    cpu: float
    wall: float
    peak: float
    output: float

    def row(self, name: str) -> str:
        return (
            f'| {name} | {self.cpu:.2f} | {self.wall:.2f} | {self.peak:.0f} | {self.output:.2f} |'
        )


def steps(folder: EditionFolder) -> list[Step]:
    source = os.environ.get('NAICS_SOURCE_DIR')
    return steps_of(folder, Path(source) if source else None, MINILM)


def measure(number: int, folder: EditionFolder) -> Figures:
    """Run a step in this process, and the checks of its table."""
    started = time.monotonic()
    step = steps(folder)[number]
    made = step.run(lambda line: None)
    if step.name in CHECKED:
        CHECKED[step.name].run(folder)
    wall = time.monotonic() - started
    usage = resource.getrusage(resource.RUSAGE_SELF)
    peak = peak_memory_bytes() / 1e6
    return Figures(usage.ru_utime + usage.ru_stime, wall, peak, made.path.stat().st_size / 1e6)


def total(rows: list[Figures]) -> Figures:
    cpu, wall, peak, output = zip(*rows, strict=True)
    return Figures(sum(cpu), sum(wall), max(peak), sum(output))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--edition', default='2022', choices=list(load_editions()))
    options = parser.parse_args()
    print(f'# Data layer, edition {options.edition}\n')
    command = shlex.join(['python', 'benchmarks/data_layer.py', *sys.argv[1:]])
    print(f'`{command}`, {os.cpu_count()} cores, Python {platform.python_version()}\n')
    print(
        'Each step is a process of its own; its imports and the checks of its table are counted.\n'
    )
    print('| step | CPU-seconds | wall seconds | peak memory, MB | output, MB |')
    print('|---|---:|---:|---:|---:|', flush=True)
    done: list[Figures] = []
    with tempfile.TemporaryDirectory() as data:
        folder = EditionFolder(Path(data), options.edition)
        # A new process for each step; nothing of the one before is inherited.
        with multiprocessing.get_context('spawn').Pool(1, maxtasksperchild=1) as pool:
            for number, step in enumerate(steps(folder)):
                done.append(pool.apply(measure, (number, folder)))
                print(done[-1].row(step.name), flush=True)
                if step.name == LAST_OF_THE_TAXONOMY:
                    layer = total(done)
                    print(layer.row('**corpus and taxonomy in all**'), flush=True)
                    print(f'| *bar* | {CPU_BAR:.2f} |  | {MEMORY_BAR:.0f} |  |', flush=True)


if __name__ == '__main__':
    main()
