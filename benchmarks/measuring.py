"""What the benchmarks share: a process of its own for each figure, a head, synthetic taxonomies,
and a training as the command makes it.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import resource
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from naics_model.jobs.cost import peak_memory_bytes
from naics_model.storage.files import write_parquet
from naics_model.storage.layout import EditionFolder
from naics_model.taxonomy.distances import distance_table
from naics_model.taxonomy.tree import Taxonomy

# Two-digit prefixes that are no part of a range sector.
_SECTORS = [str(prefix) for prefix in range(10, 100) if prefix not in (31, 32, 33, 44, 45, 48, 49)]
_CODES_PER_SECTOR = 106


class Figures(NamedTuple):
    """What a piece of work took, and what it returned."""

    cpu: float
    wall: float
    peak_mb: float
    value: Any


def print_head(title: str, script: str) -> None:
    """Print a title, the command that makes the page, and the machine."""
    command = shlex.join(['python', f'benchmarks/{script}', *sys.argv[1:]])
    print(f'# {title}\n')
    print(f'`{command}`, {os.cpu_count()} cores, Python {platform.python_version()}\n', flush=True)


@contextmanager
def own_processes() -> Iterator[Callable[..., Figures]]:
    """Yield a function that calls another with arguments in a new process, and measures it.

    Nothing of the process before is inherited, so that its peak of memory is its own. Imports are
    in the CPU-seconds and in the memory.
    """
    with multiprocessing.get_context('spawn').Pool(1, maxtasksperchild=1) as pool:
        yield lambda work, *arguments: pool.apply(_measure, (work, *arguments))


def _measure(work: Callable[..., Any], *arguments: Any) -> Figures:
    started = time.monotonic()
    value = work(*arguments)
    wall = time.monotonic() - started
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return Figures(usage.ru_utime + usage.ru_stime, wall, peak_memory_bytes() / 1e6, value)


def write_synthetic(folder: EditionFolder, sectors: int) -> int:
    """Write the descriptions and distances of a made-up edition; return its number of codes.

    Every sector is the same tree of 106 codes: 5 subsectors, 15 groups, 30 industries and 55
    national industries, which are the proportions of 2022 with its 106 codes a sector on average.
    Each six-digit code names the first group of the next sector in a cross-reference.
    """
    # Here, because the libraries that read workbooks are not on every machine that measures.
    from naics_model.corpus import descriptions

    codes: list[str] = []
    for sector in _SECTORS[:sectors]:
        subsectors = [f'{sector}{digit}' for digit in range(1, 6)]
        groups = [f'{code}{digit}' for code in subsectors for digit in range(1, 4)]
        industries = [f'{code}{digit}' for code in groups for digit in range(1, 3)]
        # Five in six industries have two national industries, as 55 of 30 asks for.
        leaves = [f'{code}{d}' for i, code in enumerate(industries) for d in range(1 + (i % 6 > 0))]
        codes += [sector, *subsectors, *groups, *industries, *leaves]
    assert len(codes) == sectors * _CODES_PER_SECTOR
    taxonomy = Taxonomy.from_codes(codes)
    following = dict(zip(_SECTORS[:sectors], [*_SECTORS[1:sectors], _SECTORS[0]], strict=True))
    excluded = [[f'{following[code[:2]]}11'] if len(code) == 6 else None for code in codes]
    text = pl.Series(codes)
    table = pl.DataFrame(
        {
            'index': range(len(codes)),
            'level': taxonomy.levels,
            'code': text,
            'title': text,
            'description': text,
            'examples': None,
            'excluded': None,
            'excluded_codes': excluded,
            'printed_code': text,
            'parent': [None if p < 0 else codes[p] for p in taxonomy.parents],
        },
        schema=descriptions.TABLE.schema,
    )
    write_parquet(table, folder.descriptions)
    write_parquet(distance_table(taxonomy), folder.distances)
    return len(codes)


def training_ground(folder: EditionFolder, profile: str, stage: str, *more: str) -> tuple[Any, Any]:
    """Return the module and the data of a fit, as the training command makes them.

    Args:
        folder: the edition's data, built before.
        profile: of training.
        stage: of the curriculum.
        more: further settings, as on the command line.
    """
    # Here: torch is not on every machine that measures.
    import torch

    from naics_model.curriculum.stage import load_stage
    from naics_model.jobs.command import parse
    from naics_model.training.cli import PROFILES, build_parser, prepare_data

    parser = build_parser()
    inputs = {
        'relation_index': folder.relation_index,
        'token_cache': folder.token_cache,
        'phrases': folder.phrases,
    }
    config = parse(
        parser,
        [
            *('--config', profile, '--curriculum', stage, '--run_dir', 'unused'),
            *(f'--data.{name}={path}' for name, path in inputs.items()),
            *more,
        ],
        PROFILES,
    )
    torch.manual_seed(config.seed)
    data = prepare_data(config, load_stage(stage))
    module = parser.instantiate(config).model
    module.bind(data.sampler.index, data.sampler.stage)
    return module, data


def megabytes(path: Path) -> float:
    """Return the size of a file."""
    return path.stat().st_size / 1e6
