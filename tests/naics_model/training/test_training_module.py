"""The module on a tiny random backbone: losses, temperature, gradients, and learning."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch

from naics_model.curriculum.sadc import NOT_YET, NegativeSettings
from naics_model.curriculum.stage import Stage
from naics_model.encoder.moe import gate_entropy, least_use
from naics_model.errors import ConfigurationError
from naics_model.geometry.lorentz import distance
from naics_model.losses.contrastive import dcl, info_nce
from naics_model.training.activities import read_activities
from naics_model.training.data import DataSettings, StepBatch, TripletDataModule
from naics_model.training.module import TripletModule
from naics_model.training.weights import LossWeights


@pytest.fixture
def batch(edition: Any, stage: Stage, data_settings: DataSettings) -> StepBatch:
    activities = read_activities(edition.activities, edition.index.codes, 'tiny-random')
    data = TripletDataModule(
        edition.index, edition.cache, stage, data_settings, seed=1, activities=activities
    )
    step: StepBatch = next(iter(data.val_dataloader()))
    return step


def module(**options: Any) -> TripletModule:
    torch.manual_seed(0)
    return TripletModule(backbone='tiny-random', hyperbolic_dim=8, lora_dropout=0.0, **options)


@pytest.mark.parametrize('curvature', [0.0, 1.0])
def test_the_contrast_is_that_of_each_item_by_itself(batch: StepBatch, curvature: float) -> None:
    model = module(curvature=curvature).eval()
    losses, output = model.losses(batch)
    v = output.tangent
    positive = distance(v[batch.anchor], v[batch.positive], curvature)
    negative = distance(v[batch.anchor].unsqueeze(1), v[batch.negatives], curvature)
    expected = info_nce(positive, negative, 0.5)
    assert losses['contrastive'].item() == pytest.approx(expected.item(), rel=1e-4)


def test_the_total_weighs_each_loss_and_a_weight_of_0_leaves_it_out(batch: StepBatch) -> None:
    weights = LossWeights(
        contrastive=2.0,
        activities=1.0,
        multi_level=0.3,
        lambda_rank=0.7,
        hierarchy_fit=2.0,
        radius_ladder=0.25,
        load_balance=0.5,
    )
    model = module(weights=weights).eval()
    losses, _ = model.losses(batch)
    # Attraction needs clusters, which the sampler's negatives do without.
    assert set(losses) == {field.name for field in dataclasses.fields(LossWeights)} - {'attraction'}
    expected = sum(getattr(weights, name) * value.item() for name, value in losses.items())
    assert model.total(losses).item() == pytest.approx(expected)
    for name in losses:
        alone = LossWeights(**{'attraction': 0.0, **{n: float(n == name) for n in losses}})
        found, _ = module(weights=alone).eval().losses(batch)
        assert set(found) == {name}
        assert found[name].item() == pytest.approx(losses[name].item(), rel=1e-5)


def test_queries_leave_out_their_own_code_s_cluster_where_that_is_asked_for(
    edition: Any, stage: Stage, batch: StepBatch
) -> None:
    model = module(
        negatives=NegativeSettings(strategy='sadc', in_queries=True, clusters=5),
        weights=LossWeights(contrastive=1.0, activities=1.0),
    )
    model.choose_negatives(edition.index, stage, edition.cache)
    model.remember_codes(len(edition.cache))
    dynamic, bank = model.dynamic, model.bank
    assert dynamic is not None
    assert bank is not None
    output = model.embedder(batch.tokens, len(batch.codes))

    def asked(progress: float) -> Any:
        # As it was before each: asking fills the bank.
        bank.known.fill_(True)
        bank.points.copy_(torch.linspace(-1, 1, bank.points.numel()).reshape(bank.points.shape))
        contrast = dynamic.contrast(batch, output, model.embedder, progress, 0)
        assert contrast is not None
        return contrast.clusters_of_queries, model.losses_of(batch, output, contrast)['activities']

    none, before = asked(0.5)
    assert none is None
    clusters, after = asked(0.9)
    assert torch.equal(clusters, dynamic.labels)
    # Fewer wrong answers.
    assert after < before
    # With every code a cluster of its own, none is left out.
    dynamic.labels.copy_(torch.arange(len(dynamic.labels)))
    assert asked(0.9)[1].item() == pytest.approx(before.item(), rel=1e-5)


def test_a_plateau_is_counted_by_losses_of_its_own_epoch(edition: Any, stage: Stage) -> None:
    model = module(negatives=NegativeSettings(strategy='sadc', phases='plateau'))
    model.choose_negatives(edition.index, stage, edition.cache)
    assert model.dynamic is not None
    trainer = SimpleNamespace(
        global_step=5, estimated_stepping_batches=10, callback_metrics={'val/loss': 2.0}
    )
    with (
        mock.patch.object(TripletModule, 'trainer', trainer),
        mock.patch.object(TripletModule, 'global_step', 5),
    ):
        model.on_validation_epoch_end()
        model.on_train_epoch_end()
        # An epoch without validation: the figure of the one before is still there.
        model.on_train_epoch_end()
        assert model.dynamic.clock.ends == NOT_YET
        model.on_validation_epoch_end()
        model.on_train_epoch_end()
    assert model.dynamic.clock.ends == (0.5, math.inf)


def test_attraction_without_a_weight_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r'weights\.attraction is 0'):
        module(
            negatives=NegativeSettings(false_negatives='hybrid'),
            weights=LossWeights(attraction=0.0),
        )


def test_dcl_and_the_margin_reach_the_contrast(batch: StepBatch) -> None:
    model = module(contrast='dcl', margin=2.0).eval()
    losses, output = model.losses(batch)
    v = output.tangent
    positive = distance(v[batch.anchor], v[batch.positive])
    positive = positive + 2.0 / torch.cosh(v[batch.anchor].norm(dim=-1))
    negative = distance(v[batch.anchor].unsqueeze(1), v[batch.negatives])
    expected = dcl(positive, negative, 0.5)
    assert losses['contrastive'].item() == pytest.approx(expected.item(), rel=1e-4)
    plain = module().eval().losses(batch)[0]['contrastive']
    assert losses['contrastive'].item() != pytest.approx(plain.item(), rel=1e-2)


def test_without_experts_there_is_no_balance_to_keep(batch: StepBatch) -> None:
    losses, _ = module(fusion='linear').eval().losses(batch)
    assert 'load_balance' not in losses


@pytest.mark.parametrize('curvature', [0.0, 1.0])
def test_every_trainable_weight_gets_a_gradient(batch: StepBatch, curvature: float) -> None:
    # As many experts as are chosen: another would rightly have none.
    weights = LossWeights(hierarchy_fit=1.0)
    model = module(weights=weights, experts=2, top_k=2, curvature=curvature).train()
    # LoRA starts at a product with a zero factor: only after a step can both factors have one.
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        model.total(model.losses(batch)[0]).backward()
        optimizer.step()
    still = {
        name
        for name in model.trainable_names()
        if (grad := model.get_parameter(name).grad) is None or not grad.abs().sum() > 0
    }
    assert still == set()
    assert sum('lora_' in name for name in model.trainable_names()) == 2 * 2 * 2 * 4


def test_under_bfloat16_points_and_distances_stay_float32_and_all_is_finite(
    batch: StepBatch,
) -> None:
    model = module(weights=LossWeights(hierarchy_fit=1.0)).train()
    with torch.autocast('cpu', torch.bfloat16):
        losses, output = model.losses(batch)
        loss = model.total(losses)
    assert output.tangent.dtype == torch.float32
    for name, value in losses.items():
        assert value.dtype == torch.float32, name
        assert torch.isfinite(value), name
    # Rounded to bfloat16, distances would be off in the third digit.
    v = output.tangent
    contrast = info_nce(
        distance(v[batch.anchor], v[batch.positive]),
        distance(v[batch.anchor].unsqueeze(1), v[batch.negatives]),
        model.temperature,
    )
    assert losses['contrastive'].item() == pytest.approx(contrast.item(), rel=1e-5)
    loss.backward()
    for name in model.trainable_names():
        gradient = model.get_parameter(name).grad
        assert gradient is not None, name
        assert torch.isfinite(gradient).all(), name


def test_frozen_weights_are_not_among_those_of_a_checkpoint() -> None:
    model = module()
    names = model.trainable_names()
    assert 'log_temperature' in names
    assert not any('word_embeddings' in name for name in names)
    state = {'state_dict': model.state_dict()}
    model.on_save_checkpoint(state)
    assert set(state['state_dict']) == names


def test_the_temperature_stays_in_its_range() -> None:
    model = module(temperature=0.5)
    assert model.temperature.item() == pytest.approx(0.5)
    assert model.query_temperature.item() == pytest.approx(0.1)
    for value, bound in ((-50.0, 0.05), (50.0, 5.0)):
        with torch.no_grad():
            model.log_temperature.fill_(value)
            model.log_query_temperature.fill_(value)
        assert model.temperature.item() == pytest.approx(bound)
        assert model.query_temperature.item() == pytest.approx(bound)


def test_gate_entropy_is_1_at_even_use_and_0_at_collapse() -> None:
    assert gate_entropy(torch.full((5, 4), 0.25)).item() == pytest.approx(1.0)
    assert gate_entropy(torch.eye(4)).item() == pytest.approx(1.0)
    collapsed = torch.zeros(5, 4)
    collapsed[:, 2] = 1
    assert gate_entropy(collapsed).item() == 0.0
    halves = torch.tensor([[0.5, 0.5, 0.0, 0.0]])
    assert gate_entropy(halves).item() == pytest.approx(math.log(2) / math.log(4))


def test_the_next_stage_starts_from_an_exported_model(tmp_path: Path, batch: StepBatch) -> None:
    first = module().eval()
    first.embedder.save_pretrained(tmp_path / 'model')
    torch.manual_seed(99)
    second = TripletModule(
        backbone='tiny-random', hyperbolic_dim=8, init_from=tmp_path / 'model'
    ).eval()
    torch.testing.assert_close(second.losses(batch)[1].tangent, first.losses(batch)[1].tangent)


def test_an_exported_model_of_other_settings_is_refused(tmp_path: Path) -> None:
    module().embedder.save_pretrained(tmp_path / 'model')
    with pytest.raises(ConfigurationError, match='hyperbolic_dim'):
        TripletModule(backbone='tiny-random', hyperbolic_dim=16, init_from=tmp_path / 'model')


def test_the_least_used_expert_is_1_at_even_use_and_0_when_one_is_never_chosen() -> None:
    assert least_use(torch.eye(4), top_k=1).item() == 1.0
    never = torch.tensor([[0.5, 0.4, 0.1], [0.4, 0.5, 0.1]])
    assert least_use(never, top_k=2).item() == 0.0
    uneven = torch.tensor([[0.5, 0.4, 0.1], [0.5, 0.1, 0.4], [0.5, 0.4, 0.1]])
    # 3, 2 and 1 of 6 assignments.
    assert least_use(uneven, top_k=2).item() == pytest.approx(0.5)
