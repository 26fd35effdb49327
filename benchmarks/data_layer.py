"""CPU-seconds, wall seconds, peak memory and bytes of every data step of an edition.

    python benchmarks/data_layer.py --edition 2022 > benchmarks/data_layer.md

Each step runs in a process of its own, so that its peak memory is its own; imports are in the
figures. Workbooks come from NAICS_SOURCE_DIR, from the package (`sample`), or from the network.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from measuring import megabytes, own_processes, print_head

from naics_model.corpus.editions import load_editions
from naics_model.dataset.checks import CHECKED
from naics_model.dataset.steps import Step, steps_of
from naics_model.encoder.backbones import MINILM
from naics_model.storage.layout import EditionFolder

LAST_OF_THE_TAXONOMY = 'relations'
CPU_BAR, MEMORY_BAR = 15.0, 1000.0


def steps(folder: EditionFolder) -> list[Step]:
    source = os.environ.get('NAICS_SOURCE_DIR')
    return steps_of(folder, Path(source) if source else None, MINILM)


def run(number: int, folder: EditionFolder) -> Path:
    """Run a step, and the checks of what it wrote where it has not run them itself."""
    step = steps(folder)[number]
    made = step.run(lambda line: None)
    if step.name in CHECKED and not made.checks:
        CHECKED[step.name].run(folder)
    return made.path


def print_row(name: str, *figures: float) -> None:
    cpu, wall, peak, output = figures
    print(f'| {name} | {cpu:.2f} | {wall:.2f} | {peak:.0f} | {output:.2f} |', flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--edition', default='2022', choices=list(load_editions()))
    options = parser.parse_args()
    print_head(f'Data layer, edition {options.edition}', 'data_layer.py')
    print(
        'Each step is a process of its own. Its checks are counted, and in the CPU-seconds also '
        'its imports, half a second that a run of all steps pays once. The relation index is held '
        'against all triplets.\n'
    )
    print('| step | CPU-seconds | wall seconds | peak memory, MB | output, MB |')
    print('|---|---:|---:|---:|---:|', flush=True)
    done = []
    with tempfile.TemporaryDirectory() as data, own_processes() as apply:
        folder = EditionFolder(Path(data), options.edition)
        for number, step in enumerate(steps(folder)):
            took = apply(run, number, folder)
            done.append((took.cpu, took.wall, took.peak_mb, megabytes(took.value)))
            print_row(step.name, *done[-1])
            if step.name == LAST_OF_THE_TAXONOMY:
                cpu, wall, peak, output = zip(*done, strict=True)
                print_row(
                    '**corpus and taxonomy in all**', sum(cpu), sum(wall), max(peak), sum(output)
                )
                print(f'| *bar* | {CPU_BAR:.2f} |  | {MEMORY_BAR:.0f} |  |', flush=True)


if __name__ == '__main__':
    main()
