"""The cross-entropy of phrases over the leaves of a tree, against a plain computation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from naics_model.losses.phrases import tree_cross_entropy

# Leaves of a tree of three levels, by their digits.
LEAVES = ('111', '112', '121', '211', '212', '213', '311')
NODES = ('111', '12', '2', '213', '31', '3')
WEIGHTS = (1.0, 1.5, 2.0)


def targets_of(nodes: tuple[str, ...]) -> Tensor:
    """The leaves below the ancestor of each node at each level, none below the node's own."""
    return torch.tensor(
        [
            [
                [len(node) >= level and leaf.startswith(node[:level]) for leaf in LEAVES]
                for level in (1, 2, 3)
            ]
            for node in nodes
        ]
    )


def brute(logits: NDArray[np.float64], targets: NDArray[np.bool_]) -> list[float]:
    costs = []
    for row, levels in zip(logits, targets, strict=True):
        p = np.exp(row - row.max())
        p /= p.sum()
        used = [
            (w, p[below].sum()) for w, below in zip(WEIGHTS, levels, strict=True) if below.any()
        ]
        costs.append(-sum(w * math.log(of_node) for w, of_node in used) / sum(w for w, _ in used))
    return costs


@given(seed=st.integers(0, 2**16), scale=st.floats(0.1, 20))
def test_it_is_the_plain_formula(seed: int, scale: float) -> None:
    logits = scale * np.random.default_rng(seed).standard_normal((len(NODES), len(LEAVES)))
    targets = targets_of(NODES)
    loss = tree_cross_entropy(torch.from_numpy(logits), targets, WEIGHTS)
    np.testing.assert_allclose(loss, brute(logits, targets.numpy()), rtol=1e-4, atol=1e-5)


def test_a_node_has_the_probability_of_its_leaves() -> None:
    # Three of seven leaves are below 2, two of them as likely as all others, one left out.
    logits = torch.zeros(1, 7)
    logits[0, 3] = -math.inf
    loss = tree_cross_entropy(logits, targets_of(('2',)), WEIGHTS)
    assert loss.item() == pytest.approx(math.log(6 / 2))


def test_with_the_last_level_alone_it_is_the_ordinary_cross_entropy() -> None:
    logits = torch.randn(7, 7, generator=torch.Generator().manual_seed(0))
    loss = tree_cross_entropy(logits, targets_of(LEAVES), (0.0, 0.0, 1.0))
    expected = functional.cross_entropy(logits, torch.arange(7), reduction='none')
    torch.testing.assert_close(loss, expected)


def test_levels_count_by_their_weights() -> None:
    logits = torch.randn(1, 7, generator=torch.Generator().manual_seed(1))
    targets = targets_of(('212',))
    each = [
        tree_cross_entropy(logits, targets, [float(level == at) for level in range(3)])
        for at in range(3)
    ]
    mixed = tree_cross_entropy(logits, targets, (1.0, 0.0, 3.0))
    torch.testing.assert_close(mixed, (each[0] + 3 * each[2]) / 4)
    assert each[0] < each[2]


@given(seed=st.integers(0, 2**16), left_out=st.floats(0, 1), scale=st.floats(0.1, 100))
def test_it_is_at_least_0_and_finite_with_codes_left_out(
    seed: int, left_out: float, scale: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    targets = targets_of(NODES)
    logits = scale * torch.randn(len(NODES), len(LEAVES), generator=generator)
    own = targets.sum(dim=1) == targets.any(dim=2).sum(dim=1, keepdim=True)
    gone = (torch.rand(logits.shape, generator=generator) < left_out) & ~own
    logits = logits.masked_fill(gone, -math.inf).requires_grad_()
    loss = tree_cross_entropy(logits, targets, WEIGHTS)
    assert torch.isfinite(loss).all()
    assert (loss > -1e-5).all()
    loss.sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert not logits.grad[gone].any()


def test_without_wrong_answers_there_is_nothing_to_pay() -> None:
    logits = torch.full((1, 7), -math.inf)
    logits[0, 1] = 3.0
    assert tree_cross_entropy(logits, targets_of(('112',)), WEIGHTS).item() == 0
