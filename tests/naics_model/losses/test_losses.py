"""Each loss on a case worked by hand, on duplicates, and far out."""

from __future__ import annotations

import math

import pytest
import torch

from naics_model.geometry import lorentz
from naics_model.losses.anchoring import anchoring
from naics_model.losses.contrastive import info_nce
from naics_model.losses.hierarchy import hierarchy_fit
from naics_model.losses.load_balance import load_balance
from naics_model.losses.phrases import tree_cross_entropy
from naics_model.losses.radius import LADDER, radius_ladder
from naics_model.losses.triplet import hyperbolic_triplet


def test_info_nce_by_hand() -> None:
    positive = torch.tensor([1.0, 2.0])
    negative = torch.tensor([[2.0, 3.0], [2.0, 2.0]])
    first = math.log(1 + math.exp(-2) + math.exp(-4))
    second = math.log(3)
    expected = torch.tensor((first + second) / 2)
    torch.testing.assert_close(info_nce(positive, negative, 0.5), expected)


def test_info_nce_is_log_of_one_plus_k_when_nothing_is_told_apart() -> None:
    loss = info_nce(torch.full((4,), 3.0), torch.full((4, 16), 3.0), 0.1)
    assert loss.item() == pytest.approx(math.log(17))


def test_info_nce_leaves_masked_negatives_out() -> None:
    positive = torch.tensor([1.0, 1.0, 1.0])
    negative = torch.tensor([[0.2, 3.0], [3.0, 0.2], [0.2, 0.2]], requires_grad=True)
    mask = torch.tensor([[False, True], [True, False], [False, False]])
    loss = info_nce(positive, negative, 1.0, mask)
    # The third row has no negative left, and costs nothing.
    assert loss.item() == pytest.approx(2 / 3 * math.log(1 + math.exp(-2)))
    loss.backward()
    assert negative.grad is not None
    assert torch.equal(negative.grad != 0, mask)


def test_info_nce_gradients_pull_the_positive_and_push_the_negatives() -> None:
    positive = torch.tensor([2.0], requires_grad=True)
    negative = torch.tensor([[1.0, 4.0]], requires_grad=True)
    temperature = torch.tensor(0.5, requires_grad=True)
    info_nce(positive, negative, temperature).backward()
    assert positive.grad is not None
    assert negative.grad is not None
    assert temperature.grad is not None
    assert positive.grad > 0
    assert (negative.grad < 0).all()
    assert negative.grad[0, 0] < negative.grad[0, 1]  # the nearer one is pushed harder
    assert torch.isfinite(temperature.grad)


@pytest.mark.parametrize('k', [0, 3])
def test_a_batch_without_negatives_costs_nothing_and_has_no_gradient(k: int) -> None:
    positive = torch.tensor([1.0, 2.0], requires_grad=True)
    negative = torch.ones(2, k, requires_grad=True)
    value = info_nce(positive, negative, 0.5, torch.zeros(2, k, dtype=torch.bool))
    value.backward()
    assert value.item() == 0.0
    for leaf in (positive, negative):
        assert leaf.grad is not None
        assert not leaf.grad.any()


def test_a_distance_that_is_no_number_is_not_hidden() -> None:
    negative = torch.tensor([[torch.nan, torch.nan], [1.0, 2.0]])
    assert info_nce(torch.ones(2), negative, 0.5, torch.ones(2, 2, dtype=torch.bool)).isnan()


def test_hierarchy_fit_by_hand() -> None:
    distances = torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, 6.0], [2.0, 6.0, 0.0]])
    tree = torch.tensor([[0, 1, 2], [1, 0, 3], [2, 3, 0]])
    # Relative errors 0, 0 and 1 over the three pairs.
    assert hierarchy_fit(distances, tree, torch.tensor(0.0)).item() == pytest.approx(1 / 3)


def test_hierarchy_fit_is_zero_when_the_scale_explains_everything() -> None:
    tree = torch.tensor([[0, 1, 4], [1, 0, 2], [4, 2, 0]], dtype=torch.uint8)
    distances = 0.25 * tree.float()
    loss = hierarchy_fit(distances, tree, torch.tensor(math.log(4.0)))
    assert loss.item() == pytest.approx(0.0, abs=1e-12)
    assert hierarchy_fit(distances, tree, torch.tensor(0.0)).item() > 0.5


def test_hierarchy_fit_leaves_repeated_codes_out_and_needs_no_pair() -> None:
    tree = torch.tensor([[0, 0, 2], [0, 0, 2], [2, 2, 0]])
    distances = torch.tensor([[0.0, 9.0, 2.0], [9.0, 0.0, 2.0], [2.0, 2.0, 0.0]])
    assert hierarchy_fit(distances, tree, torch.tensor(0.0)).item() == 0.0
    alone = hierarchy_fit(torch.ones(2, 2), torch.zeros(2, 2), torch.tensor(0.0))
    assert alone.item() == 0.0


def test_hierarchy_fit_trains_the_scale() -> None:
    scale = torch.tensor(0.0, requires_grad=True)
    tree = torch.tensor([[0, 2], [2, 0]])
    hierarchy_fit(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), tree, scale).backward()
    assert scale.grad is not None
    assert scale.grad.item() == pytest.approx(2 * (0.5 - 1) * 0.5)  # larger is better


def test_radius_ladder_by_hand() -> None:
    levels = torch.tensor([2, 4, 6], dtype=torch.uint8)
    assert radius_ladder(torch.tensor([1.3, 3.2, 5.2]), levels).item() == pytest.approx(0.0)
    assert radius_ladder(torch.tensor([1.8, 3.2, 4.2]), levels).item() == pytest.approx(1.25 / 3)


def test_radius_ladder_rises_with_the_level_and_stays_below_the_clip() -> None:
    rungs = [LADDER[level] for level in range(2, 7)]
    assert rungs == sorted(rungs)
    assert rungs[-1] < 6.0


def test_load_balance_is_one_when_balanced() -> None:
    # Each expert is chosen equally often, and the mean probability is uniform.
    probabilities = torch.tensor(
        [[0.4, 0.4, 0.1, 0.1], [0.1, 0.1, 0.4, 0.4], [0.4, 0.1, 0.4, 0.1], [0.1, 0.4, 0.1, 0.4]]
    )
    assert load_balance(probabilities, 2).item() == pytest.approx(1.0)


def test_load_balance_is_the_number_of_experts_at_collapse() -> None:
    probabilities = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(8, 1)
    assert load_balance(probabilities, 1).item() == pytest.approx(4.0)
    assert load_balance(probabilities, 2).item() == pytest.approx(2.0)


def test_load_balance_gradient_lowers_the_busy_expert() -> None:
    logits = torch.tensor([[1.0, 0.5, 0.0, 0.0]] * 4, requires_grad=True)
    load_balance(logits.softmax(dim=1), 2).backward()
    assert logits.grad is not None
    assert (logits.grad[:, 0] > 0).all()
    assert (logits.grad[:, 3] < 0).all()


def test_load_balance_is_of_the_rows_of_all_processes() -> None:
    probabilities = torch.rand(7, 4, generator=torch.Generator().manual_seed(3)).softmax(dim=1)
    mine, theirs = probabilities.split([5, 2])
    sent = []
    load_balance(theirs, 2, lambda tensor: sent.append(tensor) or tensor)
    (of_the_other,) = sent
    loss = load_balance(mine, 2, lambda tensor: tensor + of_the_other)
    torch.testing.assert_close(loss, load_balance(probabilities, 2))
    parts = (load_balance(mine, 2) + load_balance(theirs, 2)) / 2
    assert abs(parts - loss) > 1e-3


def test_load_balance_takes_a_process_without_rows() -> None:
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3]])
    counts, totals = torch.tensor([1.0, 1.0, 0.0]), probabilities.sum(0)
    loss = load_balance(torch.empty(0, 3), 1, lambda none: none + torch.stack([counts, totals]))
    torch.testing.assert_close(loss, load_balance(probabilities, 1))


def test_load_balance_counts_what_bfloat16_can_not() -> None:
    probabilities = torch.tensor([[0.75, 0.25]]).repeat(999, 1)
    half = load_balance(probabilities.bfloat16(), 1)
    torch.testing.assert_close(half, load_balance(probabilities, 1))


@pytest.mark.parametrize('curvature', [0.0, 1.0])
@pytest.mark.parametrize('radius', [1e-6, 1.0, 6.0])
def test_all_losses_are_finite_with_gradients_on_duplicated_codes(
    radius: float, curvature: float
) -> None:
    generator = torch.Generator().manual_seed(8)
    v = torch.randn(6, 16, generator=generator)
    v = radius * v / v.norm(dim=1, keepdim=True)
    v = torch.cat([v, v]).requires_grad_()  # 693 codes share their parent's title
    distances = lorentz.pairwise_distance(v, v, curvature)
    radii = lorentz.radius(v, curvature)
    tree = torch.full((12, 12), 2)
    tree.fill_diagonal_(0)
    below = torch.eye(6, dtype=torch.bool)[:, None, :]
    total = (
        info_nce(distances[0:4, 6].clone(), distances[0:4, 0:6], 0.5)
        + tree_cross_entropy(-distances[:6, 6:], below, (1.0,)).mean()
        + hierarchy_fit(distances, tree, torch.tensor(0.3))
        + radius_ladder(radii, torch.full((12,), 6))
        + hyperbolic_triplet(distances[0, 6:8], distances[0, 8:10], radii[:2], 1.0, curvature)
        + anchoring(v, v.detach().clone(), curvature)
    )
    total.backward()
    assert torch.isfinite(total)
    assert v.grad is not None
    assert torch.isfinite(v.grad).all()
    assert (v.grad.norm(dim=1) > 0).all()
