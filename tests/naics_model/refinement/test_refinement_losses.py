"""The two losses of refinement, worked by hand, and the relations they are asked about."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from naics_model.losses.anchoring import anchoring
from naics_model.losses.triplet import adaptive_margin, hyperbolic_triplet
from naics_model.refinement.module import best_log_scale, draw_relations
from naics_model.taxonomy.distances import tree_distances
from naics_model.taxonomy.tree import Taxonomy

NINE = Taxonomy.from_codes(['11', '111', '1111', '11111', '111111', '111112', '112', '21', '211'])


def test_the_margin_falls_with_the_radius() -> None:
    margins = adaptive_margin(torch.tensor([0.0, math.acosh(2.0), 6.0]), 3.0)
    assert margins[:2].tolist() == pytest.approx([3.0, 1.5])
    assert 0 < margins[2].item() < 0.02


def test_in_flat_space_the_margin_is_the_same_everywhere() -> None:
    radius = torch.tensor([0.0, 2.0, 6.0])
    assert adaptive_margin(radius, 3.0, 0.0).tolist() == [3.0, 3.0, 3.0]
    loss = hyperbolic_triplet(
        torch.tensor([2.0, 1.0]), torch.tensor([2.5, 9.0]), torch.tensor([6.0, 6.0]), 1.0, 0.0
    )
    assert loss.item() == pytest.approx(0.25)


def test_a_triplet_costs_what_the_negative_lacks() -> None:
    # At the origin the margin is m0 = 1: 2 + 1 - 2.5 = 0.5; and 1 + 1 - 9 is no cost.
    loss = hyperbolic_triplet(
        torch.tensor([2.0, 1.0]), torch.tensor([2.5, 9.0]), torch.zeros(2), margin=1.0
    )
    assert loss.item() == pytest.approx(0.25)


def test_anchoring_is_the_mean_squared_distance() -> None:
    text = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    assert anchoring(text, text).item() == 0.0
    # Along a ray through the origin, hyperbolic distance is the difference of lengths.
    refined = torch.tensor([[3.0, 0.0], [2.0, 0.0]])
    assert anchoring(refined, text).item() == pytest.approx((9 + 1) / 2, rel=1e-5)
    # In flat space that holds off a ray, too: (3, 4) is 5 from the origin.
    moved = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    assert anchoring(moved, text, 0.0).item() == pytest.approx(25 / 2)


def test_the_farther_relative_is_farther() -> None:
    tree = torch.from_numpy(tree_distances(NINE))
    generator = torch.Generator().manual_seed(0)
    pairs = set()
    for _ in range(50):
        anchor, positive, negative = draw_relations(tree, generator)
        assert (tree[anchor, positive] < tree[anchor, negative]).all()
        assert (anchor != positive).all()
        pairs |= set(zip(anchor.tolist(), tree[anchor, positive].tolist(), strict=True))
    # Every distance but an anchor's largest comes up as the nearer one.
    expected = {
        (a, int(d)) for a in range(9) for d in np.unique(tree[a]) if 0 < d < tree[a].max().item()
    }
    assert pairs == expected


def test_a_code_with_all_others_equally_far_is_left_out() -> None:
    tree = torch.tensor([[0, 2, 2], [2, 0, 4], [2, 4, 0]])
    anchor, _, _ = draw_relations(tree, torch.Generator().manual_seed(0))
    assert anchor.tolist() == [1, 2]


def test_the_start_scale_is_the_best_one() -> None:
    generator = torch.Generator().manual_seed(3)
    distances = torch.rand(6, 6, generator=generator) + 0.5
    tree = torch.randint(1, 10, (6, 6), generator=generator).fill_diagonal_(0)
    best = best_log_scale(distances, tree).item()

    def loss(log_scale: float) -> float:
        error = math.exp(log_scale) * distances / tree.clamp_min(1) - 1
        return error.square()[tree > 0].mean().item()

    assert loss(best) < min(loss(best - 0.01), loss(best + 0.01))
