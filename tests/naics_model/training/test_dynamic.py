"""The dynamic curriculum in a fit: what the loss sees of each flag, clusters, and several ranks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from naics_model.curriculum.sadc import NegativeSettings
from naics_model.curriculum.stage import Stage
from naics_model.encoder.embedder import EmbedderOutput
from naics_model.geometry.lorentz import distance
from naics_model.losses.contrastive import info_nce
from naics_model.training.data import DataSettings, StepBatch, TripletDataModule
from naics_model.training.dynamic import Contrast, DynamicNegatives
from naics_model.training.module import TripletModule
from naics_model.training.weights import LossWeights
from naics_model.triplets.hardness import hardness_matrix

WIDE = Stage(
    name='wide',
    positive_levels=(2, 3, 4, 5, 6),
    difficulty_buckets=(1, 2, 3, 4, 5, 6, 8),
    bucket_percentages={1: 0.4, 2: 0.2, 3: 0.1, 4: 0.1, 5: 0.1, 6: 0.05, 8: 0.05},
    k_negatives=6,
)
ONLY = LossWeights(contrastive=1.0, activities=0.0, hierarchy_fit=0.0, radius_ladder=0.0)


@pytest.fixture(scope='module')
def data(edition: Any) -> TripletDataModule:
    settings = DataSettings(
        edition.relation_index, edition.token_cache, pool_size=30, items_per_step=40, val_steps=2
    )
    return TripletDataModule(edition.index, edition.cache, WIDE, settings, seed=1)


@pytest.fixture(scope='module')
def batch(data: TripletDataModule) -> StepBatch:
    step: StepBatch = next(iter(data.val_dataloader()))
    return step


@pytest.fixture(scope='module')
def model() -> TripletModule:
    torch.manual_seed(0)
    model = TripletModule(
        backbone='tiny-random',
        hyperbolic_dim=8,
        lora_dropout=0.0,
        channel_dropout=0.0,
        weights=ONLY,
    )
    # An untrained gate is uniform: one that tells codes apart.
    with torch.no_grad():
        model.embedder.fusion.gate.weight.normal_(generator=torch.Generator().manual_seed(2))
    return model.eval()


@pytest.fixture(scope='module')
def output(model: TripletModule, batch: StepBatch) -> EmbedderOutput:
    with torch.no_grad():
        found: EmbedderOutput = model.embedder(batch.tokens, len(batch.codes))
    return found


def dynamic_of(data: TripletDataModule, seed: int = 0, **settings: Any) -> DynamicNegatives:
    asked = NegativeSettings(**{'strategy': 'sadc', 'clusters': 8, **settings})
    # Eight dimensions, four experts.
    return DynamicNegatives(data.sampler.index, WIDE, data.cache, asked, seed, 12)


def seen(
    data: TripletDataModule,
    batch: StepBatch,
    output: EmbedderOutput,
    model: TripletModule,
    progress: float,
    **settings: Any,
) -> Contrast:
    torch.manual_seed(0)
    found = dynamic_of(data, **settings).contrast(batch, output, model.embedder, progress, 3)
    assert found is not None
    return found


# A phase, and a flag that changes what the loss sees in it.
FLAGS: list[tuple[float, dict[str, Any]]] = [
    (0.1, {'strategy': 'uniform'}),
    (0.1, {'strategy': 'sans_static'}),
    (0.1, {'alpha': 0.0}),
    (0.1, {'mask_siblings': False}),
    (0.1, {'first_end': 0.05}),
    (0.1, {'phases': 'annealed'}),
    (0.5, {'alpha': 6.0}),
    (0.5, {'candidates': 1.0}),
    (0.5, {'mined': 0.0}),
    (0.5, {'router': 0.0}),
    (0.5, {'router_measure': 'cosine', 'router': 1.0}),
    (0.5, {'second_end': 0.4}),
    (0.5, {'phases': 'two'}),
    (0.5, {'phases': 'plateau'}),
    (0.9, {'false_negatives': 'off'}),
    (0.9, {'false_negatives': 'attract'}),
    (0.9, {'false_negatives': 'hybrid'}),
    (0.9, {'clusters': 2}),
]


@pytest.mark.parametrize(('progress', 'flag'), FLAGS, ids=[f'{p}-{f}' for p, f in FLAGS])
def test_a_flag_changes_what_the_loss_sees(
    data: TripletDataModule,
    batch: StepBatch,
    output: EmbedderOutput,
    model: TripletModule,
    progress: float,
    flag: dict[str, Any],
) -> None:
    base = {'router': 1.0} if 'router_measure' in flag else {}
    without = seen(data, batch, output, model, progress, **base)
    with_it = seen(data, batch, output, model, progress, **flag)
    losses = [model.losses_of(batch, output, each) for each in (without, with_it)]
    # Attraction is a loss of its own; all else is in the contrast.
    kinds = [dict(sorted(found.items())) for found in losses]
    assert kinds[0] != kinds[1]
    # And the same settings see the same: it is the flag, not chance.
    again = seen(data, batch, output, model, progress, **flag)
    assert torch.equal(with_it.negatives, again.negatives)


def test_in_its_phase_only(
    data: TripletDataModule, batch: StepBatch, output: EmbedderOutput, model: TripletModule
) -> None:
    for progress, flag in (
        (0.1, {'router': 0.0}),
        (0.1, {'false_negatives': 'off'}),
        (0.5, {'mask_siblings': False}),
        (0.5, {'false_negatives': 'attract'}),
        (0.9, {'alpha': 6.0}),
    ):
        one = seen(data, batch, output, model, progress)
        other = seen(data, batch, output, model, progress, **flag)
        assert torch.equal(one.negatives, other.negatives), (progress, flag)
        assert other.mates is None


def test_the_sampler_s_negatives_are_kept_when_that_is_asked_for(
    data: TripletDataModule, batch: StepBatch, output: EmbedderOutput, model: TripletModule
) -> None:
    dynamic = dynamic_of(data, strategy='stage')
    assert dynamic.contrast(batch, output, model.embedder, 0.5, 0) is None
    torch.manual_seed(0)
    plain = TripletModule(backbone='tiny-random', hyperbolic_dim=8)
    plain.choose_negatives(data.sampler.index, WIDE, data.cache)
    assert plain.dynamic is None


def test_the_contrast_is_infonce_of_the_chosen_and_the_mask_reaches_it(
    data: TripletDataModule, batch: StepBatch, output: EmbedderOutput, model: TripletModule
) -> None:
    contrast = seen(data, batch, output, model, 0.9)
    v, a, p = output.tangent, batch.anchor, batch.positive
    expected = info_nce(distance(v[a], v[p]), contrast.negatives, 0.5, contrast.counts)
    found = model.losses_of(batch, output, contrast)['contrastive']
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)
    # Left out of the mask, a negative is out of the loss.
    fewer = contrast._replace(counts=contrast.counts & (contrast.hardness > 1))
    assert model.losses_of(batch, output, fewer)['contrastive'] < found


def test_attraction_pulls_mates_and_only_them(
    data: TripletDataModule, batch: StepBatch, output: EmbedderOutput, model: TripletModule
) -> None:
    contrast = seen(data, batch, output, model, 0.9, false_negatives='attract', clusters=3)
    assert contrast.mates is not None
    assert contrast.has_mate is not None
    assert contrast.has_mate.any()
    has = contrast.has_mate
    expected = info_nce(contrast.mates[has], contrast.negatives[has], 0.5, contrast.counts[has])
    found = model.losses_of(batch, output, contrast)['attraction']
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)
    nobody = contrast._replace(has_mate=torch.zeros_like(has))
    assert model.losses_of(batch, output, nobody)['attraction'].item() == 0


def test_gradients_reach_anchors_negatives_and_mates(
    data: TripletDataModule, batch: StepBatch, model: TripletModule
) -> None:
    found: EmbedderOutput = model.embedder(batch.tokens, len(batch.codes))
    tangent = found.tangent.detach().requires_grad_()
    moved = found._replace(tangent=tangent)
    contrast = seen(data, batch, moved, model, 0.9, false_negatives='attract', clusters=3)
    assert contrast.mates is not None
    for part in (contrast.negatives[contrast.counts].sum(), contrast.mates.sum()):
        (gradient,) = torch.autograd.grad(part, tangent, retain_graph=True)
        assert torch.isfinite(gradient).all()
        assert (gradient.abs().sum(dim=1) > 0).sum() > len(batch.anchor.unique())


def test_clusters_are_made_once_every_so_many_epochs_and_go_with_the_state(
    data: TripletDataModule, batch: StepBatch, output: EmbedderOutput, model: TripletModule
) -> None:
    dynamic = dynamic_of(data, every=2)
    assert (dynamic.labels == -1).all()
    made = []
    for progress, epoch in ((0.1, 0), (0.5, 1), (0.71, 2), (0.8, 2), (0.85, 3), (0.9, 4)):
        dynamic.contrast(batch, output, model.embedder, progress, epoch)
        made.append(int(dynamic.clustered))
    # The first when the last phase begins, wherever in an epoch that is.
    assert made == [-1, -1, 2, 2, 2, 4]
    assert dynamic.labels.max() == 7
    assert model.training is False
    dynamic.clock.observe(0.5, 1.0)
    dynamic.clock.observe(0.6, 2.0)
    twin = dynamic_of(data, every=2)
    state = dynamic.state_dict()
    # The relations of the edition are not among it.
    assert set(state) == {'labels', 'clustered', '_extra_state'}
    twin.load_state_dict(state)
    assert torch.equal(twin.labels, dynamic.labels)
    assert twin.clock.ends == dynamic.clock.ends == (0.6, float('inf'))


def test_codes_of_earlier_steps_are_candidates_where_they_were(
    data: TripletDataModule, batch: StepBatch, output: EmbedderOutput, model: TripletModule
) -> None:
    index = data.sampler.index
    later = list(data.val_dataloader())[1]
    dynamic = dynamic_of(data, beyond_step=True, candidates=100, router=0.0)
    alone = dynamic_of(data, candidates=100, router=0.0)
    first = dynamic.contrast(batch, output, model.embedder, 0.5, 0)
    assert first is not None
    # Nothing is known before the first step.
    plain = alone.contrast(batch, output, model.embedder, 0.5, 0)
    assert plain is not None
    torch.testing.assert_close(first.negatives.sort().values, plain.negatives.sort().values)

    with torch.no_grad():
        after: EmbedderOutput = model.embedder(later.tokens, len(later.codes))
    earlier = set(batch.codes.tolist()) - set(later.codes.tolist())
    assert earlier
    found = dynamic.contrast(later, after, model.embedder, 0.5, 0)
    pool_only = alone.contrast(later, after, model.embedder, 0.5, 0)
    assert found is not None
    assert pool_only is not None
    # By hand: the nearest of all that may be negatives, wherever they were last seen.
    points = {int(c): output.tangent[i] for i, c in enumerate(batch.codes)}
    points |= {int(c): after.tangent[i] for i, c in enumerate(later.codes)}
    every = np.array(sorted(points))
    for item in range(0, len(later.anchor), 5):
        a, p = (int(later.codes[side[item]]) for side in (later.anchor, later.positive))
        hardness = hardness_matrix(index, np.array([a]), np.array([p]), every)[0]
        allowed = [int(c) for c, h in zip(every, hardness, strict=True) if 0 < h != 7]
        nearest = sorted(float(distance(points[a], points[c])) for c in allowed)[:6]
        torch.testing.assert_close(
            found.negatives[item].sort().values, torch.tensor(nearest), atol=1e-4, rtol=1e-4
        )
    assert (found.negatives.sum(dim=1) <= pool_only.negatives.sum(dim=1) + 1e-3).all()
    assert (found.negatives.sum(dim=1) < pool_only.negatives.sum(dim=1) - 1e-3).any()
    # A fit that goes on knows what it knew.
    twin = dynamic_of(data, beyond_step=True)
    twin.load_state_dict(dynamic.state_dict())
    assert {'_bank.points', '_bank.known'} < set(dynamic.state_dict())


def test_figures_tell_each_phase_apart(
    data: TripletDataModule, batch: StepBatch, output: EmbedderOutput, model: TripletModule
) -> None:
    tree, mined, last = (seen(data, batch, output, model, p).figures for p in (0.1, 0.5, 0.9))
    assert [float(each['phase']) for each in (tree, mined, last)] == [1, 2, 3]
    assert float(tree['negatives_drawn']) == 1
    assert float(mined['negatives_by_distance']) == float(mined['negatives_by_router']) == 0.5
    assert float(mined['eliminated_share']) == 0 < float(last['eliminated_share']) < 1
    assert float(tree['similarity_mb']) > 0


PROCESS = """
import sys
from pathlib import Path
from types import SimpleNamespace
import torch
import torch.distributed as dist
from torch import nn
from naics_model.curriculum.sadc import NegativeSettings
from naics_model.curriculum.stage import Stage
from naics_model.encoder.embedder import EmbedderOutput
from naics_model.geometry.lorentz import distance
from naics_model.jobs.collective import gathered_over_ranks
from naics_model.losses.contrastive import info_nce
from naics_model.training.dynamic import DynamicNegatives
from naics_model.training.module import _share
from naics_model.triplets.relation_index import RelationIndex

folder, world, rank = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
start = torch.load(f'{folder}/start.pt')
index = RelationIndex.load(Path(start['index']))

class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.point, self.gate = nn.Linear(5, 4), nn.Linear(5, 3)

    def forward(self, x):
        return self.point(x), self.gate(x).softmax(dim=1)

encoder = Encoder()
encoder.load_state_dict(start['encoder'])
forward = encoder
if world > 1:
    dist.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
    # The gate is read, not learned from, by the contrast.
    forward = nn.parallel.DistributedDataParallel(encoder, find_unused_parameters=True)
# All of it, or this rank's share.
shares = start['shares'] if world == 1 else [start['shares'][rank]]
codes = torch.cat([share['codes'] for share in shares])
place = {int(code): column for column, code in enumerate(codes)}
items = torch.cat([share['items'] for share in shares])
anchor, positive = (
    torch.tensor([place[int(code)] for code in items[:, side]]) for side in (0, 1)
)
settings = NegativeSettings(strategy='sadc', candidates=1000, false_negatives='attract')
stage = Stage.model_validate_json(start['stage'])
dynamic = DynamicNegatives(index, stage, None, settings, 0, 7)
dynamic.labels.copy_(start['labels'])
dynamic.clustered.fill_(0)
batch = SimpleNamespace(codes=codes, anchor=anchor, positive=positive)
for progress in (0.5, 0.9):
    encoder.zero_grad()
    tangent, gate = forward(start['x'][codes])
    contrast = dynamic.contrast(
        batch, EmbedderOutput(tangent, gate), SimpleNamespace(curvature=1.0), progress, 0
    )
    near = distance(tangent[anchor], tangent[positive])
    loss = info_nce(near, contrast.negatives, 0.5, contrast.counts)
    if contrast.mates is not None:
        has = contrast.has_mate
        mates, others = contrast.mates[has], contrast.negatives[has]
        loss = loss + _share(has) * info_nce(mates, others, 0.5, contrast.counts[has])
    loss.backward()
    total = torch.stack(gathered_over_ranks(loss.detach().unsqueeze(0))).mean()
    torch.save(
        {
            'loss': total,
            'weight': encoder.point.weight.grad,
            'bias': encoder.point.bias.grad,
            'eliminated': contrast.figures['eliminated_share'],
            'attracted': contrast.figures['attracted_share'],
            'negatives': contrast.negatives.detach().sort(dim=1).values,
        },
        f'{folder}/{progress}-{world}-{rank}.pt',
    )
if world > 1:
    dist.destroy_process_group()
"""


def test_two_processes_see_the_negatives_loss_and_gradients_of_one(
    edition: Any, tmp_path: Path
) -> None:
    index = edition.index
    generator = torch.Generator().manual_seed(7)
    encoder = torch.nn.ModuleDict({'point': torch.nn.Linear(5, 4), 'gate': torch.nn.Linear(5, 3)})
    shares = []
    # Pools of unequal size that share no code, each with items of its own.
    order = torch.randperm(len(index), generator=generator)
    for codes in order.split([35, len(index) - 35]):
        pairs = [
            (int(a), int(p))
            for a in codes
            for p in codes
            if a != p and index.distance[a, p] < 20 and index.levels[p] >= 5
        ]
        shares.append({'codes': codes, 'items': torch.tensor(pairs[:24])})
    start = {
        'index': str(edition.relation_index),
        'encoder': encoder.state_dict(),
        'shares': shares,
        'x': torch.randn(len(index), 5, generator=generator),
        'stage': WIDE.model_dump_json(),
        # Pairs, so that who is attracted is no matter of chance.
        'labels': torch.arange(len(index)) // 2,
    }
    torch.save(start, tmp_path / 'start.pt')
    processes = [
        subprocess.Popen([sys.executable, '-c', PROCESS, str(tmp_path), str(world), str(rank)])
        for world, rank in ((1, 0), (2, 0), (2, 1))
    ]
    try:
        assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    for progress in (0.5, 0.9):
        one = torch.load(tmp_path / f'{progress}-1-0.pt')
        two = [torch.load(tmp_path / f'{progress}-2-{rank}.pt') for rank in range(2)]
        for found in two:
            for name in ('loss', 'weight', 'bias'):
                torch.testing.assert_close(found[name], one[name], atol=1e-5, rtol=1e-5)
        negatives = torch.cat([found['negatives'] for found in two])
        torch.testing.assert_close(negatives, one['negatives'], atol=1e-5, rtol=1e-5)
        assert (float(one['eliminated']) > 0) == (progress > 0.7)
        shares = [float(found['attracted']) for found in two]
        # Unequal numbers of items with a mate: the mean of two means would be another loss.
        assert (shares[0] != shares[1]) == (progress > 0.7)
