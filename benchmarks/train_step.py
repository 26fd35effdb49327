"""A training step that encodes each code of its pool once, beside one that encodes every text.

    python benchmarks/train_step.py > benchmarks/train_step.md

Takes about six minutes on a CPU, a third of them for two items of the padded step. The edition's
data is that of `--data-dir`, or is built from NAICS_SOURCE_DIR, from the package (`sample`), or
from the network. On a GPU:

    python benchmarks/train_step.py --data-dir data --device cuda --precision bf16 --pool-size 256
        --items 2048 --steps 20 --naive-items 2 --naive-steps 5 --backbone random-mpnet
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
from measuring import Figures, own_processes, print_head
from numpy.typing import NDArray
from torch import Tensor

from naics_model.corpus.editions import load_editions
from naics_model.curriculum.pool import PooledBatch, compose
from naics_model.curriculum.sampler import TripletSampler
from naics_model.curriculum.stage import load_stage
from naics_model.encoder import channels
from naics_model.encoder.backbones import MINILM, Backbone
from naics_model.encoder.channels import TokenTensors, masked_mean, token_tensors
from naics_model.encoder.embedder import NaicsEmbedder
from naics_model.encoder.tokens import CHANNELS, ChannelTokens, TokenCache
from naics_model.geometry.lorentz import distance, pairwise_distance
from naics_model.jobs.optimiser import parameter_groups
from naics_model.losses.contrastive import info_nce
from naics_model.storage.layout import EditionFolder
from naics_model.triplets.relation_index import RelationIndex

STAGE = '02_stage_medium'
PADDED = 512
BAR = 20
TEMPERATURE = 0.5
# What a step costs depends on a backbone's shape and not on its weights, so that a machine without
# the weights can measure, too: (family, configuration), the rest as the family has it by default.
RANDOM: dict[str, tuple[str, dict[str, int]]] = {
    'random-minilm': (
        'bert',
        {'hidden_size': 384, 'num_hidden_layers': 6, 'intermediate_size': 1536},
    ),
    'random-mpnet': ('mpnet', {'vocab_size': 30527, 'max_position_embeddings': 514}),
}


@dataclass(frozen=True)
class Plan:
    """What is measured, as every process is told it."""

    folder: EditionFolder
    device: str
    precision: str
    backbone: str
    pool_size: int
    items: int
    steps: int
    naive_items: int
    naive_steps: int
    threads: int


class Step(NamedTuple):
    """Tokens of `count` codes, and where the items' codes are among them: (B,), (B,), (B, K)."""

    tokens: dict[str, TokenTensors]
    count: int
    anchor: Tensor
    positive: Tensor
    negatives: Tensor


class Stepped(NamedTuple):
    """What the steps of one way took.

    Attributes:
        items: of a step.
        texts: encoded in all steps together.
        steps: how many were measured.
        seconds, cpu: of all of them, without the first, unmeasured step.
        gpu_mb: the most GPU memory held at once; 0 without a GPU.
        loss: of the last step.
        phases: of a step: name -> (CPU-seconds, seconds).
    """

    items: int
    texts: int
    steps: int
    seconds: float
    cpu: float
    gpu_mb: float
    loss: float
    phases: dict[str, tuple[float, float]]


class Clock:
    """Adds up the time of named parts; a GPU is waited for at both ends of each."""

    def __init__(self, device: str) -> None:
        self.times: dict[str, tuple[float, float]] = {}
        self._device = device

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        wait(self._device)
        wall, cpu = time.monotonic(), time.process_time()
        yield
        wait(self._device)
        spent = self.times.get(name, (0.0, 0.0))
        self.times[name] = (
            spent[0] + time.process_time() - cpu,
            spent[1] + time.monotonic() - wall,
        )


def wait(device: str) -> None:
    """Let a GPU finish what it was given."""
    if device == 'cuda':
        torch.cuda.synchronize()


def gpu_megabytes(device: str) -> float:
    return torch.cuda.max_memory_allocated() / 1e6 if device == 'cuda' else 0.0


def new_model(plan: Plan) -> NaicsEmbedder:
    """Return an embedder with the settings of the profiles, without channel dropout.

    Channel dropout would spare our step a part of the texts, and the others as well.
    """
    torch.set_num_threads(plan.threads)
    torch.manual_seed(0)
    if plan.backbone not in RANDOM:
        return NaicsEmbedder(plan.backbone).to(plan.device).train()
    import transformers

    family, shape = RANDOM[plan.backbone]
    config = transformers.AutoConfig.for_model(
        family, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **shape
    )
    module = transformers.AutoModel.from_config(config, add_pooling_layer=False)
    named = Backbone(plan.backbone, Path(), 'random', '0' * 64, family, PADDED)
    within = 'naics_model.encoder.embedder'
    with (
        mock.patch(f'{within}.resolve_backbone', return_value=named),
        mock.patch(f'{within}.load_backbone', return_value=module.requires_grad_(False).eval()),
    ):
        return NaicsEmbedder(plan.backbone).to(plan.device).train()


def autocast(plan: Plan) -> Any:
    """bfloat16 around the forward pass and the losses, as Lightning's bf16-mixed has it."""
    return torch.autocast(plan.device, torch.bfloat16, enabled=plan.precision == 'bf16')


def pooled_step(pooled: PooledBatch, cache: TokenCache, device: str) -> Step:
    """Tokens of each code once: a step as training has it."""
    tokens = {c: token_tensors(cache.batch(c, pooled.codes), device) for c in CHANNELS}
    places = (pooled.anchor, pooled.positive, pooled.negatives)
    return Step(tokens, len(pooled.codes), *(torch.from_numpy(p).to(device) for p in places))


def naive_step(pooled: PooledBatch, cache: TokenCache, device: str, fixed: bool) -> Step:
    """Tokens of every text of every item, however often a code comes.

    Args:
        pooled: the items.
        cache: tokens of the edition.
        device: where the step runs.
        fixed: pad each text to `PADDED`, and read an absent one as an empty text; otherwise pad to
            the longest of the step, and leave absent ones out.
    """
    size, k = pooled.negatives.shape
    codes = pooled.codes[np.concatenate([pooled.anchor, pooled.positive, pooled.negatives.ravel()])]
    gather = padded if fixed else TokenCache.batch
    return Step(
        {channel: token_tensors(gather(cache, channel, codes), device) for channel in CHANNELS},
        len(codes),
        torch.arange(size, device=device),
        torch.arange(size, 2 * size, device=device),
        torch.arange(2 * size, (2 + k) * size, device=device).view(size, k),
    )


def padded(cache: TokenCache, channel: str, codes: NDArray[np.integer]) -> ChannelTokens:
    """Gather a channel as the predecessor does: everything `PADDED` long, '' for an absent text."""
    titles = cache.channels['title']
    first, last = titles.ids[0], titles.ids[titles.offsets[1] - 1]
    ids = np.full((len(codes), PADDED), cache.pad_id, np.int64)
    mask = np.zeros_like(ids)
    ids[:, :2], mask[:, :2] = (first, last), 1
    part = cache.batch(channel, codes)
    width = part.input_ids.shape[1]
    ids[part.rows, :width], mask[part.rows, :width] = part.input_ids, part.attention_mask
    return ChannelTokens(ids, mask, np.arange(len(codes), dtype=np.int64))


def one_pass(backbone: Callable[..., Any], input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """`mean_vectors` without its passes of similar length: all texts in one, as they are padded."""
    hidden = backbone(input_ids=input_ids, attention_mask=attention_mask)
    return masked_mean(hidden.last_hidden_state, attention_mask)


def pooled_loss(tangent: Tensor, step: Step) -> Tensor:
    distances = pairwise_distance(tangent, tangent)
    return info_nce(
        distances[step.anchor, step.positive],
        distances[step.anchor.unsqueeze(1), step.negatives],
        TEMPERATURE,
    )


def naive_loss(tangent: Tensor, step: Step) -> Tensor:
    anchor = tangent[step.anchor]
    return info_nce(
        distance(anchor, tangent[step.positive]),
        distance(anchor.unsqueeze(1), tangent[step.negatives]),
        TEMPERATURE,
    )


def run_steps(plan: Plan, way: str) -> Stepped:
    """Train with a way of making steps: `ours`, `kind` (dynamic padding) or `padded`."""
    ours = way == 'ours'
    cache = TokenCache.load(plan.folder.token_cache)
    index = RelationIndex.load(plan.folder.relation_index)
    sampler = TripletSampler(index, load_stage(STAGE), seed=0)
    model = new_model(plan)
    groups = parameter_groups(model.named_parameters(), 0.01)
    optimiser = torch.optim.AdamW(groups, lr=3e-4)
    items = plan.items if ours else plan.naive_items
    steps = plan.steps if ours else plan.naive_steps
    texts, loss = 0, torch.zeros(())

    def forward(step: Step, clock: Clock) -> Tensor:
        with autocast(plan):
            with clock.part('fusion and projection'), timed_channels(model, clock):
                tangent = model(step.tokens, step.count).tangent
            with clock.part('distances and loss'):
                return pooled_loss(tangent, step) if ours else naive_loss(tangent, step)

    def run(clock: Clock) -> None:
        nonlocal texts, loss
        with clock.part('composing'):
            pooled = compose(sampler, pool_size=plan.pool_size, items=items)
        with clock.part('tokens to tensors'):
            if ours:
                step = pooled_step(pooled, cache, plan.device)
            else:
                step = naive_step(pooled, cache, plan.device, fixed=way == 'padded')
        texts += sum(len(part.rows) for part in step.tokens.values())
        loss = forward(step, clock)
        with clock.part('backward'):
            loss.backward()
        with clock.part('optimiser'):
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()

    # A step of a minute on a CPU has nothing to warm up.
    with mock.patch.object(channels, 'mean_vectors', channels.mean_vectors if ours else one_pass):
        if ours or plan.device == 'cuda':
            run(Clock('cpu'))
        texts = 0
        wait(plan.device)
        wall, cpu = time.monotonic(), time.process_time()
        for _ in range(steps):
            run(Clock('cpu'))
        wait(plan.device)
        wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        done, clock = texts, Clock(plan.device)
        if ours:
            # Apart from the steps above: a GPU that is waited for at every part loses time.
            for _ in range(steps):
                run(clock)
    inner = [time_ for name, time_ in clock.times.items() if name.startswith('channel')]
    phases = {name: (a / steps, b / steps) for name, (a, b) in clock.times.items()}
    if ours:
        total = phases['fusion and projection']
        phases['fusion and projection'] = (
            total[0] - sum(a for a, _ in inner) / steps,
            total[1] - sum(b for _, b in inner) / steps,
        )
    return Stepped(items, done, steps, wall, cpu, gpu_megabytes(plan.device), loss.item(), phases)


@contextmanager
def timed_channels(model: NaicsEmbedder, clock: Clock) -> Iterator[None]:
    """Count the time of each channel by itself."""
    encode = model.channels.encode

    def timed(channel: str, ids: Tensor, mask: Tensor) -> Tensor:
        with clock.part(f'channel {channel}'):
            return encode(channel, ids, mask)

    with mock.patch.object(model.channels, 'encode', timed):
        yield


def encode_all(plan: Plan) -> tuple[int, int, float, float, float]:
    """Embed every code: (codes, texts, seconds, CPU-seconds, megabytes of GPU memory)."""
    model = new_model(plan)
    own = model.backbone
    cache = TokenCache.load(plan.folder.token_cache)
    cache = (
        replace(cache, backbone=own.name, digest=own.digest) if plan.backbone in RANDOM else cache
    )
    texts = sum(int((ragged.lengths > 0).sum()) for ragged in cache.channels.values())
    wait(plan.device)
    wall, cpu = time.monotonic(), time.process_time()
    with autocast(plan):
        model.encode_codes(cache)
    wait(plan.device)
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    return len(cache), texts, wall, cpu, gpu_megabytes(plan.device)


def build(folder: EditionFolder, backbone: str) -> None:
    from naics_model.dataset.steps import steps_of

    source = os.environ.get('NAICS_SOURCE_DIR')
    needed = ('descriptions', 'distances', 'relation_index', 'token_cache')
    for step in steps_of(folder, Path(source) if source else None, backbone):
        if step.name.endswith('_workbook') or step.name in needed:
            step.run(lambda line: None)


def print_ways(plan: Plan, apply: Callable[..., Figures]) -> dict[str, Figures]:
    print(f'## Steps side by side (bar: {BAR} times the items of the padded step)\n')
    print(
        f'An item is an anchor, a positive and the negatives of stage {STAGE}. All steps draw '
        'items in the same way, and have the same model with the same adapters, precision, loss '
        '(InfoNCE on Lorentz distances) and optimiser; none drops channels. The token cache cuts '
        'texts at 128 tokens for all. The padded step encodes the four texts of each code of each '
        f'item at {PADDED} tokens, an absent one as an empty text, as the predecessor does; the '
        'kinder one pads to the longest of the step and leaves absent texts out. Both are slow, '
        'hence their few items.\n'
    )
    names = {
        'ours': 'each code of the pool once',
        'kind': 'every text, kinder',
        'padded': f'every text, padded to {PADDED}',
    }
    print(
        '| step | items a step | steps | texts an item | items/s | CPU-seconds an item | ours: '
        'times the items/s | times the items a CPU-second | peak memory, MB | GPU memory, MB |'
    )
    print('|---|' + '---:|' * 9, flush=True)
    done: dict[str, Figures] = {}
    for way, name in names.items():
        done[way] = took = apply(run_steps, plan, way)
        own: Stepped = took.value
        ours: Stepped = done['ours'].value
        count = own.steps * own.items
        by_wall = own.seconds / count / (ours.seconds / ours.steps / ours.items)
        by_cpu = own.cpu / count / (ours.cpu / ours.steps / ours.items)
        print(
            f'| {name} | {own.items:,} | {own.steps} | {own.texts / count:.2f} | '
            f'{count / own.seconds:,.3g} | {own.cpu / count:.3g} | {by_wall:,.1f} | {by_cpu:,.1f} '
            f'| {took.peak_mb:,.0f} | {own.gpu_mb:,.0f} |',
            flush=True,
        )
    return done


def print_phases(stepped: Stepped) -> None:
    print('\n## Where the time of our step goes\n')
    print('| part | CPU-milliseconds | milliseconds | share of the time, % |')
    print('|---|---:|---:|---:|')
    whole = [sum(column) for column in zip(*stepped.phases.values(), strict=True)]
    for name, (cpu, wall) in [*stepped.phases.items(), ('whole step', tuple(whole))]:
        print(f'| {name} | {1e3 * cpu:.1f} | {1e3 * wall:.1f} | {100 * wall / whole[1]:.1f} |')
    print(flush=True)


def print_pass(plan: Plan, apply: Callable[..., Figures]) -> None:
    print('## All codes\n')
    took = apply(encode_all, plan)
    codes, texts, wall, cpu, gpu = took.value
    print('| codes | texts | seconds | CPU-seconds | peak memory, MB | GPU memory, MB |')
    print('|---:|---:|---:|---:|---:|---:|')
    print(f'| {codes:,} | {texts:,} | {wall:.1f} | {cpu:.1f} | {took.peak_mb:,.0f} | {gpu:,.0f} |')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--edition', default='2022', choices=list(load_editions()))
    parser.add_argument('--data-dir', type=Path, help='a data folder with the edition, built')
    parser.add_argument('--device', default='cpu', choices=['cpu', 'cuda'])
    parser.add_argument('--precision', default='32', choices=['32', 'bf16'])
    parser.add_argument(
        '--backbone', default=MINILM, help=f'as for training, or {" or ".join(RANDOM)}'
    )
    parser.add_argument('--pool-size', type=int, default=64)
    parser.add_argument('--items', type=int, default=256, help='of our step')
    parser.add_argument('--steps', type=int, default=8, help='of ours')
    parser.add_argument('--naive-items', type=int, default=1)
    parser.add_argument('--naive-steps', type=int, default=2)
    # Threads that wait for each other on a busy machine count as CPU time.
    parser.add_argument('--threads', type=int, default=1)
    options = parser.parse_args()
    print_head('Training step', 'train_step.py')
    with tempfile.TemporaryDirectory() as scratch, own_processes() as apply:
        folder = EditionFolder(options.data_dir or Path(scratch), options.edition)
        if options.data_dir is None:
            build(folder, MINILM if options.backbone in RANDOM else options.backbone)
        plan = Plan(
            folder,
            options.device,
            options.precision,
            options.backbone,
            options.pool_size,
            options.items,
            options.steps,
            options.naive_items,
            options.naive_steps,
            options.threads,
        )
        name = torch.cuda.get_device_name() if plan.device == 'cuda' else 'CPU'
        print(
            f'Edition {options.edition}, backbone {plan.backbone}, {name}, precision '
            f'{plan.precision}, torch {torch.__version__}, threads: {plan.threads}. '
            f'Pools of {plan.pool_size} codes. Each line is a process of its own.\n'
        )
        done = print_ways(plan, apply)
        print_phases(done['ours'].value)
        print_pass(plan, apply)


if __name__ == '__main__':
    main()
