"""Sampling: items by stage, steps of training, beside filtering the Parquet, and as codes grow.

    python benchmarks/sampler.py > benchmarks/sampler.md

Takes about five minutes. The edition is built from NAICS_SOURCE_DIR, from the package (`sample`),
or from the network. Each figure is of a process of its own, which is held to one core.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from measuring import Figures, megabytes, own_processes, print_head, write_synthetic

from naics_model.corpus.editions import load_editions
from naics_model.curriculum.sampler import TripletBatch, TripletSampler
from naics_model.curriculum.stage import load_stage
from naics_model.dataset.steps import steps_of
from naics_model.encoder.backbones import MINILM
from naics_model.storage.layout import EditionFolder
from naics_model.triplets.hardness import hardness_matrix
from naics_model.triplets.relation_index import RelationIndex, build_relation_index

STAGES = ('01_stage_easy', '02_stage_medium', '03_stage_hard')
BATCH = 1024
ITEMS = 1_000_000
# Of the profiles of training: items of a step.
STEPS = {'cpu': 64, 'gpu': 512}
DRAWS = 50
RATE_BAR = 100_000
SECTORS = (20, 40, 80)
FILTERED = 20
# The default of 1 GB is for the largest real edition; ordering 72 million pairs takes more.
GROWN_MEMORY = '6GB'


class Drawn(NamedTuple):
    """What drawing a million items showed."""

    prepared: float
    rate: float
    repeated: int
    wrong: int
    gap: float


def one_core() -> None:
    """Keep this process and its threads on one core, where the system lets one choose."""
    if hasattr(os, 'sched_setaffinity'):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def build_edition(folder: EditionFolder) -> None:
    source = os.environ.get('NAICS_SOURCE_DIR')
    for step in steps_of(folder, Path(source) if source else None, MINILM):
        if step.name != 'token_cache':
            step.run(lambda line: None)


def build_index(folder: EditionFolder) -> int:
    paths = folder.descriptions, folder.distances, folder.relation_index
    return len(build_relation_index(*paths, memory_limit=GROWN_MEMORY).codes)


def draw(path: Path, name: str, check: bool) -> Drawn:
    """Draw a million items of a stage in batches, then look at every one of them."""
    one_core()
    index = RelationIndex.load(path)
    started = time.process_time()
    sampler = TripletSampler(index, load_stage(name), seed=0)
    sampler.draw(BATCH)
    prepared = time.process_time() - started
    batches = []
    started = time.process_time()
    for _ in range(-(-ITEMS // BATCH)):
        batches.append(sampler.draw(BATCH))
    rate = len(batches) * BATCH / (time.process_time() - started)
    if not check:
        return Drawn(prepared, rate, 0, 0, 0)
    found = [faults(index, batch) for batch in batches]
    counts = sum(np.bincount(batch.hardness.ravel(), minlength=9) for batch in batches)
    mix = counts / counts.sum()
    gap = max(abs(mix[level] - share) for level, share in sampler.requested_mix.items())
    return Drawn(prepared, rate, sum(a for a, _ in found), sum(b for _, b in found), 100 * gap)


def draw_steps(path: Path, name: str) -> list[float]:
    """Draw the items of steps in the sizes of the profiles; return the CPU-seconds of one each."""
    one_core()
    sampler = TripletSampler(RelationIndex.load(path), load_stage(name), seed=0)
    each = []
    for items in STEPS.values():
        sampler.draw(items)
        started = time.process_time()
        for _ in range(DRAWS):
            sampler.draw(items)
        each.append((time.process_time() - started) / DRAWS)
    return each


def faults(index: RelationIndex, batch: TripletBatch) -> tuple[int, int]:
    """Count the items that repeat a negative, and the negatives that are not of their hardness.

    The hardness is worked out anew for every code of the taxonomy; 0 would be no negative at all.
    """
    ordered = np.sort(batch.negatives, axis=1)
    repeated = int((ordered[:, 1:] == ordered[:, :-1]).any(axis=1).sum())
    everything = np.arange(len(index))
    levels = hardness_matrix(index, batch.anchor, batch.positive, everything)
    true = np.take_along_axis(levels, batch.negatives, axis=1)
    return repeated, int((true != batch.hardness).sum())


def filter_parquet(folder: EditionFolder, name: str) -> float:
    """Make items by filtering the published triplets for each; return items per CPU-second."""
    index, stage = RelationIndex.load(folder.relation_index), load_stage(name)
    sampler = TripletSampler(index, stage, seed=0)
    wanted = sampler.draw(FILTERED)
    quota = sampler.quota
    triplets = pl.scan_parquet(folder.triplets)
    started = time.process_time()
    for anchor, positive in zip(wanted.anchor, wanted.positive, strict=True):
        of_this_pair = (pl.col('anchor_idx') == anchor) & (pl.col('positive_idx') == positive)
        rows = triplets.filter(of_this_pair).collect()
        for level, count in enumerate(quota):
            of_this_level = rows.filter(pl.col('hardness') == level)
            of_this_level.sample(min(count, of_this_level.height), seed=0)
    return FILTERED / (time.process_time() - started)


def print_stages(path: Path, apply: Callable[..., Figures]) -> dict[str, Figures]:
    print(
        f'`draw` gives single items in batches of {BATCH:,}. Of {ITEMS:,} drawn items each '
        'negative is held against the definition.\n'
    )
    print(
        '| stage | `draw`, items/s | bar | prepared in, CPU-s | peak, MB | items with a repeated '
        'negative | negatives of a wrong hardness | worst bucket off by, points |'
    )
    print('|---|' + '---:|' * 7, flush=True)
    done = {}
    for name in STAGES:
        fast = apply(draw, path, name, False)
        took: Drawn = apply(draw, path, name, True).value
        done[name] = fast
        print(
            f'| {name} | {fast.value.rate:,.0f} | {RATE_BAR:,} | {fast.value.prepared:.2f} | '
            f'{fast.peak_mb:.0f} | {took.repeated} | {took.wrong} | {took.gap:.1f} |',
            flush=True,
        )
    return done


def print_steps(path: Path, apply: Callable[..., Figures]) -> None:
    print('\n## Steps of training\n')
    print(
        'What the items of a training step take. They have no bar of their own: the process that '
        'trains waits for them before each step, so what counts is the time of a step beside '
        'it.\n'
    )
    sizes = [f'{profile}: {items:,} items' for profile, items in STEPS.items()]
    print(f'| stage | {" | ".join(f"{size}, CPU-ms a step" for size in sizes)} |')
    print('|---|' + '---:|' * len(sizes), flush=True)
    for name in STAGES:
        took = apply(draw_steps, path, name).value
        print(f'| {name} | {" | ".join(f"{1000 * each:.1f}" for each in took)} |', flush=True)


def print_filter(
    folder: EditionFolder, ours: dict[str, Figures], apply: Callable[..., Figures]
) -> None:
    print('\n## Beside filtering the Parquet for every item\n')
    print(
        f'Polars reads the rows of one (anchor, positive) of `{folder.triplets.name}` '
        f'({megabytes(folder.triplets):.1f} MB) and samples among them; {FILTERED} items.\n'
    )
    print('| stage | filtering, items per CPU-second | `draw`, items per CPU-second | times |')
    print('|---|---:|---:|---:|', flush=True)
    for name, fast in ours.items():
        rate = apply(filter_parquet, folder, name).value
        drawn = fast.value.rate
        print(f'| {name} | {rate:.2f} | {drawn:,.0f} | {drawn / rate:,.0f} |', flush=True)


def print_growth(scratch: Path, apply: Callable[..., Figures]) -> None:
    print('\n## As codes grow\n')
    print(
        f'Made-up editions of equal sectors (106 codes each), stage {STAGES[-1]}. The index holds '
        'every pair of codes.\n'
    )
    print(
        '| codes | index built in, CPU-s | peak, MB | index, MB | `draw`, items/s | prepared in, '
        'CPU-s | peak, MB |'
    )
    print('|---:|' + '---:|' * 6, flush=True)
    for sectors in SECTORS:
        folder = EditionFolder(scratch, f'{sectors}_sectors')
        write_synthetic(folder, sectors)
        built = apply(build_index, folder)
        took = apply(draw, folder.relation_index, STAGES[-1], False)
        print(
            f'| {built.value:,} | {built.cpu:.1f} | {built.peak_mb:,.0f} | '
            f'{megabytes(folder.relation_index):.1f} | {took.value.rate:,.0f} | '
            f'{took.value.prepared:.2f} | {took.peak_mb:,.0f} |',
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--edition', default='2022', choices=list(load_editions()))
    options = parser.parse_args()
    print_head('Sampler', 'sampler.py')
    with tempfile.TemporaryDirectory() as scratch, own_processes() as apply:
        folder = EditionFolder(Path(scratch), options.edition)
        build_edition(folder)
        print(f'## Edition {options.edition}\n')
        size = megabytes(folder.relation_index)
        print(f'All that is read is the relation index, {size:.1f} MB (bar: about 18).\n')
        ours = print_stages(folder.relation_index, apply)
        print_steps(folder.relation_index, apply)
        print_filter(folder, ours, apply)
        print_growth(Path(scratch), apply)


if __name__ == '__main__':
    main()
