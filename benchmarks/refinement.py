"""Refinement as codes grow: a training step, the validation over all pairs, memory.

    python benchmarks/refinement.py > benchmarks/refinement.md

Takes three minutes. Made-up editions with the proportions of 2022, ten times as many activities
as six-digit codes, at random points; the settings of the profile `cpu`. Each row is of a process of
its own, with one thread.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import polars as pl
import torch
from measuring import own_processes, print_head, write_synthetic

from naics_model.geometry.lorentz import soft_clip
from naics_model.jobs.command import parse
from naics_model.refinement.attach import settings_of
from naics_model.refinement.cli import PROFILES, build_parser
from naics_model.refinement.graph import exclusion_edges
from naics_model.refinement.module import Queries, RefinementModule
from naics_model.storage.layout import EditionFolder
from naics_model.taxonomy.tree import Taxonomy

SECTORS = (5, 10, 20, 40, 80)
DIMENSIONS = 64
STEPS = 10


class Took(NamedTuple):
    """CPU-seconds of making the module, of a step, and of a validation."""

    codes: int
    made: float
    step: float
    validation: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    print_head('Refinement', 'refinement.py')
    print('CPU-seconds on one thread, profile `cpu`; peak memory with the libraries.\n')
    print('| codes | made ready | a step | a validation | peak MB | 1,200 steps, 20 validations |')
    print('|---:|---:|---:|---:|---:|---:|')
    with own_processes() as measure:
        for sectors in SECTORS:
            found = measure(refine, sectors)
            took: Took = found.value
            whole = took.made + 1200 * took.step + 20 * took.validation
            print(
                f'| {took.codes:,} | {took.made:.2f} | {took.step:.3f} | {took.validation:.2f} '
                f'| {found.peak_mb:,.0f} | {whole:.0f} |',
                flush=True,
            )
    print(
        '\nA step compares 512 codes and asks 256 activities, however many there are: only the '
        'network, which passes over all nodes and edges, and the number of six-digit codes tell. '
        'The validation compares all pairs.'
    )


def refine(sectors: int) -> Took:
    """Time steps of one made-up edition."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        edition = EditionFolder(Path(folder), 'made_up')
        write_synthetic(edition, sectors)
        table = pl.read_parquet(edition.descriptions)
    taxonomy = Taxonomy.from_codes(table['code'].to_list())
    required = ['--embeddings=e', '--descriptions=d', '--out=o', '--run_dir=r', '--config', 'cpu']
    settings = settings_of(parse(build_parser(), required, PROFILES).model.as_dict())
    leaves = torch.tensor([i for i, level in enumerate(taxonomy.levels) if level == 6])
    owner = leaves.repeat(10)
    points = soft_clip(torch.randn(len(owner), DIMENSIONS))
    started = time.process_time()
    module = RefinementModule(
        soft_clip(torch.randn(len(taxonomy), DIMENSIONS)),
        taxonomy,
        exclusion_edges(table['excluded_codes'].to_list(), taxonomy.codes),
        Queries(points, owner),
        curvature=1.0,
        settings=settings,
        seed=0,
    )
    made = time.process_time() - started
    optimizer = torch.optim.AdamW(module.parameters(), lr=settings.learning_rate)
    steps = []
    for step in range(STEPS):
        started = time.process_time()
        generator = torch.Generator().manual_seed(step)
        loss = module.total(module.losses(module.sample(generator), generator))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps.append(time.process_time() - started)
    started = time.process_time()
    with torch.no_grad():
        module.losses(module.everything(), torch.Generator().manual_seed(0))
    return Took(len(taxonomy), made, statistics.median(steps[2:]), time.process_time() - started)


if __name__ == '__main__':
    main()
