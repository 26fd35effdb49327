"""Multi-level supervision on cases worked by hand, and against a loop over levels and codes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from naics_model.losses.multi_level import LEVEL_WEIGHTS, common_depth, multi_level
from naics_model.taxonomy.distances import tree_distances
from naics_model.taxonomy.tree import Taxonomy, common_levels

CODES = ('11', '111', '1111', '11111', '111110', '11112', '111120', '112', '31', '321', '322')


def matrix(rows: list[list[float]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def loop(
    distances: torch.Tensor, common: torch.Tensor, t: float, weights: tuple[float, ...]
) -> float:
    """The formula, read aloud."""
    m = len(distances)
    d, c = distances.tolist(), common.tolist()
    total = in_use = 0.0
    for level, weight in enumerate(weights, start=1):
        of_anchors = []
        for i in range(m):
            others = [j for j in range(m) if j != i]
            denominator = sum(math.exp(-d[i][j] / t) for j in others)
            costs = [
                -math.log(math.exp(-d[i][p] / t) / denominator) for p in others if c[i][p] >= level
            ]
            if costs:
                of_anchors.append(sum(costs) / len(costs))
        if of_anchors:
            total += weight * sum(of_anchors) / len(of_anchors)
            in_use += weight
    return total / in_use if in_use else 0.0


def test_common_depth_is_what_the_ancestor_table_says() -> None:
    taxonomy = Taxonomy.from_codes(CODES)
    n = len(CODES)
    i, j = np.divmod(np.arange(n * n), n)
    expected = common_levels(taxonomy, i, j).reshape(n, n)
    # A batch has both in uint8.
    tree, levels = torch.from_numpy(tree_distances(taxonomy)), torch.from_numpy(taxonomy.levels)
    common = common_depth(tree, levels)
    assert common.dtype == torch.int64
    np.testing.assert_array_equal(common.numpy(), expected)
    np.testing.assert_array_equal(common_depth(tree.float(), levels).numpy(), expected)


def test_multi_level_by_hand() -> None:
    # Two siblings that meet at depth 2, a cousin at depth 1, and a code of another sector.
    common = torch.tensor([[5, 2, 1, 0], [2, 5, 1, 0], [1, 1, 5, 0], [0, 0, 0, 5]])
    distances = torch.full((4, 4), 2.0)
    distances[0, 1] = distances[1, 0] = 1.0
    near, far = math.exp(-1), math.exp(-2)
    of_sibling, of_cousin = near / (near + 2 * far), far / (near + 2 * far)
    first = (-(math.log(of_sibling) + math.log(of_cousin)) / 2 * 2 + math.log(3)) / 3
    second = -math.log(of_sibling)
    expected = (2 * first + 3 * second) / (2 + 3)
    loss = multi_level(distances, common, 1.0, (2.0, 3.0, 100.0))
    assert loss.item() == pytest.approx(expected)


@settings(max_examples=50)
@given(
    m=st.integers(1, 7),
    seed=st.integers(0, 2**16),
    t=st.floats(0.3, 3.0),
    weights=st.sampled_from([LEVEL_WEIGHTS, (1.0, 0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 2.0, 4.0)]),
)
def test_multi_level_is_its_formula(
    m: int, seed: int, t: float, weights: tuple[float, ...]
) -> None:
    generator = torch.Generator().manual_seed(seed)
    distances = 6 * torch.rand(m, m, generator=generator, dtype=torch.float64)
    common = torch.randint(0, 6, (m, m), generator=generator)
    loss = multi_level(distances, common, t, weights)
    kin = common.fill_diagonal_(0).max() if m > 1 else 0
    if kin >= 1 + next(i for i, weight in enumerate(weights) if weight):
        assert loss.item() == pytest.approx(loop(distances, common, t, weights))
    else:
        assert loss.item() == 0.0
    assert loss >= 0


def test_a_deep_level_counts_more() -> None:
    assert list(LEVEL_WEIGHTS) == sorted(set(LEVEL_WEIGHTS))
    # One sibling at depth 4, one code of the same sector: which of the two is near matters.
    common = torch.tensor([[5, 4, 1], [4, 5, 1], [1, 1, 5]])
    sibling_near = matrix([[0, 1, 3], [1, 0, 3], [3, 3, 0]])
    other_near = matrix([[0, 3, 1], [3, 0, 3], [1, 3, 0]])
    assert multi_level(sibling_near, common, 0.5) < multi_level(other_near, common, 0.5) - 0.5


def test_multi_level_of_kin_far_from_all_others_is_the_log_of_their_number() -> None:
    common = torch.block_diag(torch.ones(4, 4), torch.ones(4, 4)).long()
    distances = torch.where(common == 1, 1.0, 40.0)
    assert multi_level(distances, common, 0.5).item() == pytest.approx(math.log(3))


def test_multi_level_reads_no_diagonal() -> None:
    common = torch.tensor([[0, 1, 0], [1, 0, 2], [0, 2, 0]])
    distances = matrix([[0, 1, 3], [1, 0, 2], [3, 2, 0]])
    expected = multi_level(distances, common, 0.5)
    other = multi_level(distances + 9 * torch.eye(3), common + 5 * torch.eye(3).long(), 0.5)
    assert torch.equal(expected, other)


@pytest.mark.parametrize('m', [1, 3])
def test_codes_without_kin_cost_nothing_and_have_no_gradient(m: int) -> None:
    distances = torch.full((m, m), 2.0, requires_grad=True)
    temperature = torch.tensor(0.5, requires_grad=True)
    with torch.autograd.set_detect_anomaly(True):  # no NaN on the way, either
        loss = multi_level(distances, 5 * torch.eye(m).long(), temperature)
        loss.backward()
    assert loss.item() == 0.0
    assert distances.grad is not None
    assert temperature.grad is not None
    assert not distances.grad.any()
    assert temperature.grad == 0


def test_multi_level_pulls_kin_and_pushes_the_rest() -> None:
    common = torch.tensor([[5, 3, 0], [3, 5, 0], [0, 0, 5]])
    distances = torch.full((3, 3), 2.0, requires_grad=True)
    multi_level(distances, common, 0.5).backward()
    assert distances.grad is not None
    # The third code has no kin, and so is no anchor.
    expected = torch.tensor([[0, 1, -1], [1, 0, -1], [0, 0, 0]])
    assert torch.equal(distances.grad.sign().long(), expected)
