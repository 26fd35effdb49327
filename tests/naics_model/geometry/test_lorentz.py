"""Each formula against an independent truth: mpmath, geoopt, a direct minimisation, or a law."""

from __future__ import annotations

import math

import geoopt
import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from torch import Tensor

from naics_model.errors import ConfigurationError
from naics_model.geometry import lorentz

RADII = (0.1, 1.0, 3.0, 6.0)


def pairs_at(
    radius: float, separation: float, count: int = 50, dim: int = 64
) -> tuple[Tensor, Tensor]:
    """Float32 pairs at one radius, `separation` apart (nearly: rounding moves them)."""
    generator = torch.Generator().manual_seed(int(radius * 10) + 1)
    u = torch.randn(count, dim, generator=generator, dtype=torch.float64)
    u = u / u.norm(dim=1, keepdim=True)
    w = torch.randn(count, dim, generator=generator, dtype=torch.float64)
    w = w - (w * u).sum(1, keepdim=True) * u
    w = w / w.norm(dim=1, keepdim=True)
    angle = 2 * math.asin(min(1.0, math.sinh(separation / 2) / math.sinh(radius)))
    return (radius * u).float(), (radius * (math.cos(angle) * u + math.sin(angle) * w)).float()


def true_distance(u: Tensor, v: Tensor, curvature: float = 1.0) -> float:
    """The textbook formula, arcosh(-c<x, y>)/sqrt(c), in 50 digits."""
    with mpmath.workdps(50):
        root = mpmath.sqrt(mpmath.mpf(curvature))

        def lift(t: Tensor) -> list[mpmath.mpf]:
            values = [root * mpmath.mpf(x) for x in t.double().tolist()]
            r = mpmath.sqrt(mpmath.fsum(x * x for x in values))
            scale = mpmath.sinh(r) / r if r else mpmath.mpf(1)
            return [mpmath.cosh(r), *(scale * x for x in values)]

        x, y = lift(u), lift(v)
        inner = x[0] * y[0] - mpmath.fsum(a * b for a, b in zip(x[1:], y[1:], strict=True))
        return float(mpmath.acosh(max(inner, mpmath.mpf(1))) / root)


@pytest.mark.parametrize('radius', RADII)
@pytest.mark.parametrize('separation', [0.01, 0.15])
def test_float32_distance_is_precise_at_every_radius(radius: float, separation: float) -> None:
    u, v = pairs_at(radius, separation)
    truth = torch.tensor([true_distance(a, b) for a, b in zip(u, v, strict=True)])
    # Directions of float32 vectors are spaced 6e-8 apart, which sinh(r) turns into distance.
    tolerance = 1e-6 + 3e-7 * math.sinh(radius)
    assert (lorentz.distance(u, v) - truth).abs().max() < tolerance
    assert (lorentz.pairwise_distance(u, v).diagonal() - truth).abs().max() < 1e-6


@pytest.mark.parametrize('radius', [1.0, 3.0, 6.0])
def test_radial_differences_keep_their_digits(radius: float) -> None:
    u, _ = pairs_at(radius, 0.1, count=20)
    v = (u * (radius - 0.5) / radius).float()
    truth = torch.tensor([true_distance(a, b) for a, b in zip(u, v, strict=True)])
    assert (lorentz.distance(u, v) - truth).abs().max() < 5e-6
    assert (lorentz.pairwise_distance(u, v).diagonal() - truth).abs().max() < 1e-6


def test_paired_distance_still_holds_at_radius_12() -> None:
    u, v = pairs_at(12.0, 1.0)
    truth = torch.tensor([true_distance(a, b) for a, b in zip(u, v, strict=True)])
    assert (lorentz.distance(u, v) - truth).abs().median() < 1e-3


@pytest.mark.parametrize('curvature', [0.3, 1.0, 4.0])
def test_maps_and_distances_agree_with_geoopt_in_float64(curvature: float) -> None:
    # geoopt's k is the squared radius of curvature, 1/c.
    oracle = geoopt.Lorentz(k=torch.tensor(1 / curvature, dtype=torch.float64))
    generator = torch.Generator().manual_seed(1)
    u = torch.randn(20, 5, generator=generator, dtype=torch.float64)
    v = torch.randn(20, 5, generator=generator, dtype=torch.float64)
    zero = torch.zeros(20, 1, dtype=torch.float64)
    x = oracle.expmap0(torch.cat([zero, u], dim=1))
    y = oracle.expmap0(torch.cat([zero, v], dim=1))

    torch.testing.assert_close(lorentz.exp_map_origin(u, curvature), x)
    torch.testing.assert_close(lorentz.log_map_origin(x, curvature), u)
    torch.testing.assert_close(lorentz.distance(u, v, curvature), oracle.dist(x, y))
    torch.testing.assert_close(
        lorentz.pairwise_distance(u, v, curvature), oracle.dist(x[:, None], y[None])
    )
    torch.testing.assert_close(lorentz.lorentz_inner(x, y), oracle.inner(None, x, y))


def test_known_values_in_two_dimensions() -> None:
    # On one ray distances are differences of radii; a right angle obeys cosh d = cosh a cosh b.
    u = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    v = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
    expected = torch.tensor([2.0, math.acosh(math.cosh(1) * math.cosh(2))])
    torch.testing.assert_close(lorentz.distance(u, v), expected)
    torch.testing.assert_close(lorentz.pairwise_distance(u, v).diagonal(), expected)


@pytest.mark.parametrize('curvature', [0.25, 2.0])
def test_scaling_law_in_curvature(curvature: float) -> None:
    generator = torch.Generator().manual_seed(2)
    u = torch.randn(10, 8, generator=generator)
    v = torch.randn(10, 8, generator=generator)
    root = math.sqrt(curvature)
    torch.testing.assert_close(
        lorentz.distance(u, v, curvature), lorentz.distance(root * u, root * v) / root
    )
    torch.testing.assert_close(
        lorentz.pairwise_distance(u, v, curvature),
        lorentz.pairwise_distance(root * u, root * v) / root,
    )
    # The distance from the origin is the length of the tangent vector, at every curvature.
    origin = torch.zeros_like(u)
    torch.testing.assert_close(lorentz.distance(origin, u, curvature), u.norm(dim=1))
    torch.testing.assert_close(lorentz.radius(u, curvature), root * u.norm(dim=1))


@pytest.mark.parametrize('radius', [0.0, 1e-4, *RADII])
def test_a_point_is_at_distance_zero_from_itself_with_finite_gradients(radius: float) -> None:
    generator = torch.Generator().manual_seed(3)
    v = torch.randn(40, 64, generator=generator)
    v = v / v.norm(dim=1, keepdim=True) * radius
    v = torch.cat([v, v[:5]]).requires_grad_()  # five duplicated rows

    paired = lorentz.distance(v, v.detach().clone())
    matrix = lorentz.pairwise_distance(v, v)
    assert torch.equal(paired, torch.zeros(45))
    assert torch.equal(matrix.diagonal(), torch.zeros(45))
    assert torch.equal(matrix[:5, 40:].diagonal(), torch.zeros(5))
    for distances in (paired, matrix):
        (gradient,) = torch.autograd.grad(distances.sum(), v)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize('curvature', [0.7, 1.0])
def test_gradients_near_and_at_the_origin(curvature: float) -> None:
    generator = torch.Generator().manual_seed(4)
    u = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    u[0] = 0.0
    u[1] *= 1e-5
    u[2] *= 1e-3
    v = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    v[3] *= 1e-4
    u.requires_grad_()
    v.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: lorentz.distance(a, b, curvature), (u, v))
    assert torch.autograd.gradcheck(lambda a, b: lorentz.pairwise_distance(a, b, curvature), (u, v))
    assert torch.autograd.gradcheck(
        lambda a: lorentz.log_map_origin(
            lorentz.exp_map_origin(lorentz.soft_clip(a, 3.0, curvature), curvature), curvature
        ),
        (u,),
    )


def test_curvature_itself_gets_the_right_gradient() -> None:
    generator = torch.Generator().manual_seed(5)
    u = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    v = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    curvature = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    for function in (
        lambda c: lorentz.distance(u, v, c),
        lambda c: lorentz.pairwise_distance(u, v, c),
        lambda c: lorentz.exp_map_origin(u, c),
        lambda c: lorentz.soft_clip(u, 2.0, c),
        lambda c: lorentz.centroid(lorentz.exp_map_origin(u, c), None, c),
    ):
        assert torch.autograd.gradcheck(function, (curvature,))


vectors = st.lists(st.floats(-3.0, 3.0, width=32), min_size=3, max_size=3)


@settings(max_examples=200, deadline=None)
@given(a=vectors, b=vectors, c=vectors, curvature=st.floats(0.2, 3.0))
def test_distance_is_a_metric(
    a: list[float], b: list[float], c: list[float], curvature: float
) -> None:
    x, y, z = (torch.tensor(t, dtype=torch.float64) for t in (a, b, c))
    xy, yz, xz = (lorentz.distance(p, q, curvature).item() for p, q in ((x, y), (y, z), (x, z)))
    assert xy >= 0
    assert xz <= xy + yz + 1e-6
    assert lorentz.distance(y, x, curvature).item() == pytest.approx(xy, abs=1e-9)
    points = torch.stack([x, y, z])
    matrix = lorentz.pairwise_distance(points, points, curvature)
    # The product in float64 knows distances at radius 9 to about 1e-4 where they are near 0.
    assert matrix[0, 1].item() == pytest.approx(xy, abs=1e-3)
    assert torch.isfinite(matrix).all()


@settings(max_examples=200, deadline=None)
@given(v=vectors, curvature=st.floats(0.2, 3.0))
def test_exponential_and_logarithm_are_inverse(v: list[float], curvature: float) -> None:
    tangent = torch.tensor(v, dtype=torch.float64)
    point = lorentz.exp_map_origin(tangent, curvature)
    torch.testing.assert_close(
        lorentz.log_map_origin(point, curvature), tangent, rtol=1e-9, atol=1e-12
    )
    on_hyperboloid = lorentz.lorentz_inner(point, point).item()
    assert on_hyperboloid == pytest.approx(-1 / curvature, abs=1e-8 * float(point[0]) ** 2 + 1e-9)


def test_float32_round_trip_holds_to_the_clip() -> None:
    for radius in (*RADII, 1e-6):
        u, _ = pairs_at(radius, 0.1 * min(radius, 1.0), count=10)
        back = lorentz.log_map_origin(lorentz.exp_map_origin(u))
        torch.testing.assert_close(back, u, rtol=1e-5, atol=1e-6 * radius)


@settings(max_examples=100, deadline=None)
@given(v=vectors, limit=st.floats(0.5, 6.0), curvature=st.floats(0.2, 3.0))
def test_soft_clip_bounds_the_radius_and_keeps_the_direction(
    v: list[float], limit: float, curvature: float
) -> None:
    tangent = torch.tensor(v, dtype=torch.float64)
    clipped = lorentz.soft_clip(tangent, limit, curvature)
    r = lorentz.radius(tangent, curvature).item()
    assert lorentz.radius(clipped, curvature).item() == pytest.approx(limit * math.tanh(r / limit))
    torch.testing.assert_close(clipped * tangent.norm(), tangent * clipped.norm())


def test_autocast_and_bfloat16_do_not_narrow_the_geometry() -> None:
    u, v = pairs_at(4.0, 0.5, count=8)
    with torch.autocast('cpu', torch.bfloat16):
        for result in (lorentz.distance(u, v), lorentz.pairwise_distance(u, v).diagonal()):
            assert result.dtype == torch.float32
            torch.testing.assert_close(result, torch.full((8,), 0.5), rtol=0, atol=1e-4)
    assert lorentz.distance(u.bfloat16(), v.bfloat16()).dtype == torch.float32
    assert lorentz.soft_clip(u.bfloat16()).dtype == torch.float32


def frechet_mean(tangents: Tensor, weights: Tensor) -> Tensor:
    """Minimise the weighted sum of squared distances directly, from the origin."""
    mean = torch.zeros(1, tangents.shape[1], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([mean], max_iter=200, line_search_fn='strong_wolfe')

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = spread(mean, tangents, weights)
        value.backward()
        return value

    optimiser.step(loss)
    return mean.detach()


def spread(mean: Tensor, tangents: Tensor, weights: Tensor) -> Tensor:
    return (weights * lorentz.distance(mean, tangents).square()).sum()


def test_centroid_is_near_the_frechet_mean_where_the_tangent_mean_is_not() -> None:
    # A family of a tree: points around a place that is off the origin.
    generator = torch.Generator().manual_seed(6)
    base = torch.tensor([1.5, 0.0, 0.0, 0.0], dtype=torch.float64)
    tangents = base + 0.4 * torch.randn(12, 4, generator=generator, dtype=torch.float64)
    weights = torch.rand(12, generator=generator, dtype=torch.float64)
    points = lorentz.exp_map_origin(tangents)
    centroid = lorentz.log_map_origin(lorentz.centroid(points, weights))[None]

    best = spread(frechet_mean(tangents, weights), tangents, weights)
    naive = (weights[:, None] * tangents).sum(0, keepdim=True) / weights.sum()
    assert spread(centroid, tangents, weights) / best < 1.01
    assert spread(centroid, tangents, weights) < spread(naive, tangents, weights)


def test_centroid_of_a_symmetric_pair_is_its_middle_and_of_one_point_the_point() -> None:
    ends = torch.tensor([[2.0, 0.0], [-1.0, 0.0]])
    middle = lorentz.centroid(lorentz.exp_map_origin(ends))
    torch.testing.assert_close(lorentz.log_map_origin(middle), torch.tensor([0.5, 0.0]))

    far = torch.tensor([[0.0, 6.0]])
    same = lorentz.centroid(lorentz.exp_map_origin(far, 0.5), torch.tensor([3.0]), 0.5)
    torch.testing.assert_close(lorentz.log_map_origin(same, 0.5), far[0], rtol=1e-5, atol=1e-5)


def test_centroids_are_computed_for_every_leading_dimension() -> None:
    generator = torch.Generator().manual_seed(7)
    points = lorentz.exp_map_origin(torch.randn(3, 5, 4, generator=generator))
    together = lorentz.centroid(points, torch.ones(3, 5))
    apart = torch.stack([lorentz.centroid(group) for group in points])
    torch.testing.assert_close(together, apart)
    torch.testing.assert_close(lorentz.lorentz_inner(together, together), -torch.ones(3))


def test_float32_centroids_stay_on_the_hyperboloid_far_out() -> None:
    u, v = pairs_at(6.0, 0.5)
    family = torch.cat([u[:1] + 0.02 * (u - u[:1]), v[:1]])
    truth = lorentz.centroid(lorentz.exp_map_origin(family.double()))
    narrow = lorentz.centroid(lorentz.exp_map_origin(family))
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(
        lorentz.log_map_origin(narrow), lorentz.log_map_origin(truth).float(), rtol=0, atol=1e-5
    )


# --- the flat limit, c = 0 ---


@settings(max_examples=200, deadline=None)
@given(a=vectors, b=vectors, power=st.integers(2, 6))
def test_distance_tends_to_the_euclidean_one(a: list[float], b: list[float], power: int) -> None:
    u, v = (torch.tensor([t], dtype=torch.float64) for t in (a, b))
    curvature = 10.0**-power
    flat = cdist(u, v).item()
    # The next term of the distance is of order c times a length cubed; lengths are below 6 here.
    allowed = 36 * flat * curvature + 1e-9
    assert lorentz.distance(u, v, curvature).item() == pytest.approx(flat, abs=allowed)
    # A product knows 1 + z to 16 digits, and z here only to what is left of them.
    assert lorentz.pairwise_distance(u, v, curvature).item() == pytest.approx(
        flat, abs=allowed + 1e-4
    )
    assert lorentz.distance(u, v, 0.0).item() == pytest.approx(flat, abs=1e-12)


def test_flat_distances_are_those_of_scipy() -> None:
    generator = torch.Generator().manual_seed(8)
    u, v = 3 * torch.randn(30, 64, generator=generator), torch.randn(20, 64, generator=generator)
    oracle = torch.from_numpy(cdist(u, v)).float()
    torch.testing.assert_close(lorentz.pairwise_distance(u, v, 0.0), oracle)
    torch.testing.assert_close(lorentz.distance(u[:, None], v[None], 0.0), oracle)
    assert lorentz.pairwise_distance(u.bfloat16(), v, 0.0).dtype == torch.float32


@pytest.mark.parametrize('radius', [0.0, 1e-6, 1.0, 6.0])
def test_flat_gradients_are_finite_at_coincident_points(radius: float) -> None:
    v = torch.randn(40, 64, generator=torch.Generator().manual_seed(3))
    v = v / v.norm(dim=1, keepdim=True) * radius
    v = torch.cat([v, v[:5]]).requires_grad_()
    paired = lorentz.distance(v, v.detach().clone(), 0.0)
    matrix = lorentz.pairwise_distance(v, v, 0.0)
    assert torch.equal(paired, torch.zeros(45))
    assert torch.equal(matrix.diagonal(), torch.zeros(45))
    assert torch.equal(matrix[:5, 40:].diagonal(), torch.zeros(5))
    for distances in (paired, matrix, lorentz.radius(v, 0.0)):
        (gradient,) = torch.autograd.grad(distances.sum(), v)
        assert torch.isfinite(gradient).all()


def test_flat_gradients_are_right() -> None:
    generator = torch.Generator().manual_seed(4)
    u = torch.randn(6, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    v = torch.randn(6, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: lorentz.distance(a, b, 0.0), (u, v))
    assert torch.autograd.gradcheck(lambda a, b: lorentz.pairwise_distance(a, b, 0.0), (u, v))
    assert torch.autograd.gradcheck(lambda a: lorentz.soft_clip(a, 3.0, 0.0), (u,))
    assert torch.autograd.gradcheck(lambda a: lorentz.tangent_centroid(a, None, 0.0), (u,))


def test_a_flat_space_counts_in_plain_lengths() -> None:
    v = torch.tensor([[3.0, 4.0]])
    for zero in (0.0, torch.tensor(0.0)):
        assert lorentz.unit_length(zero) == 1
        assert lorentz.radius(v, zero).item() == pytest.approx(5.0)
        clipped = lorentz.soft_clip(v, 6.0, zero)
        torch.testing.assert_close(clipped, v * 6 / 5 * math.tanh(5 / 6))
    assert lorentz.unit_length(4.0) == lorentz.unit_length(torch.tensor(4.0)) == 0.5


@settings(max_examples=100, deadline=None)
@given(
    points=st.lists(vectors, min_size=4, max_size=4),
    weights=st.lists(st.floats(0.1, 5.0), min_size=4, max_size=4),
)
def test_centroids_tend_to_the_arithmetic_mean(
    points: list[list[float]], weights: list[float]
) -> None:
    v, w = torch.tensor(points, dtype=torch.float64), torch.tensor(weights, dtype=torch.float64)
    mean = (w[:, None] * v).sum(0) / w.sum()
    torch.testing.assert_close(lorentz.tangent_centroid(v, w, 0.0), mean)
    near = lorentz.tangent_centroid(v, w, 1e-6)
    torch.testing.assert_close(near, mean, rtol=0, atol=1e-3)


@pytest.mark.parametrize('curvature', [0.5, 1.0])
def test_both_forms_of_the_centroid_are_one_point(curvature: float) -> None:
    v = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    w = torch.rand(3, 5, generator=torch.Generator().manual_seed(10), dtype=torch.float64)
    points = lorentz.exp_map_origin(v, curvature)
    # The sum of the points themselves, scaled to <x, x> = -1/c.
    total = (points * w.unsqueeze(-1)).sum(1)
    expected = total / (-curvature * lorentz.lorentz_inner(total, total)).sqrt().unsqueeze(-1)
    torch.testing.assert_close(lorentz.centroid(points, w, curvature), expected)
    tangent = lorentz.tangent_centroid(v, w, curvature)
    torch.testing.assert_close(lorentz.exp_map_origin(tangent, curvature), expected)


@pytest.mark.parametrize('curvature', [0.0, 0.3, 1.0])
def test_homogeneous_coordinates_lead_back_whatever_their_multiple(curvature: float) -> None:
    v = torch.randn(6, 4, generator=torch.Generator().manual_seed(11), dtype=torch.float64)
    v[0] = 0
    x = lorentz.homogeneous(v, curvature)
    torch.testing.assert_close(lorentz.from_homogeneous(7 * x, curvature), v)
    if curvature == 0:
        torch.testing.assert_close(x, torch.cat([torch.ones(6, 1), v], dim=1))


def test_a_flat_space_has_no_hyperboloid() -> None:
    v = torch.ones(2, 3)
    for function in (lorentz.exp_map_origin, lorentz.log_map_origin):
        for zero in (0.0, torch.tensor(0.0)):
            with pytest.raises(ConfigurationError, match='has no hyperboloid'):
                function(v, zero)
    with pytest.raises(ConfigurationError, match='has no hyperboloid'):
        lorentz.centroid(v, None, 0.0)
