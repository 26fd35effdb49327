"""What the dynamic curriculum adds to a training step in each phase, and what a clustering takes.

    python benchmarks/dynamic_curriculum.py > benchmarks/dynamic_curriculum.md

Takes about five minutes. The edition's data is that of `--data-dir` (built before with `naics
data`). Steps are those of a profile, with gradients; the same codes and items with and without the
curriculum, one after the other, on one core.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from measuring import print_head
from torch import Tensor

from naics_model.curriculum.sadc import NegativeSettings
from naics_model.curriculum.stage import load_stage
from naics_model.encoder.tokens import TokenCache
from naics_model.geometry.kmeans import kmeans
from naics_model.jobs.command import parse
from naics_model.storage.layout import EditionFolder, default_data_dir
from naics_model.training.activities import read_activities
from naics_model.training.cli import PROFILES, build_parser
from naics_model.training.data import DataSettings, StepBatch, TripletDataModule
from naics_model.training.dynamic import DynamicNegatives
from naics_model.training.module import TripletModule
from naics_model.triplets.relation_index import RelationIndex

STAGE = '03_stage_hard'
PHASES = {1: 0.1, 2: 0.5, 3: 0.9}
BAR, CLUSTER_BAR = 0.15, 5.0
SEED = 0


class Ground(NamedTuple):
    """A model, steps of its profile, and the chooser of negatives."""

    module: TripletModule
    dynamic: DynamicNegatives
    steps: list[StepBatch]
    cache: TokenCache


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--data-dir', type=Path, default=default_data_dir())
    parser.add_argument('--edition', default='2022')
    parser.add_argument('--profile', default='cpu')
    parser.add_argument('--steps', type=int, default=5, help='of each kind')
    parser.add_argument(
        '--beyond-step', action='store_true', help='codes of earlier steps are candidates, too'
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    print_head('Dynamic curriculum', 'dynamic_curriculum.py')
    folder = EditionFolder(given.data_dir.absolute(), given.edition)
    ground = prepare(folder, given.profile, given.steps, given.beyond_step)
    settings = ground.dynamic.settings
    codes = len(ground.cache)
    batch = ground.steps[0]
    print(
        f'Edition {given.edition}, profile {given.profile}, stage {STAGE}: {len(batch.codes)} '
        f'codes and {len(batch.anchor)} items a step, {given.steps} steps of each kind, '
        'one thread, CPU-seconds.\n'
    )
    points, embedding = timed(lambda: ground.module.embedder.encode_codes(ground.cache))
    wanted = min(settings.clusters, codes // 4)
    found, clustering = timed(
        lambda: kmeans(
            points,
            wanted,
            ground.module.curvature,
            generator=torch.Generator().manual_seed(SEED),
        )
    )
    ground.dynamic.labels.copy_(found.labels)
    ground.dynamic.clustered.fill_(0)
    phases(ground)
    sizes = torch.bincount(found.labels)
    print('\n| a clustering | CPU-s |\n|---|---:|')
    print(f'| embedding {codes:,} codes | {embedding:.1f} |')
    print(
        f'| {wanted} clusters of them, {found.rounds} rounds (bar {CLUSTER_BAR:g}) | '
        f'{clustering:.2f} |'
    )
    print(
        f'\nThe largest cluster has {int(sizes.max())} codes, {int((sizes == 1).sum())} have one; '
        'the untrained encoder.'
    )


def phases(ground: Ground) -> None:
    """Print what a step takes without the curriculum and in each phase."""
    totals = dict.fromkeys((0, *PHASES), 0.0)
    choosing = dict.fromkeys(PHASES, 0.0)
    shares: dict[int, dict[str, float]] = {}
    # The first is a warm-up.
    for number, batch in enumerate([ground.steps[0], *ground.steps]):
        for phase in totals:
            torch.manual_seed(SEED)
            seconds, chose, figures = step(ground, batch, PHASES.get(phase))
            if number:
                totals[phase] += seconds
                if phase:
                    choosing[phase] += chose
                    shares[phase] = figures
    count = len(ground.steps)
    print('| step | CPU-s | over the plain one | choosing alone, ms | … of the plain step |')
    print('|---|---:|---:|---:|---:|')
    print(f'| without | {totals[0] / count:.3f} | | | |')
    for phase in PHASES:
        print(
            f'| phase {phase} | {totals[phase] / count:.3f} | '
            f'{totals[phase] / totals[0] - 1:+.1%} | {1e3 * choosing[phase] / count:.1f} | '
            f'{choosing[phase] / totals[0]:.2%} |'
        )
    print(
        f'\nBar of phases 1 and 2: {BAR:.0%}. “Over the plain one” compares whole steps, with the '
        'noise of both; “choosing alone” is the choice, the distances to what was chosen, and '
        f'their gradient left out. Similarity matrix: {shares[2]["similarity_mb"]:.2f} MB at once.'
    )


def step(
    ground: Ground, batch: StepBatch, progress: float | None
) -> tuple[float, float, dict[str, float]]:
    """Return CPU-seconds of a step with its gradient, of choosing in it, and its figures."""
    module = ground.module.train()
    module.zero_grad()
    started = time.process_time()
    output = module.embedder(batch.tokens, len(batch.codes))
    chose, contrast = 0.0, None
    if progress is not None:
        before = time.process_time()
        contrast = ground.dynamic.contrast(batch, output, module.embedder, progress, 0)
        chose = time.process_time() - before
    loss: Tensor = module.total(module.losses_of(batch, output, contrast))
    loss.backward()
    seconds = time.process_time() - started
    assert math.isfinite(loss.item())
    figures = {} if contrast is None else {k: float(v) for k, v in contrast.figures.items()}
    return seconds, chose, figures


def prepare(folder: EditionFolder, profile: str, steps: int, beyond_step: bool) -> Ground:
    """Return a model and steps as the training command makes them."""
    parser = build_parser()
    arguments = ['--config', profile, '--curriculum', STAGE, '--run_dir', 'unused']
    arguments += ['--data.relation_index', str(folder.relation_index)]
    arguments += ['--data.token_cache', str(folder.token_cache), '--trainer.accelerator=cpu']
    config = parse(parser, arguments, PROFILES)
    module: TripletModule = parser.instantiate(config).model
    index, cache = RelationIndex.load(folder.relation_index), TokenCache.load(folder.token_cache)
    stage = load_stage(STAGE)
    activities = read_activities(folder.activities, index.codes, config.model.backbone)
    data = TripletDataModule(
        index,
        cache,
        stage,
        DataSettings(**{**config.data.as_dict(), 'val_steps': 0}),
        seed=SEED,
        activities=activities,
    )
    module.remember_codes(len(cache))
    module.negatives = NegativeSettings(strategy='sadc', beyond_step=beyond_step)
    module.choose_negatives(index, stage, cache)
    assert module.dynamic is not None
    # Through the module's own stream of steps, as a fit draws them.
    drawn = list(islice(data._steps(1), steps))
    return Ground(module, module.dynamic, drawn, cache)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a piece of work gives, and its CPU-seconds."""
    started = time.process_time()
    value = work()
    return value, time.process_time() - started


if __name__ == '__main__':
    main()
