"""Routing and projection on small tensors."""

from __future__ import annotations

import pytest
import torch

from naics_model.encoder.moe import (
    LinearFusion,
    MeanFusion,
    MixtureOfExperts,
    assignment_counts,
)
from naics_model.encoder.projection import HyperbolicProjection
from naics_model.geometry import lorentz


def test_mixture_equals_a_loop_over_the_chosen_experts() -> None:
    torch.manual_seed(0)
    mixture = MixtureOfExperts(channels=3, width=4, experts=4, top_k=2)
    torch.nn.init.normal_(mixture.gate.weight)
    x = torch.randn(9, 12)
    fused = mixture(x)
    assert fused.gate_probabilities is not None
    for row in range(9):
        logits = mixture.gate(x[row])
        first, second = logits.argsort(descending=True)[:2].tolist()
        weight = torch.sigmoid(logits[first] - logits[second])
        mean = (x[row, :4] + x[row, 4:8] + x[row, 8:]) / 3
        said = [mixture.experts[chosen](x[row]) for chosen in (first, second)]
        expected = mean + weight * said[0] + (1 - weight) * said[1]
        torch.testing.assert_close(fused.vectors[row], expected)
        torch.testing.assert_close(fused.gate_probabilities[row], logits.softmax(dim=0))


def test_routing_starts_near_uniform_and_the_gate_learns() -> None:
    torch.manual_seed(1)
    mixture = MixtureOfExperts(channels=4, width=12, experts=4, top_k=2)
    fused = mixture(torch.randn(200, 48))
    assert fused.gate_probabilities is not None
    assert (fused.gate_probabilities - 0.25).abs().max() < 0.05
    fused.vectors.square().sum().backward()
    assert mixture.gate.weight.grad is not None
    assert (mixture.gate.weight.grad.abs().sum(dim=1) > 0).all()


def test_assignment_counts_count_every_choice() -> None:
    probabilities = torch.tensor([[0.6, 0.3, 0.1], [0.5, 0.1, 0.4], [0.2, 0.5, 0.3]])
    assert assignment_counts(probabilities, 2).tolist() == [2, 2, 2]
    assert assignment_counts(probabilities, 1).tolist() == [2, 1, 0]


def test_both_fusions_start_from_the_mean_of_the_channels() -> None:
    torch.manual_seed(3)
    channels = torch.randn(50, 4, 16)
    mean = channels.mean(dim=1)
    flat = channels.flatten(start_dim=1)
    torch.testing.assert_close(LinearFusion(4, 16)(flat).vectors, mean)
    corrected = MixtureOfExperts(4, 16, experts=4, top_k=2)(flat).vectors
    assert (corrected - mean).norm() < 0.2 * mean.norm()


def test_linear_fusion_has_no_gate() -> None:
    fused = LinearFusion(2, 4)(torch.randn(5, 8))
    assert fused.vectors.shape == (5, 4)
    assert fused.gate_probabilities is None


def test_the_mean_of_one_channel_is_that_channel() -> None:
    x = torch.randn(5, 12)
    assert torch.equal(MeanFusion(1)(x).vectors, x)
    fused = MeanFusion(3)(x)
    torch.testing.assert_close(fused.vectors, (x[:, :4] + x[:, 4:8] + x[:, 8:]) / 3)
    assert fused.gate_probabilities is None
    assert not list(MeanFusion(3).parameters())


def units(count: int, width: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(count, width), dim=1)


@pytest.mark.parametrize('dimension', [16, 64, 128])
@pytest.mark.parametrize('curvature', [0.0, 0.5, 1.0, 2.0])
def test_radii_start_near_the_start_radius(dimension: int, curvature: float) -> None:
    torch.manual_seed(2)
    projection = HyperbolicProjection(384, dimension, 6.0, curvature, start_radius=2.0)
    radii = lorentz.radius(projection(units(500, 384)), curvature)
    assert radii.min() > 0.7
    assert radii.max() < 3.3
    assert 1.7 < radii.mean() < 2.2


def test_the_mean_squared_radius_starts_where_it_is_meant_to() -> None:
    # Over many projections: one alone is off by what its own weights happen to be.
    torch.manual_seed(5)
    squares = [
        # As good as unclipped: what is asked of is the start before the clip.
        HyperbolicProjection(64, 32, 1000.0, 1.0, 1.5)(units(50, 64)).square().sum(dim=1)
        for _ in range(100)
    ]
    assert torch.stack(squares).mean().item() == pytest.approx(1.5**2, rel=0.03)


def test_an_offset_is_added_before_the_clip() -> None:
    projection = HyperbolicProjection(16, 8, 3.0, 1.0)
    x, offset = units(5, 16), torch.randn(5, 8)
    expected = lorentz.soft_clip(projection.linear(x) + offset, 3.0, 1.0)
    torch.testing.assert_close(projection(x, offset), expected)
    assert not torch.allclose(projection(x), expected)


@pytest.mark.parametrize('curvature', [0.0, 1.0])
def test_projection_never_leaves_the_clip(curvature: float) -> None:
    projection = HyperbolicProjection(16, 8, max_radius=3.0, curvature=curvature)
    with torch.no_grad():
        projection.linear.weight.mul_(100)
    radii = lorentz.radius(projection(torch.randn(50, 16)), curvature)
    assert radii.max() <= 3.0 + 1e-5
    assert radii.min() > 2.5


def test_projection_is_float32_under_autocast() -> None:
    projection = HyperbolicProjection(16, 8, 6.0, 1.0)
    x = torch.randn(4, 16)
    with torch.autocast('cpu', torch.bfloat16):
        inside = projection(x)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, projection(x))


@pytest.mark.parametrize('curvature', [0.0, 1.0, 4.0])
def test_a_start_along_inputs_keeps_what_distinguishes_them(curvature: float) -> None:
    torch.manual_seed(7)
    # Forty inputs in a plane of 8 of 32 dimensions.
    x = torch.randn(40, 8) @ torch.randn(8, 32) + 5 * torch.randn(32)
    projection = HyperbolicProjection(32, 12, 1000.0, curvature, start_radius=1.5)
    projection.start_along(x)
    v = projection(x)
    radii = lorentz.radius(v, curvature)
    assert radii.square().mean().sqrt().item() == pytest.approx(1.5, rel=1e-3)
    assert (v.mean(dim=0)).norm() < 1e-3
    # Distances between the vectors are those between the inputs, up to one scale.
    before, after = torch.pdist(x), torch.pdist(v)
    ratio = after / before
    assert ratio.std() < 0.02 * ratio.mean()


def test_fewer_inputs_than_dimensions_leave_the_start_as_it_was() -> None:
    projection = HyperbolicProjection(32, 12, 6.0, 1.0)
    before = projection.linear.weight.clone()
    projection.start_along(torch.randn(5, 32))
    assert torch.equal(projection.linear.weight, before)
