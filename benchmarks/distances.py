"""CPU-seconds and peak memory of distances and kinships, beside a plain loop, and as codes grow.

    python benchmarks/distances.py > benchmarks/distances.md

Each row is measured in a process of its own, so that its peak memory is its own. Codes come from
NAICS_SOURCE_DIR, from the data folder, or else from the package (`sample`).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from naics_model.corpus.editions import PACKAGED_WORKBOOKS, edition, load_editions
from naics_model.corpus.workbooks import read_table
from naics_model.jobs.cost import measured
from naics_model.storage.files import read_parquet
from naics_model.storage.layout import EditionFolder, default_data_dir
from naics_model.taxonomy.checks import check_distances, check_relations
from naics_model.taxonomy.distances import (
    distance_table,
    half_distances,
    half_distances_between,
    tree_distances,
)
from naics_model.taxonomy.relations import relation_table
from naics_model.taxonomy.tree import Taxonomy, normalise_code, sector_of

CPU_BAR = 0.1
REPEATS = 7
LOOPED = 300
PAIRS = 1_000_000
SIZES = (10_000, 100_000)
PREFIXES = (11, 21, 22, 23, 31, 32, 33, 42, 44, 45, 48, 49, *range(51, 57), 61, 62, 71, 72, 81, 92)


class Figures(NamedTuple):
    """CPU-seconds of the first call and of the fastest one, and the peak of memory in MB."""

    first: float
    best: float
    peak: float


def codes_of(name: str) -> tuple[str, list[str]]:
    """Return the edition that is at hand, and its codes."""
    source = os.environ.get('NAICS_SOURCE_DIR')
    workbook = edition(name).workbook('codes')
    built = EditionFolder(default_data_dir(), name).descriptions
    if source and (path := Path(source) / name / workbook.file).is_file():
        return name, list(map(normalise_code, read_table(path, workbook)['code']))
    if built.is_file():
        return name, read_parquet(built)['code'].to_list()
    workbook = edition('sample').workbook('codes')
    rows = read_table(PACKAGED_WORKBOOKS / workbook.file, workbook)
    return 'sample', list(map(normalise_code, rows['code']))


def synthetic(n: int) -> list[str]:
    """Return n codes of 20 sectors, level by level, every code with equally many children."""
    prefixes = list(map(str, PREFIXES))
    sectors = [prefix for prefix in prefixes if sector_of(prefix) == prefix]
    for width in range(1, 11):
        codes, level = list(sectors), prefixes
        for _ in range(4):
            level = [f'{code}{digit}' for code in level for digit in range(width)]
            codes += level
        if len(codes) >= n:
            return codes[:n]
    raise ValueError(f'There are fewer than {n:,} codes of 2 to 6 digits in 20 sectors.')


def timed(work: Callable[[], Any]) -> Figures:
    """Call a function several times in this process."""
    took = []
    with measured() as cost:
        for _ in range(REPEATS):
            started = time.process_time()
            work()
            took.append(time.process_time() - started)
    return Figures(took[0], min(took), cost.peak_memory_bytes / 1e6)


def nothing(taxonomy: Taxonomy) -> Callable[[], Any]:
    return lambda: None


def matrix(taxonomy: Taxonomy) -> Callable[[], Any]:
    return lambda: half_distances(taxonomy)


def tree_matrix(taxonomy: Taxonomy) -> Callable[[], Any]:
    return lambda: tree_distances(taxonomy)


def distances(taxonomy: Taxonomy) -> Callable[[], Any]:
    return lambda: distance_table(taxonomy)


def relations(taxonomy: Taxonomy) -> Callable[[], Any]:
    return lambda: relation_table(taxonomy)


def distances_checked(taxonomy: Taxonomy) -> Callable[[], Any]:
    table = distance_table(taxonomy)
    return lambda: check_distances(table, taxonomy)


def relations_checked(taxonomy: Taxonomy) -> Callable[[], Any]:
    table = relation_table(taxonomy)
    return lambda: check_relations(table, taxonomy)


def loop(taxonomy: Taxonomy) -> Callable[[], Any]:
    """Return the straightforward way, on some of the codes: for each pair, up from both."""
    lines = {}
    for index in some_codes(taxonomy):
        lines[index] = [index]
        while (parent := int(taxonomy.parents[lines[index][-1]])) >= 0:
            lines[index].append(parent)

    def distance(i: int, j: int) -> float:
        for steps, above in enumerate(lines[i]):
            if above in lines[j]:
                others = lines[j].index(above)
                return steps + others - (0.5 if steps == 0 or others == 0 else 0)
        return 10.0

    def all_pairs() -> list[float]:
        return [distance(i, j) for i, j in combinations(lines, 2)]

    i, j = np.array(list(combinations(lines, 2))).T
    assert (half_distances_between(taxonomy, i, j) / 2 == all_pairs()).all()
    return all_pairs


def some_codes(taxonomy: Taxonomy) -> range:
    """Return some codes, evenly from the first to the last."""
    return range(0, len(taxonomy), max(1, len(taxonomy) // LOOPED))


def building(taxonomy: Taxonomy) -> Callable[[], Any]:
    return lambda: Taxonomy.from_codes(taxonomy.codes)


def random_pairs(taxonomy: Taxonomy) -> Callable[[], Any]:
    i, j = np.random.default_rng(0).integers(len(taxonomy), size=(2, PAIRS))
    return lambda: half_distances_between(taxonomy, i, j)


WORK = {
    'imports alone': nothing,
    'matrix `half_distances`': matrix,
    'matrix `tree_distances`': tree_matrix,
    '`distance_table`': distances,
    '`relation_table`': relations,
    '`check_distances`': distances_checked,
    '`check_relations`': relations_checked,
}


def measure(work: Callable[[Taxonomy], Callable[[], Any]], codes: list[str]) -> Figures:
    """Measure a piece of work in this process; what it prepares is not timed."""
    return timed(work(Taxonomy.from_codes(codes)))


def print_work(name: str, codes: list[str], apply: Callable[..., Figures]) -> None:
    print(f'## {len(codes):,} codes of edition {name}\n')
    print('| work | CPU-seconds, first call | best call | bar | peak memory, MB |')
    print('|---|---:|---:|---:|---:|', flush=True)
    for title, work in WORK.items():
        first, best, peak = apply(measure, (work, codes))
        bar = f'{CPU_BAR:.2f}' if work in (matrix, distances) else ''
        print(f'| {title} | {first:.3f} | {best:.3f} | {bar} | {peak:.0f} |', flush=True)
    print('\nThe check of a table has that table in its memory, too.\n')


def print_loop(codes: list[str], apply: Callable[..., Figures]) -> None:
    looped = len(some_codes(Taxonomy.from_codes(codes)))
    ours, plain = apply(measure, (distances, codes)), apply(measure, (loop, codes))
    pairs, looped_pairs = (n * (n - 1) // 2 for n in (len(codes), looped))
    whole = plain.best * pairs / looped_pairs
    print('## Beside the straightforward way\n')
    print(
        f'A Python loop that goes up the parents of every pair, on {looped} of the codes '
        f'({looped_pairs:,} pairs, each compared with ours), reckoned up to {pairs:,} pairs. Best '
        'calls of one run.\n'
    )
    print('| | CPU-seconds | pairs | CPU-seconds for all pairs |')
    print('|---|---:|---:|---:|')
    print(f'| loop | {plain.best:.3f} | {looped_pairs:,} | {whole:.2f} (reckoned) |')
    print(f'| `distance_table` | {ours.best:.3f} | {pairs:,} | {ours.best:.3f} |')
    print(f'\nThe loop takes {whole / ours.best:.0f} times as long.\n', flush=True)


def print_growth(codes: list[str], apply: Callable[..., Figures]) -> None:
    print('## As codes grow\n')
    print(
        f'`Taxonomy.from_codes`, and `half_distances_between` of {PAIRS:,} random pairs on demand; '
        'the larger lists are synthetic.\n'
    )
    print(
        '| codes | `from_codes`, CPU-seconds | peak memory, MB | pairs, CPU-seconds | peak memory, '
        'MB | n x n bytes, MB |'
    )
    print('|---:|---:|---:|---:|---:|---:|', flush=True)
    for grown in (codes, *map(synthetic, SIZES)):
        built, asked = apply(measure, (building, grown)), apply(measure, (random_pairs, grown))
        print(
            f'| {len(grown):,} | {built.best:.3f} | {built.peak:.0f} | {asked.best:.3f} | '
            f'{asked.peak:.0f} | {len(grown) ** 2 / 1e6:,.0f} |',
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--edition', default='2022', choices=list(load_editions()))
    name, codes = codes_of(parser.parse_args().edition)
    print('# Distances\n')
    command = shlex.join(['python', 'benchmarks/distances.py', *sys.argv[1:]])
    print(f'`{command}`, {os.cpu_count()} cores, Python {platform.python_version()}\n')
    print(
        f'Each row is a process of its own. Every work is called {REPEATS} times: the first call '
        'also pays for new memory, as a step of the pipeline does; the best one is the work '
        'itself. Imports are in the memory, not in the seconds.\n'
    )
    with multiprocessing.get_context('spawn').Pool(1, maxtasksperchild=1) as pool:
        print_work(name, codes, pool.apply)
        print_loop(codes, pool.apply)
        print_growth(codes, pool.apply)


if __name__ == '__main__':
    main()
