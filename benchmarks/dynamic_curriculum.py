"""What the dynamic curriculum adds to a training step in each phase, and what a clustering takes.

    python benchmarks/dynamic_curriculum.py > benchmarks/dynamic_curriculum.md

The edition's data is that of `--data-dir` (built before with `naics data`). Steps are those of a
profile, with gradients; the same step with and without the curriculum, one after the other, on one
core.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from measuring import print_head, training_ground

from naics_model.curriculum.sadc import NegativeSettings
from naics_model.storage.layout import EditionFolder, default_data_dir
from naics_model.training.data import StepBatch
from naics_model.training.module import TextModule

STAGE = '03_stage_hard'
PHASES = {1: 0.1, 2: 0.5, 3: 0.9}
BAR, CLUSTER_BAR = 0.15, 5.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--data-dir', type=Path, default=default_data_dir())
    parser.add_argument('--edition', default='2022')
    parser.add_argument('--profile', default='cpu')
    parser.add_argument('--steps', type=int, default=5, help='of each kind')
    given = parser.parse_args()
    torch.set_num_threads(1)
    print_head('Dynamic curriculum', 'dynamic_curriculum.py')
    folder = EditionFolder(given.data_dir.absolute(), given.edition)
    module, data = training_ground(
        folder,
        given.profile,
        STAGE,
        '--trainer.accelerator=cpu',
        '--model.fusion=moe',
        '--model.negatives.strategy=sadc',
    )
    steps = list(islice(data.steps(0), given.steps))
    print(
        f'Edition {given.edition}, profile {given.profile} with a mixture of experts: '
        f'{len(steps[0].phrases.nodes)} phrases a step, {len(module.leaves)} six-digit codes, '
        f'{given.steps} steps of each kind, one thread, CPU-seconds.\n'
    )
    output, encoding = timed(lambda: module.embedder.encode_codes(data.cache))
    module.points.start_at(output.unit)
    leaves = output.tangent[module.leaves]
    _, clustering = timed(lambda: module.weighing.cluster(leaves, module.curvature, 0))
    module.weighing.route(output.gate_probabilities[module.leaves], 0)
    print_phases(module, steps)
    sizes = torch.bincount(module.weighing.labels)
    print('\n| every few epochs | CPU-s |\n|---|---:|')
    print(
        f"| {len(sizes)} clusters of the codes' points (bar {CLUSTER_BAR:g}) | {clustering:.2f} |"
    )
    print(f'| gates of {len(data.cache):,} documents, in the mixture alone | {encoding:.1f} |')
    print(
        f'\nThe largest cluster has {int(sizes.max())} codes, {int((sizes == 1).sum())} have one; '
        'the untrained encoder.'
    )


def print_phases(module: TextModule, steps: list[StepBatch]) -> None:
    """Print what a step takes without the curriculum and in each phase."""
    totals = dict.fromkeys((0, *PHASES), 0.0)
    weighing = dict.fromkeys(totals, 0.0)
    # The first is a warm-up.
    for number, batch in enumerate([steps[0], *steps]):
        for phase in totals:
            torch.manual_seed(0)
            whole, alone = step(module, batch, PHASES.get(phase))
            if number:
                totals[phase] += whole / len(steps)
                weighing[phase] += alone / len(steps)
    print('| step | CPU-s | over the plain one | weighing alone, ms | … of the plain step |')
    print('|---|---:|---:|---:|---:|')
    print(f'| without | {totals[0]:.3f} | | | |')
    for phase in PHASES:
        print(
            f'| phase {phase} | {totals[phase]:.3f} | {totals[phase] / totals[0] - 1:+.1%} | '
            f'{1e3 * weighing[phase]:.1f} | {weighing[phase] / totals[0]:.2%} |'
        )
    print(
        f'\nBar: {BAR:.0%}. “Over the plain one” compares whole steps, with the noise of both; '
        '“weighing alone” is the matrix of log-weights.'
    )


def step(module: TextModule, batch: StepBatch, progress: float | None) -> tuple[float, float]:
    """Return CPU-seconds of a step with its gradient, and of weighing in it."""
    module.train().zero_grad()
    weigh, alone = module._weigh, 0.0

    def timed_weigh(*arguments: Any) -> Any:
        nonlocal alone
        value, alone = timed(lambda: weigh(*arguments))
        return value

    module.negatives = NegativeSettings(strategy='uniform' if progress is None else 'sadc')
    with mock.patch.object(module, '_weigh', timed_weigh):
        started = time.process_time()
        losses, _ = module.losses(batch, progress or 0.0, module.clock)
        loss = module.total(losses)
        loss.backward()
        seconds = time.process_time() - started
    assert math.isfinite(loss.item())
    return seconds, alone


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a piece of work gives, and its CPU-seconds."""
    started = time.process_time()
    value = work()
    return value, time.process_time() - started


if __name__ == '__main__':
    main()
