"""LambdaRank against a loop that really swaps, and on rankings whose cost is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from naics_model.geometry.lorentz import pairwise_distance
from naics_model.losses import ranking
from naics_model.losses.multi_level import common_depth
from naics_model.losses.ranking import lambda_rank
from naics_model.taxonomy.distances import tree_distances
from naics_model.taxonomy.tree import Taxonomy


def ndcg(gains: list[float], k: int) -> float:
    """NDCG@k of gains in the order of their ranks, by scikit-learn."""
    return ndcg_score([gains], [list(range(len(gains), 0, -1))], k=k)


def by_swaps(distances: torch.Tensor, gains: torch.Tensor, k: int, t: torch.Tensor) -> torch.Tensor:
    """The loss with its gradient, every pair of every anchor swapped and measured again."""
    costs = []
    for i in range(len(distances)):
        others = [j for j in range(len(distances)) if j != i]
        ranked = sorted(others, key=lambda j: (distances[i, j].item(), j))
        listed = [gains[i, j].item() for j in ranked]
        if len(set(listed)) < 2:
            continue
        cost = distances.new_zeros(())
        for a, j in enumerate(ranked):
            for b, other in enumerate(ranked):
                if listed[a] > listed[b]:
                    swapped = listed.copy()
                    swapped[a], swapped[b] = listed[b], listed[a]
                    change = abs(ndcg(swapped, k) - ndcg(listed, k))
                    margin = (distances[i, other] - distances[i, j]) / t
                    cost = cost + change * torch.log(1 + torch.exp(-margin))
        costs.append(cost)
    return torch.stack(costs).mean() if costs else distances.sum() * 0


@settings(max_examples=15, deadline=None)
@given(m=st.integers(3, 6), k=st.integers(1, 6), t=st.floats(0.3, 3.0), seed=st.integers(0, 2**16))
def test_lambda_rank_is_what_real_swaps_cost(m: int, k: int, t: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    distances = torch.randint(1, 9, (m, m), generator=generator).double()  # with ties
    gains = 2.0 ** torch.randint(0, 4, (m, m), generator=generator) - 1
    found, expected = [], []
    for loss, answer in ((lambda_rank, found), (by_swaps, expected)):
        d = distances.clone().requires_grad_()
        temperature = torch.tensor(t, dtype=torch.float64, requires_grad=True)
        value = loss(d, gains, k, temperature)
        value.backward()
        answer += [value.detach(), d.grad]
        if expected is not answer or value > 0:
            answer.append(temperature.grad)
    for mine, theirs in zip(found, expected, strict=False):
        torch.testing.assert_close(mine, theirs)


def test_ties_rank_by_position() -> None:
    # The candidates of code 0 are at ranks 1, 2, 3 as they stand, the right one last.
    distances = torch.ones(4, 4)
    gains = torch.zeros(4, 4)
    gains[0, 3] = 1.0
    discounts = [1.0, 1 / math.log2(3), 0.5]
    changes = (discounts[0] - discounts[2]) + (discounts[1] - discounts[2])
    assert lambda_rank(distances, gains).item() == pytest.approx(changes * math.log(2))


def test_a_pair_beyond_rank_k_costs_nothing() -> None:
    distances = torch.tensor([[0.0, 1.0, 2.0, 3.0]]).repeat(4, 1)
    gains = torch.zeros(4, 4)
    gains[0] = torch.tensor([0.0, 4.0, 0.0, 1.0])  # ranks 2 and 3 are the wrong way round
    first = math.log1p(math.exp(-1)) + 3 / 4 * math.log1p(math.exp(-2))
    assert lambda_rank(distances, gains, k=1).item() == pytest.approx(first)
    second, third = 1 / math.log2(3), 0.5
    ideal = 4 + second
    pairs = (
        4 * (1 - second) * math.log1p(math.exp(-1)),
        3 * (1 - third) * math.log1p(math.exp(-2)),
        (second - third) * math.log1p(math.exp(1)),
    )
    assert lambda_rank(distances, gains, k=3).item() == pytest.approx(sum(pairs) / ideal)


def test_a_right_order_with_room_costs_nothing_and_a_wrong_one_much() -> None:
    gains = torch.tensor([[0.0, 7.0, 3.0, 1.0, 0.0]]).repeat(5, 1)
    right = torch.tensor([[0.0, 1.0, 20.0, 40.0, 60.0]]).repeat(5, 1)
    gains[1:], right[1:] = 0.0, 1.0
    assert lambda_rank(right, gains).item() < 1e-7
    assert lambda_rank(60 - right, gains).item() > 10


@pytest.mark.parametrize('m', [1, 2, 4])
def test_candidates_of_one_gain_cost_nothing_and_have_no_gradient(m: int) -> None:
    for gain in (0.0, 3.0):
        distances = torch.rand(m, m, generator=torch.Generator().manual_seed(1)).requires_grad_()
        loss = lambda_rank(distances, torch.full((m, m), gain))
        loss.backward()
        assert loss.item() == 0.0
        assert distances.grad is not None
        assert not distances.grad.any()


def test_lambda_rank_reads_no_diagonal() -> None:
    generator = torch.Generator().manual_seed(4)
    distances, gains = torch.rand(2, 6, 6, generator=generator)
    expected = lambda_rank(distances, gains, k=3)
    other = lambda_rank(distances - 9 * torch.eye(6), gains + 9 * torch.eye(6), k=3)
    assert torch.equal(expected, other)


def test_slices_of_anchors_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(5)
    distances, gains = torch.rand(2, 9, 9, generator=generator, dtype=torch.float64)
    answers = []
    for size in (2**30, 1, 3 * 8 * 8 * 4 * 8):  # all anchors, one, three at once
        monkeypatch.setattr(ranking, '_BYTES', size)
        d = distances.clone().requires_grad_()
        loss = lambda_rank(d, gains, k=4)
        loss.backward()
        answers.append((loss.detach(), d.grad))
    torch.testing.assert_close(answers[1], answers[0])
    torch.testing.assert_close(answers[2], answers[0])


def test_no_pairs_are_kept_for_the_gradient() -> None:
    m, k = 120, 10
    distances, gains = torch.rand(2, m, m, generator=torch.Generator().manual_seed(6))
    distances.requires_grad_()
    kept = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        lambda_rank(distances, gains, k)
    assert kept
    assert sum(kept) < m * k * (m - 1)


def test_descent_puts_the_nearest_kin_first() -> None:
    codes = ['11', '111', '112', '1111', '1112', '1121', '1122', '21', '211', '212', '2111', '2121']
    taxonomy = Taxonomy.from_codes(codes)
    tree, levels = torch.from_numpy(tree_distances(taxonomy)), torch.from_numpy(taxonomy.levels)
    gains = 2.0 ** common_depth(tree, levels) - 1
    v = torch.randn(12, 8, generator=torch.Generator().manual_seed(7)).requires_grad_()

    def measured() -> float:
        d = pairwise_distance(v, v).detach().numpy()
        others = ~np.eye(12, dtype=bool)
        return ndcg_score(gains.numpy()[others].reshape(12, 11), -d[others].reshape(12, 11), k=10)

    before = measured()
    optimizer = torch.optim.Adam([v], lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        lambda_rank(pairwise_distance(v, v), gains, temperature=0.5).backward()
        optimizer.step()
    assert before < 0.75
    assert measured() > 0.95
