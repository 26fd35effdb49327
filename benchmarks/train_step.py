"""Where the time of a training step goes, beside one that encodes the documents of all codes.

    python benchmarks/train_step.py > benchmarks/train_step.md

The edition's data is that of `--data-dir` (built before with `naics data`). On a GPU:

    python benchmarks/train_step.py --profile gpu --device cuda --steps 20
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from measuring import print_head, training_ground

from naics_model.jobs.cost import peak_memory_bytes
from naics_model.jobs.optimiser import parameter_groups
from naics_model.storage.layout import EditionFolder, default_data_dir
from naics_model.training.data import StepDataModule
from naics_model.training.module import TextModule

STAGE = '02_stage_medium'
# Documents of which the time of all is told: with their gradients, all would not fit.
SAMPLED = 64
BAR = 20


class Clock:
    """Counts seconds by part, CPU-seconds on a CPU; a GPU is waited for at the ends of each."""

    def __init__(self, device: str) -> None:
        self._device = device
        self.seconds: dict[str, float] = defaultdict(float)

    def now(self) -> float:
        if self._device == 'cpu':
            return time.process_time()
        torch.cuda.synchronize()
        return time.monotonic()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        started = self.now()
        yield
        self.seconds[name] += self.now() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--data-dir', type=Path, default=default_data_dir())
    parser.add_argument('--edition', default='2022')
    parser.add_argument('--profile', default='cpu')
    parser.add_argument('--device', default='cpu', choices=['cpu', 'cuda'])
    parser.add_argument('--steps', type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print_head('Training step', 'train_step.py')
    folder = EditionFolder(given.data_dir.absolute(), given.edition)
    module, data = training_ground(folder, given.profile, STAGE, '--trainer.devices=1')
    # Where points are is of no matter to what a step costs.
    module.points.start_at(torch.randn_like(module.points.vectors))
    module.to(given.device)
    clock = Clock(given.device)
    size = run_steps(module, data, given.steps, clock)
    kind = 'CPU-milliseconds' if given.device == 'cpu' else 'milliseconds'
    print(
        f'Edition {given.edition}, profile {given.profile}, '
        f'{module.embedder.settings["backbone"]}, {given.device}, one thread, {given.steps} steps '
        f'of {size}.\n'
    )
    print(f'| part of a step | {kind} | share, % |\n|---|---:|---:|')
    whole = sum(clock.seconds.values())
    for name, seconds in [*clock.seconds.items(), ('whole step', whole)]:
        each = 1e3 * seconds / given.steps
        print(f'| {name} | {each:,.1f} | {100 * seconds / whole:.1f} |')
    print(f'\nPeak memory: {peak_memory_bytes() / 1e6:,.0f} MB.\n')
    print_all_documents(module, data, whole / given.steps, Clock(given.device))


def run_steps(module: TextModule, data: StepDataModule, steps: int, clock: Clock) -> str:
    """Train some steps, each part by the clock; return what is in a step."""
    module.train()
    optimiser = torch.optim.AdamW(parameter_groups(module.named_parameters(), 0.01), lr=1e-4)
    drawn = data.steps(0)
    device = next(module.parameters()).device
    encode: Callable[..., Any] = module.embedder.forward

    def timed_encode(tokens: Any, count: int) -> Any:
        asked = count == len(batch.phrases.nodes)
        with running.part('encoding phrases' if asked else 'encoding documents'):
            return encode(tokens, count)

    size = ''
    # The first is a warm-up.
    for number in range(steps + 1):
        running = clock if number else Clock('cpu')
        with running.part('drawing'):
            batch = data.transfer_batch_to_device(next(islice(drawn, 1)), device, 0)
        assert batch.documents is not None
        assert batch.items is not None
        size = (
            f'{len(batch.phrases.nodes)} phrases, {len(batch.documents.codes)} documents and '
            f'{len(batch.items.anchor)} items'
        )
        with mock.patch.object(module.embedder, 'forward', timed_encode):
            started = running.now()
            before = sum(running.seconds.values())
            loss = module.total(module.losses(batch)[0])
            inside = sum(running.seconds.values()) - before
            running.seconds['points and losses'] += running.now() - started - inside
        with running.part('backward'):
            loss.backward()
        with running.part('optimiser'):
            torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()
    return size


def print_all_documents(
    module: TextModule, data: StepDataModule, step: float, clock: Clock
) -> None:
    """Print what it would take to encode every code's document in a step, in place of points."""
    rows = np.random.default_rng(0).permutation(len(data.cache))[:SAMPLED]
    batch = data._documents_of(rows)
    device = next(module.parameters()).device
    tokens = {
        name: type(part)(*(tensor.to(device) for tensor in part))
        for name, part in batch.tokens.items()
    }
    with clock.part('documents'):
        module.embedder(tokens, len(rows)).tangent.sum().backward()
    every = clock.seconds['documents'] / len(rows) * len(data.cache)
    print(
        f'Without learned points a step would encode the documents of all {len(data.cache):,} '
        f'codes, with their gradients: {every:,.0f} seconds, told from {len(rows)} of them; '
        f'{every / step:,.0f} times the step above (bar: {BAR}).'
    )


if __name__ == '__main__':
    main()
