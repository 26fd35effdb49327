"""Clusters that were planted are found, and rounds are those of a plain Lloyd's algorithm."""

from __future__ import annotations

import itertools

import pytest
import torch
from geoopt.manifolds import Lorentz
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from naics_model.geometry.kmeans import _refill, costs, kmeans
from naics_model.geometry.lorentz import exp_map_origin, homogeneous, pairwise_distance


def seeded(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def planted(radius: float, clusters: int, each: int, spread: float) -> tuple[Tensor, Tensor]:
    """Points around directions that are far apart, all at one radius: (n, 8), labels (n,)."""
    directions = torch.eye(8)[:clusters]
    noise = spread * torch.randn(clusters * each, 8, generator=seeded(1))
    labels = torch.arange(clusters).repeat_interleave(each)
    return radius * directions[labels] + noise, labels


@pytest.mark.parametrize('curvature', [0.0, 0.5, 1.0])
@pytest.mark.parametrize('radius', [0.5, 2.0, 4.0, 5.5])
def test_planted_clusters_are_found_at_every_radius(radius: float, curvature: float) -> None:
    points, labels = planted(radius, clusters=6, each=20, spread=0.02)
    found = kmeans(points, 6, curvature, generator=seeded(3)).labels
    together = found.unsqueeze(0) == found.unsqueeze(1)
    assert torch.equal(together, labels.unsqueeze(0) == labels.unsqueeze(1))


def lloyd(points: list[Tensor], centres: list[Tensor]) -> list[int]:
    """The plain algorithm: loops, geoopt's distances, and the sum scaled back to the space."""
    space = Lorentz(k=1.0)
    labels: list[int] = []
    for _ in range(100):
        now = [
            min(range(len(centres)), key=lambda k: float(space.dist(p, centres[k]))) for p in points
        ]
        if now == labels:
            break
        labels = now
        for k in range(len(centres)):
            total = torch.stack([p for p, at in zip(points, labels, strict=True) if at == k]).sum(0)
            norm = (total[0] ** 2 - (total[1:] ** 2).sum()).sqrt()
            centres[k] = total / norm
    return labels


@pytest.mark.parametrize('seed', range(4))
def test_it_ends_where_a_plain_lloyd_s_ends(seed: int) -> None:
    v = 1.5 * torch.randn(60, 5, generator=seeded(seed), dtype=torch.float64)
    found = kmeans(v, 5, generator=seeded(seed))
    # From the places that it ended at, the plain algorithm finds nothing to change.
    points = list(exp_map_origin(v))
    assert lloyd(points, list(exp_map_origin(found.centres))) == found.labels.tolist()
    # And from its start, the same end.
    start = kmeans(v, 5, generator=seeded(seed), rounds=1)
    first = [exp_map_origin(v[start.labels == k]) for k in range(5)]
    sums = [rows.sum(0) for rows in first]
    centres = [s / (s[0] ** 2 - (s[1:] ** 2).sum()).sqrt() for s in sums]
    assert lloyd(points, centres) == found.labels.tolist()


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 999),
    clusters=st.integers(1, 30),
    curvature=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_more_rounds_never_cost_more_and_no_cluster_is_empty(
    seed: int, clusters: int, curvature: float
) -> None:
    v = 2 * torch.randn(40, 3, generator=seeded(seed))
    runs = [
        kmeans(v, clusters, curvature, generator=seeded(seed), rounds=rounds)
        for rounds in (1, 2, 4, 100)
    ]
    for earlier, later in itertools.pairwise(runs):
        assert later.cost <= earlier.cost * (1 + 1e-9) + 1e-9
    sizes = torch.bincount(runs[-1].labels, minlength=clusters)
    assert len(sizes) == clusters
    assert (sizes > 0).all()


def test_the_cost_is_the_squared_distance_where_points_are_near_and_orders_like_it() -> None:
    v = torch.randn(10, 4, generator=seeded(0), dtype=torch.float64)
    for curvature in (0.0, 0.7, 1.0):
        near = homogeneous(1e-3 * v, curvature)
        d = pairwise_distance(1e-3 * v, 1e-3 * v, curvature)
        torch.testing.assert_close(costs(near, near, curvature), d.square(), rtol=1e-3, atol=1e-12)
        far = homogeneous(2 * v, curvature)
        order = costs(far, far, curvature).argsort(dim=1)
        assert torch.equal(order, pairwise_distance(2 * v, 2 * v, curvature).argsort(dim=1))


def test_copies_of_a_point_are_one_cluster() -> None:
    v = torch.randn(3, 4, generator=seeded(0)).repeat_interleave(5, dim=0)
    found = kmeans(v, 10, generator=seeded(0))
    assert len(found.centres) == 3
    assert found.cost == pytest.approx(0, abs=1e-9)
    assert found.labels.reshape(3, 5).unique(dim=1).shape == (3, 1)


def test_an_empty_cluster_gets_the_dearest_point_of_one_that_has_others() -> None:
    labels = torch.tensor([0, 0, 0, 2])
    # The dearest is alone in its cluster, and stays.
    assert _refill(labels, torch.tensor([1.0, 3.0, 2.0, 9.0]), 3).tolist() == [0, 1, 0, 2]
    assert _refill(labels, torch.tensor([1.0, 3.0, 2.0, 9.0]), 4).tolist() == [0, 1, 3, 2]
    assert labels.tolist() == [0, 0, 0, 2]


def test_equal_seeds_give_equal_clusters_and_others_differ() -> None:
    v = torch.randn(50, 3, generator=seeded(0))
    first, again = (kmeans(v, 7, generator=seeded(5)).labels for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, kmeans(v, 7, generator=seeded(6)).labels)
