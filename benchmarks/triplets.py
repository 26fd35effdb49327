"""Building the triplets: strict and seed mode, beside Polars joins, and as codes grow.

    python benchmarks/triplets.py > benchmarks/triplets.md

Takes about ten minutes and 8 GB. The edition's descriptions are built from NAICS_SOURCE_DIR, from
the package (`sample`), or from the network.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from measuring import Figures, megabytes, own_processes, print_head, write_synthetic

from naics_model.corpus.editions import load_editions
from naics_model.dataset.steps import steps_of
from naics_model.encoder.backbones import MINILM
from naics_model.storage.layout import EditionFolder
from naics_model.triplets.build import TripletSummary, build_triplets

# CPU-seconds, megabytes of memory and of the file, on 2 cores.
BARS = {'strict': (70, 1000, 60), 'seed': (20, 1000, 20)}
SECTORS = (20, 40, 80)
ANCHORS = (50, 100, 200)
# The default of 1 GB is for the largest real edition; ordering 72 million pairs takes more.
GROWN_MEMORY = '6GB'


def prepare(folder: EditionFolder) -> None:
    """Write the descriptions and distances of a known edition."""
    source = os.environ.get('NAICS_SOURCE_DIR')
    for step in steps_of(folder, Path(source) if source else None, MINILM):
        step.run(lambda line: None)
        if step.name == 'distances':
            return


def build(folder: EditionFolder, mode: str, memory_limit: str = '1GB') -> TripletSummary:
    out = folder.triplets.with_name(f'{mode}.parquet')
    return build_triplets(
        folder.descriptions, folder.distances, out, mode=mode, memory_limit=memory_limit
    )


def polars_joins(folder: EditionFolder, anchors: int) -> int:
    """Write the triplets of some anchors the straightforward way; return their number.

    Joins of whole tables in memory: positives with negatives by anchor, exclusions twice.
    """
    codes = pl.read_parquet(folder.descriptions)
    once = pl.read_parquet(folder.distances)
    forth = once.select(a='idx_i', b='idx_j', d='distance')
    pairs = pl.concat([forth, once.select(a='idx_j', b='idx_i', d='distance')])
    number = codes.select(target='code', n=pl.col('index'))
    exclusions = (
        codes.select('index', target='excluded_codes')
        .explode('target')
        .drop_nulls()
        .join(number, on='target')
        .select(code='index', n='n', excluded=pl.lit(True))
    )
    chosen = np.random.default_rng(0).choice(codes.height, anchors, replace=False)
    pairs = pairs.filter(pl.col('a').is_in(chosen.astype(np.uint32).tolist()))
    lineal = (pl.col('d') * 2) % 2 == 1
    triplets = (
        pairs.filter(pl.col('d') < 10)
        .rename({'b': 'p', 'd': 'dp'})
        .join(pairs.filter(~lineal).rename({'b': 'n', 'd': 'dn'}), on='a')
        .filter(pl.col('dn') > pl.col('dp'))
        .join(exclusions.rename({'code': 'a', 'excluded': 'by_a'}), on=['a', 'n'], how='left')
        .join(exclusions.rename({'code': 'p', 'excluded': 'by_p'}), on=['p', 'n'], how='left')
    )
    margin = pl.col('dn') - pl.col('dp')
    hardness = pl.when(pl.col('by_a') | pl.col('by_p')).then(8).when(pl.col('dn') == 10).then(1)
    for level, most in ((7, 0.5), (6, 1), (5, 2), (4, 3), (3, 4)):
        hardness = hardness.when(margin <= most).then(level)
    triplets.with_columns(hardness=hardness.otherwise(2)).select(
        'a', 'p', 'n', 'hardness', 'dp', 'dn'
    ).write_parquet(folder.triplets.with_name('joined.parquet'), compression='zstd')
    return triplets.height


def print_modes(folder: EditionFolder, apply: Callable[..., Figures]) -> Figures:
    print(f'## Edition {folder.edition}\n')
    print('| mode | triplets | CPU-seconds | wall seconds | peak memory, MB | file, MB |')
    print('|---|---:|---:|---:|---:|---:|', flush=True)
    done = {}
    for mode, (cpu, memory, size) in BARS.items():
        done[mode] = took = apply(build, folder, mode)
        print(
            f'| {mode} | {took.value.rows:,} | {took.cpu:.1f} | {took.wall:.1f} | '
            f'{took.peak_mb:.0f} | {took.value.bytes / 1e6:.1f} |\n'
            f'| *bar* |  | {cpu} |  | {memory} | {size} |',
            flush=True,
        )
    print('\nBy hardness:\n')
    print('| | ' + ' | '.join(map(str, range(1, 9))) + ' |')
    print('|---|' + '---:|' * 8)
    for mode, took in done.items():
        counts = took.value.rows_by_hardness.values()
        print(f'| {mode} | ' + ' | '.join(f'{count:,}' for count in counts) + ' |')
    return done['strict']


def print_joins(folder: EditionFolder, ours: Figures, apply: Callable[..., Figures]) -> None:
    print('\n## Beside Polars joins\n')
    print(
        'Tables joined whole in memory, for some anchors only. Each more anchor takes as much '
        'memory again, so that all would take what stands in the last column.\n'
    )
    print('| | anchors | triplets | CPU-seconds | a million triplets | peak, MB | all, GB |')
    print('|---|---:|---:|---:|---:|---:|---:|', flush=True)
    n = pl.scan_parquet(folder.descriptions).select(pl.len()).collect().item()
    base = apply(polars_joins, folder, 1)
    for anchors in ANCHORS:
        took = apply(polars_joins, folder, anchors)
        whole = base.peak_mb + (took.peak_mb - base.peak_mb) * n / anchors
        print(
            f'| joins | {anchors} | {took.value:,} | {took.cpu:.1f} | '
            f'{1e6 * (took.cpu - base.cpu) / took.value:.3f} | {took.peak_mb:,.0f} | '
            f'{whole / 1000:,.0f} |',
            flush=True,
        )
    rows = ours.value.rows
    print(
        f'| ours | {n:,} | {rows:,} | {ours.cpu:.1f} | {1e6 * ours.cpu / rows:.3f} | '
        f'{ours.peak_mb:,.0f} | {ours.peak_mb / 1000:.1f} |',
        flush=True,
    )


def print_growth(apply: Callable[..., Figures], scratch: Path) -> None:
    print('\n## As codes grow\n')
    print(
        'Made-up editions of equal sectors (106 codes each): the triplets grow with the square of '
        f'the number of sectors. DuckDB may take {GROWN_MEMORY}.\n'
    )
    print('| codes | triplets | CPU-seconds | per billion | peak memory, MB | file, MB |')
    print('|---:|---:|---:|---:|---:|---:|', flush=True)
    for sectors in SECTORS:
        folder = EditionFolder(scratch, f'{sectors}_sectors')
        codes = write_synthetic(folder, sectors)
        took = apply(build, folder, 'strict', GROWN_MEMORY)
        print(
            f'| {codes:,} | {took.value.rows:,} | {took.cpu:.1f} | '
            f'{1e9 * took.cpu / took.value.rows:.1f} | {took.peak_mb:,.0f} | '
            f'{megabytes(folder.triplets.with_name("strict.parquet")):.1f} |',
            flush=True,
        )
        folder.triplets.with_name('strict.parquet').unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--edition', default='2022', choices=list(load_editions()))
    options = parser.parse_args()
    print_head('Triplets', 'triplets.py')
    print('Each row is a process of its own; its imports are counted.\n')
    with tempfile.TemporaryDirectory() as scratch, own_processes() as apply:
        folder = EditionFolder(Path(scratch), options.edition)
        prepare(folder)
        ours = print_modes(folder, apply)
        print_joins(folder, ours, apply)
        print_growth(apply, Path(scratch))


if __name__ == '__main__':
    main()
