"""The module on a tiny random backbone: losses by hand, gradients, phases, and learning."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from naics_model.curriculum.sadc import NOT_YET, NegativeSettings, PhaseClock
from naics_model.curriculum.stage import Stage
from naics_model.encoder.moe import gate_entropy, least_use
from naics_model.encoder.points import POINTS_FILE
from naics_model.errors import ConfigurationError, DataError
from naics_model.geometry.lorentz import distance
from naics_model.losses.contrastive import info_nce
from naics_model.losses.hierarchy import hierarchy_fit
from naics_model.losses.radius import radius_ladder
from naics_model.taxonomy.distances import tree_distances
from naics_model.taxonomy.tree import Taxonomy
from naics_model.training.data import StepBatch, StepDataModule
from naics_model.training.module import TextModule
from naics_model.training.weights import LossWeights

MakeModule = Callable[..., TextModule]
EVERY = LossWeights(items=0.3, radius_ladder=0.25, load_balance=0.5)


@pytest.fixture(scope='module')
def batch(make_data: Callable[..., StepDataModule]) -> StepBatch:
    data = make_data()
    data.trainer = SimpleNamespace(current_epoch=0)  # type: ignore[assignment]
    step: StepBatch = next(iter(data.train_dataloader()))
    return step


@pytest.fixture(scope='module')
def make(edition: Any, stage: Stage) -> MakeModule:
    """Make a module whose points are near its documents, and not on them."""
    index, cache = edition.index, edition.cache

    def build(**options: Any) -> TextModule:
        torch.manual_seed(0)
        given = {'backbone': 'tiny-random', 'hyperbolic_dim': 8, 'lora_dropout': 0.0, **options}
        module = TextModule(**given)
        module.bind(index, stage)
        if 'init_from' not in options:
            module.points.start_at(module.embedder.encode_codes(cache).unit)
            generator = torch.Generator().manual_seed(1)
            with torch.no_grad():
                for free in module.points.parameters():
                    free.add_(0.1 * torch.randn(free.shape, generator=generator))
        return module

    return build


class ByHand:
    """The readings of a step, and its losses in loops over single texts and codes."""

    def __init__(self, module: TextModule, batch: StepBatch) -> None:
        assert batch.documents is not None
        self.module, self.batch = module, batch
        count = len(batch.phrases.nodes)
        self.phrases = module.embedder({'document': batch.phrases.tokens}, count)
        self.documents = module.embedder(batch.documents.tokens, len(batch.documents.codes))
        self.points = module.points(module.embedder.projection)
        self.codes = module.points.codes
        self.leaves = [i for i, code in enumerate(self.codes) if len(code) == 6]
        self.live = {int(code): row for row, code in enumerate(batch.documents.codes)}

    def at(self, reading: str, code: int) -> Tensor:
        """Where a code is for a phrase: at its document, if that is in the step."""
        source, row = self.points, code
        if self.module.live_documents and code in self.live:
            source, row = self.documents, self.live[code]  # type: ignore[assignment]
        found: Tensor = getattr(source, reading)[row]
        return found

    def lorentz(self, away: Tensor) -> Tensor:
        return -(away if self.module.kernel == 'distance' else away**2) / 0.2

    def logits(self, phrase: int, margin: float = 0.0) -> tuple[Tensor, Tensor]:
        """The flat and the hyperbolic logits of a phrase over the leaves."""
        own = self.codes[int(self.batch.phrases.nodes[phrase])]
        flat, lorentz = [], []
        for leaf in self.leaves:
            flat.append(self.phrases.unit[phrase] @ self.at('unit', leaf) / 0.05)
            point = self.phrases.tangent[phrase]
            away = distance(point, self.at('tangent', leaf), self.module.curvature)
            if self.codes[leaf].startswith(own):
                sech = 1 / torch.cosh(point.norm()) if self.module.curvature else 1
                away = away + margin * sech
            lorentz.append(self.lorentz(away))
        return torch.stack(flat), torch.stack(lorentz)

    def phrase_losses(self, margin: float = 0.0, *, levels: bool = False) -> list[float]:
        costs = []
        for phrase, node in enumerate(self.batch.phrases.nodes.tolist()):
            own = self.codes[node]
            for logits in self.logits(phrase, margin):
                p = logits.softmax(dim=0)
                total = whole = 0.0
                for digits in range(2 if levels else len(own), len(own) + 1):
                    right = [self.codes[leaf][:digits] == own[:digits] for leaf in self.leaves]
                    weight = 2 ** (1 / (7 - digits)) if levels else 1.0
                    total -= weight * math.log(p[torch.tensor(right)].sum())
                    whole += weight
                costs.append(total / whole)
        return [sum(costs[start::2]) / len(costs[start::2]) for start in (0, 1)]

    def document_loss(self) -> float:
        costs = []
        for code, row in self.live.items():
            same = [i for i, c in enumerate(self.codes) if len(c) == len(self.codes[code])]
            unit, tangent = self.documents.unit[row], self.documents.tangent[row]
            flat = self.points.unit[same] @ unit / 0.05
            lorentz = self.lorentz(
                distance(tangent, self.points.tangent[same], self.module.curvature)
            )
            target = torch.tensor(same.index(code))
            costs.append(sum(functional.cross_entropy(each, target) for each in (flat, lorentz)))
        return float(sum(costs)) / len(costs)


@pytest.mark.parametrize('curvature', [0.0, 1.0])
@pytest.mark.parametrize('kernel', ['distance', 'squared'])
def test_each_loss_is_what_single_texts_and_codes_say(
    make: MakeModule, batch: StepBatch, kernel: str, curvature: float
) -> None:
    assert batch.items is not None
    module = make(kernel=kernel, curvature=curvature, weights=EVERY).eval()
    with torch.no_grad():
        losses, figures = module.losses(batch)
        hand = ByHand(module, batch)
        flat, lorentz = hand.phrase_losses()
        assert losses['flat'].item() == pytest.approx(flat, rel=1e-4)
        assert losses['lorentz'].item() == pytest.approx(lorentz, rel=1e-4)
        assert losses['documents'].item() == pytest.approx(hand.document_loss(), rel=1e-4)
        where = torch.stack([hand.at('tangent', code) for code in range(len(hand.codes))])
        anchor, positive, negatives, hardness = batch.items
        expected = info_nce(
            distance(where[anchor], where[positive], curvature),
            distance(where[anchor].unsqueeze(1), where[negatives], curvature),
            0.5,
            hardness > 0,
        )
        assert losses['items'].item() == pytest.approx(expected.item(), rel=1e-4)
        # The sixty codes are fewer than are compared in a step.
        away = distance(where.unsqueeze(0), where.unsqueeze(1), curvature)
        taxonomy = Taxonomy.from_codes(hand.codes)
        fit = hierarchy_fit(away, torch.from_numpy(tree_distances(taxonomy)), torch.zeros(()))
        assert losses['hierarchy_fit'].item() == pytest.approx(fit.item(), rel=1e-3)
        ladder = radius_ladder(where.norm(dim=1), torch.from_numpy(taxonomy.levels))
        assert losses['radius_ladder'].item() == pytest.approx(ladder.item(), rel=1e-4)
        hits = [
            hand.codes[hand.leaves[int(hand.logits(phrase)[0].argmax())]].startswith(
                hand.codes[node]
            )
            for phrase, node in enumerate(batch.phrases.nodes.tolist())
        ]
        assert figures['flat_hit_at_1'].item() == pytest.approx(sum(hits) / len(hits))


@pytest.mark.parametrize('curvature', [0.0, 1.0])
def test_the_margin_reaches_right_answers_and_positives_only(
    make: MakeModule, batch: StepBatch, curvature: float
) -> None:
    assert batch.items is not None
    module = make(margin=2.0, curvature=curvature).eval()
    with torch.no_grad():
        losses, _ = module.losses(batch)
        plain, _ = make(curvature=curvature).eval().losses(batch)
        hand = ByHand(module, batch)
        flat, lorentz = hand.phrase_losses(margin=2.0)
        where = torch.stack([hand.at('tangent', code) for code in range(len(hand.codes))])
        anchor, positive, negatives, hardness = batch.items
        sech = 1 / torch.cosh(where[anchor].norm(dim=1)) if curvature else 1.0
        expected = info_nce(
            distance(where[anchor], where[positive], curvature) + 2 * sech,
            distance(where[anchor].unsqueeze(1), where[negatives], curvature),
            0.5,
            hardness > 0,
        )
    assert losses['lorentz'].item() == pytest.approx(lorentz, rel=1e-4)
    assert losses['lorentz'] > 1.01 * plain['lorentz']
    assert losses['items'].item() == pytest.approx(expected.item(), rel=1e-4)
    assert losses['items'] > 1.01 * plain['items']
    assert losses['flat'].item() == pytest.approx(flat, rel=1e-4)


def test_phrases_are_told_apart_at_coarser_levels_where_that_is_asked_for(
    make: MakeModule, batch: StepBatch
) -> None:
    module = make(levels=True).eval()
    with torch.no_grad():
        losses, _ = module.losses(batch)
        flat, lorentz = ByHand(module, batch).phrase_losses(levels=True)
    assert losses['flat'].item() == pytest.approx(flat, rel=1e-4)
    assert losses['lorentz'].item() == pytest.approx(lorentz, rel=1e-4)


@pytest.mark.parametrize('live', [True, False])
def test_live_documents_stand_in_for_points_and_teach_the_encoder(
    make: MakeModule, batch: StepBatch, live: bool
) -> None:
    assert batch.documents is not None
    module = make(live_documents=live).eval()
    outputs: list[Any] = []

    def watch(encoder: Any, inputs: Any, output: Any) -> None:
        output.unit.retain_grad()
        outputs.append(output)

    handle = module.embedder.register_forward_hook(watch)
    module.losses(batch)[0]['flat'].backward()
    handle.remove()
    documents = outputs[1].unit
    leaf = module.code_levels[batch.documents.codes] == 6
    assert leaf.any()
    # What a live document learns, the point that it stands in for does not.
    reached = documents.grad is not None and bool(documents.grad[leaf].abs().sum(dim=1).all())
    assert reached == live
    assert module.points.vectors.grad is not None
    of_points = module.points.vectors.grad[batch.documents.codes[leaf]].abs().sum()
    assert (of_points > 0) == (not live)


def test_the_total_weighs_each_loss_and_a_weight_of_0_leaves_it_out(
    make: MakeModule, batch: StepBatch
) -> None:
    options: dict[str, Any] = {'fusion': 'moe', 'live_documents': False}
    module = make(weights=EVERY, **options).eval()
    losses, _ = module.losses(batch)
    # Attraction needs clusters, which alike negatives do without.
    assert set(losses) == {field.name for field in dataclasses.fields(LossWeights)} - {'attraction'}
    expected = sum(getattr(EVERY, name) * value.item() for name, value in losses.items())
    assert module.total(losses).item() == pytest.approx(expected, rel=1e-5)
    nothing = dict.fromkeys(losses, 0.0)
    for name in losses:
        alone = LossWeights(**{**nothing, name: 1.0})
        found, _ = make(weights=alone, **options).eval().losses(batch)
        assert set(found) == {name}
        # Documents weigh their two readings as the phrases do: here both are 0.
        if name != 'documents':
            assert found[name].item() == pytest.approx(losses[name].item(), rel=1e-4)


def test_without_experts_there_is_no_balance_to_keep(make: MakeModule, batch: StepBatch) -> None:
    losses, figures = make(weights=EVERY).eval().losses(batch)
    assert 'load_balance' not in losses
    assert 'gate_entropy' not in figures


@pytest.mark.parametrize('curvature', [0.0, 1.0])
@pytest.mark.parametrize(
    'parts',
    [
        {'channels': 'one', 'fusion': 'mean'},
        # As many experts as are chosen: another would rightly have no gradient.
        {'channels': 'one', 'fusion': 'moe', 'experts': 2, 'top_k': 2},
    ],
    ids=['mean', 'moe'],
)
def test_every_trainable_weight_gets_a_gradient(
    make: MakeModule, batch: StepBatch, parts: dict[str, Any], curvature: float
) -> None:
    module = make(weights=EVERY, curvature=curvature, **parts).train()
    # LoRA starts at a product with a zero factor: only after a step can both factors have one.
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        module.total(module.losses(batch)[0]).backward()
        optimizer.step()
    gradients = {name: module.get_parameter(name).grad for name in module.trainable_names()}
    # With none, DDP would wait for it for ever.
    assert [name for name, gradient in gradients.items() if gradient is None] == []
    still = {name for name, gradient in gradients.items() if not gradient.abs().sum() > 0}
    # Every code has a document: nothing stands in for an absent one.
    assert still == {'embedder.channels.absent'}
    assert {'points.vectors', 'points.offsets', 'log_scale', 'log_item_temperature'} < set(
        gradients
    )


def test_learning_makes_phrases_find_their_codes(make: MakeModule, batch: StepBatch) -> None:
    module = make().train()
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=2e-2)
    seen = []
    for _ in range(15):
        losses, figures = module.losses(batch)
        optimizer.zero_grad()
        module.total(losses).backward()
        optimizer.step()
        seen.append({**losses, **figures})
    for name in ('flat', 'lorentz'):
        assert seen[-1][name] < 0.5 * seen[0][name]
        assert seen[-1][f'{name}_hit_at_1'] >= seen[0][f'{name}_hit_at_1'] + 0.4


def test_under_bfloat16_readings_stay_float32_and_all_is_finite(
    make: MakeModule, batch: StepBatch
) -> None:
    module = make(weights=EVERY, fusion='moe').train()
    with torch.autocast('cpu', torch.bfloat16):
        losses, figures = module.losses(batch)
        loss = module.total(losses)
    for name, value in {**losses, **figures}.items():
        assert torch.isfinite(value), name
    for name, value in losses.items():
        assert value.dtype == torch.float32, name
    loss.backward()
    for name in module.trainable_names():
        gradient = module.get_parameter(name).grad
        assert gradient is not None, name
        assert torch.isfinite(gradient).all(), name


# A phase, and a flag that changes the loss in it.
FLAGS: list[tuple[float, dict[str, Any]]] = [
    (0.1, {'strategy': 'uniform'}),
    (0.1, {'strategy': 'sans_static'}),
    (0.1, {'strategy': 'sans_static', 'near_share': 0.9}),
    (0.1, {'alpha': 0.0}),
    (0.1, {'mask_siblings': False}),
    (0.1, {'first_end': 0.05}),
    (0.1, {'phases': 'annealed'}),
    (0.5, {'alpha': 6.0}),
    (0.5, {'hardest': 10}),
    (0.5, {'mined': 0.0}),
    (0.5, {'router': 0.0}),
    (0.5, {'router_measure': 'cosine'}),
    (0.5, {'second_end': 0.4}),
    (0.5, {'phases': 'two'}),
    (0.5, {'phases': 'plateau'}),
    (0.9, {'false_negatives': 'off'}),
    (0.9, {'false_negatives': 'attract'}),
    (0.9, {'false_negatives': 'hybrid'}),
    (0.9, {'clusters': 2}),
]
# Later than their phase, or before it.
OUT_OF_PHASE: list[tuple[float, dict[str, Any]]] = [
    (0.1, {'router': 0.0}),
    (0.1, {'mined': 0.0}),
    (0.1, {'false_negatives': 'off'}),
    (0.5, {'mask_siblings': False}),
    (0.5, {'false_negatives': 'off'}),
    (0.9, {'alpha': 6.0}),
]


def phrase_losses(
    make: MakeModule, batch: StepBatch, progress: float, **settings: Any
) -> dict[str, float]:
    asked = {'strategy': 'sadc', 'hardest': 4, 'router': 0.9, **settings}
    module = make(fusion='moe', negatives=NegativeSettings(**asked)).eval()
    with torch.no_grad():
        # An untrained gate is uniform: one that tells texts apart.
        gate = module.embedder.fusion.gate.weight
        gate.normal_(generator=torch.Generator().manual_seed(2))
        points = module.points(module.embedder.projection)
        module.weighing.cluster(points.tangent[module.leaves], 1.0, 0)
        gates = module.embedder.fusion(points.unit[module.leaves]).gate_probabilities
        module.weighing.route(gates, 0)
        losses, _ = module.losses(batch, progress, PhaseClock(1))
    return {k: v.item() for k, v in losses.items() if k in ('flat', 'lorentz', 'attraction')}


@pytest.mark.parametrize(('progress', 'flag'), FLAGS, ids=[f'{p}-{f}' for p, f in FLAGS])
def test_a_flag_changes_the_loss_in_its_phase(
    make: MakeModule, batch: StepBatch, progress: float, flag: dict[str, Any]
) -> None:
    base = {'strategy': 'sans_static'} if 'near_share' in flag else {}
    without = phrase_losses(make, batch, progress, **base)
    with_it = phrase_losses(make, batch, progress, **flag)
    if flag.get('false_negatives') in ('attract', 'hybrid'):
        # A loss of its own; what is no negative is the same.
        assert with_it.pop('attraction') > 0
        assert with_it == without
    else:
        for name in ('flat', 'lorentz'):
            assert abs(with_it[name] - without[name]) > 1e-4


@pytest.mark.parametrize(
    ('progress', 'flag'), OUT_OF_PHASE, ids=[f'{p}-{f}' for p, f in OUT_OF_PHASE]
)
def test_out_of_its_phase_a_flag_changes_nothing(
    make: MakeModule, batch: StepBatch, progress: float, flag: dict[str, Any]
) -> None:
    without = phrase_losses(make, batch, progress)
    assert phrase_losses(make, batch, progress, **flag) == without


def test_validation_weighs_all_negatives_alike(make: MakeModule, batch: StepBatch) -> None:
    module = make(negatives=NegativeSettings(strategy='sadc')).eval()
    with torch.no_grad():
        assert module.losses(batch)[0].keys() == make().eval().losses(batch)[0].keys()
        for name in ('flat', 'lorentz'):
            plain = make().eval().losses(batch)[0][name]
            torch.testing.assert_close(module.losses(batch)[0][name], plain)
            assert module.losses(batch, 0.1, PhaseClock(1))[0][name] != plain


@contextmanager
def fitting(step: int = 5, epoch: int = 0, **figures: float) -> Iterator[None]:
    """In place of a fit of ten steps in one process."""
    trainer = SimpleNamespace(estimated_stepping_batches=10, callback_metrics=figures, world_size=1)
    with (
        mock.patch.object(TextModule, 'trainer', trainer),
        mock.patch.object(TextModule, 'global_step', step),
        mock.patch.object(TextModule, 'global_rank', 0),
        mock.patch.object(TextModule, 'current_epoch', epoch),
    ):
        yield


def test_a_plateau_is_counted_by_losses_of_its_own_epoch(make: MakeModule) -> None:
    module = make(negatives=NegativeSettings(strategy='sadc', phases='plateau'))
    with fitting(**{'val/loss': 2.0}):
        module.on_validation_epoch_end()
        module.on_train_epoch_end()
        # An epoch without validation: the figure of the one before is still there.
        module.on_train_epoch_end()
        assert module.clock.ends == NOT_YET
        module.on_validation_epoch_end()
        module.on_train_epoch_end()
    assert module.clock.ends == (0.5, math.inf)


def test_clusters_and_gates_are_made_in_the_epoch_that_needs_them(
    make: MakeModule, edition: Any
) -> None:
    module = make(fusion='moe', negatives=NegativeSettings(strategy='sadc', every=2))
    module.prepare(edition.cache, resumed=True)
    made = []
    for epoch, step in enumerate((0, 4, 6, 8, 9)):
        with fitting(step, epoch):
            module.on_train_epoch_start()
        made.append((int(module.weighing.routed), int(module.weighing.clustered)))
    assert made == [(-1, -1), (1, -1), (1, -1), (3, 3), (3, 3)]
    with torch.no_grad():
        documents = module.embedder.encode_codes(edition.cache).gate_probabilities
    assert documents is not None
    torch.testing.assert_close(module.weighing.gates, documents[module.leaves])


def test_attraction_without_a_weight_is_refused(make: MakeModule) -> None:
    with pytest.raises(ConfigurationError, match=r'weights\.attraction is 0'):
        make(
            negatives=NegativeSettings(false_negatives='hybrid'),
            weights=LossWeights(attraction=0.0),
        )


def test_a_new_model_starts_at_its_documents_and_a_resumed_one_where_it_was(
    make: MakeModule, edition: Any
) -> None:
    for resumed in (False, True):
        module = make(hyperbolic_dim=4)
        before = {name: value.clone() for name, value in module.state_dict().items()}
        module.prepare(edition.cache, resumed=resumed)
        with fitting():
            module.on_fit_start()
        points, projection = module.points, module.embedder.projection.linear.weight
        if resumed:
            for name, value in module.state_dict().items():
                assert torch.equal(value, before[name]), name
        else:
            documents = module.embedder.encode_codes(edition.cache)
            torch.testing.assert_close(points.vectors.data, documents.unit)
            assert not points.offsets.any()
            torch.testing.assert_close(
                points(module.embedder.projection).tangent, documents.tangent
            )
            # Along the directions in which the documents differ most.
            assert not torch.equal(projection, before['embedder.projection.linear.weight'])
            square = projection @ projection.T
            torch.testing.assert_close(square, square.diagonal().diag(), atol=1e-4, rtol=0)
        assert module.training


def test_the_next_stage_starts_from_all_that_the_one_before_has_learned(
    make: MakeModule, batch: StepBatch, edition: Any, tmp_path: Path
) -> None:
    first = make().eval()
    with torch.no_grad():
        for number, name in enumerate(('log_temperature', 'log_item_temperature', 'log_scale')):
            first.get_parameter(name).fill_(-0.3 - number / 10)
    first.export(tmp_path)
    second = make(init_from=tmp_path).eval()
    assert second.temperature.item() == pytest.approx(math.exp(-0.3))
    assert second.item_temperature.item() == pytest.approx(math.exp(-0.4))
    assert second.log_scale.item() == pytest.approx(-0.5)
    for name, value in first.points.state_dict().items():
        assert torch.equal(second.points.state_dict()[name], value)
    second.prepare(edition.cache, resumed=False)
    with fitting():
        second.on_fit_start()
    with torch.no_grad():
        expected, found = (each.losses(batch)[0] for each in (first, second))
    for name in ('flat', 'lorentz', 'documents', 'items'):
        torch.testing.assert_close(found[name], expected[name])


def test_a_stage_of_other_codes_or_settings_is_refused(
    make: MakeModule, stage: Stage, tmp_path: Path
) -> None:
    first = make()
    first.embedder.save_pretrained(tmp_path)
    with pytest.raises(DataError, match=f'{POINTS_FILE} does not exist'):
        make(init_from=tmp_path)
    first.points.save(tmp_path)
    with pytest.raises(ConfigurationError, match='hyperbolic_dim'):
        make(init_from=tmp_path, hyperbolic_dim=16)
    second = TextModule(backbone='tiny-random', hyperbolic_dim=8, init_from=tmp_path)
    others = SimpleNamespace(codes=first.points.codes[:-1])
    with pytest.raises(ConfigurationError, match='are of other codes than the relation index'):
        second.bind(others, stage)  # type: ignore[arg-type]


def test_parts_learn_at_rates_of_their_own_and_only_matrices_of_the_encoder_decay(
    make: MakeModule,
) -> None:
    module = make(
        learning_rate=0.01, head_rate=2.0, point_rate=3.0, offset_rate=4.0, weight_decay=0.5,
        fusion='moe', warmup_share=0.0,
    )  # fmt: skip
    with fitting():
        configured = module.configure_optimizers()
    optimizer, schedule = configured['optimizer'], configured['lr_scheduler']['scheduler']
    groups = {
        id(parameter): (group['initial_lr'], group['weight_decay'])
        for group in optimizer.param_groups
        for parameter in group['params']
    }
    of = {name: groups.pop(id(module.get_parameter(name))) for name in module.trainable_names()}
    assert not groups
    assert of['points.vectors'] == (pytest.approx(0.03), 0)
    assert of['points.offsets'] == (pytest.approx(0.04), 0)
    assert of['embedder.projection.linear.weight'] == (pytest.approx(0.02), 0.5)
    assert of['embedder.fusion.gate.bias'] == (pytest.approx(0.02), 0)
    assert of['log_temperature'] == (pytest.approx(0.02), 0)
    assert {rate for name, (rate, _) in of.items() if 'lora_' in name} == {0.01}
    # Down to nothing over the stage.
    optimizer.step()
    for _ in range(5):
        schedule.step()
    assert optimizer.param_groups[0]['lr'] == pytest.approx(0.005)


def test_a_checkpoint_has_what_is_trained_and_the_state_of_the_curriculum(
    make: MakeModule,
) -> None:
    module = make()
    names = module.trainable_names()
    assert {'log_temperature', 'points.vectors', 'points.offsets'} < names
    assert not any('word_embeddings' in name for name in names)
    module.clock.observe(0.5, 1.0)
    module.clock.observe(0.6, 2.0)
    checkpoint = {'state_dict': module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    carried = {f'weighing.{name}' for name in ('labels', 'clustered', 'gates', 'routed')}
    assert set(checkpoint['state_dict']) == names | carried
    twin = make()
    twin.on_load_checkpoint(checkpoint)
    assert twin.clock.ends == module.clock.ends == (0.6, math.inf)


def test_the_temperatures_stay_in_their_range(make: MakeModule) -> None:
    module = make(temperature=0.5)
    assert module.temperature.item() == pytest.approx(0.5)
    assert module.item_temperature.item() == pytest.approx(0.5)
    for value, bound in ((-50.0, 0.01), (50.0, 5.0)):
        with torch.no_grad():
            module.log_temperature.fill_(value)
            module.log_item_temperature.fill_(value)
        assert module.temperature.item() == pytest.approx(bound)
        assert module.item_temperature.item() == pytest.approx(bound)


def test_gate_entropy_is_1_at_even_use_and_0_at_collapse() -> None:
    assert gate_entropy(torch.full((5, 4), 0.25)).item() == pytest.approx(1.0)
    assert gate_entropy(torch.eye(4)).item() == pytest.approx(1.0)
    collapsed = torch.zeros(5, 4)
    collapsed[:, 2] = 1
    assert gate_entropy(collapsed).item() == 0.0
    halves = torch.tensor([[0.5, 0.5, 0.0, 0.0]])
    assert gate_entropy(halves).item() == pytest.approx(math.log(2) / math.log(4))


def test_the_least_used_expert_is_1_at_even_use_and_0_when_one_is_never_chosen() -> None:
    assert least_use(torch.eye(4), top_k=1).item() == 1.0
    never = torch.tensor([[0.5, 0.4, 0.1], [0.4, 0.5, 0.1]])
    assert least_use(never, top_k=2).item() == 0.0
    uneven = torch.tensor([[0.5, 0.4, 0.1], [0.5, 0.1, 0.4], [0.5, 0.4, 0.1]])
    # 3, 2 and 1 of 6 assignments.
    assert least_use(uneven, top_k=2).item() == pytest.approx(0.5)
