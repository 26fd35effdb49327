"""How codes are weighed as negatives: each rule by hand, on codes of one sector and two others."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from naics_model.curriculum.sadc import NegativeSettings, Plan
from naics_model.training.negatives import NegativeWeights, Weighed, router_divergence

# Curriculum distance of two six-digit codes by the digits that they share.
STEPS = {5: 2.0, 4: 4.0, 3: 6.0, 2: 8.0, 0: 10.0}
# Siblings are 111111, 111112 and 111113; cross-references tell the first from the two others.
OWN, SIBLING, APART = '111112', '111113', '111111'


class Ground:
    """The edition's leaves, and the weights of one phrase of each code that is asked for."""

    def __init__(self, index: Any, **settings: Any) -> None:
        self.codes = list(index.codes)
        self.leaves = [code for code in self.codes if len(code) == 6]
        columns = torch.tensor([self.codes.index(leaf) for leaf in self.leaves])
        asked = NegativeSettings(**{'strategy': 'sadc', 'hardest': 3, **settings})
        self.weights = NegativeWeights(index, columns, asked, seed=0, experts=4)
        generator = torch.Generator().manual_seed(4)
        self.distance = torch.rand(1, len(self.leaves), generator=generator)
        self.gate = (2 * torch.randn(1, 4, generator=generator)).softmax(dim=1)
        self.gates = (2 * torch.randn(len(self.leaves), 4, generator=generator)).softmax(dim=1)

    def weigh(self, plan: Plan, code: str = OWN, divergence: Tensor | None = None) -> Weighed:
        right = torch.tensor([[leaf.startswith(code) for leaf in self.leaves]])
        node = torch.tensor([self.codes.index(code)])
        found: Weighed = self.weights(plan, node, right, self.distance, divergence)
        return found

    def of(self, weighed: Weighed) -> dict[str, float]:
        """The weight of each leaf."""
        return dict(zip(self.leaves, weighed.log_weights.exp()[0].tolist(), strict=True))

    def cluster(self, *members: str) -> None:
        """Put codes into one cluster, all others into another."""
        self.weights.labels.copy_(torch.tensor([int(leaf in members) for leaf in self.leaves]))
        self.weights.clustered.fill_(0)


@pytest.fixture
def ground(edition: Any) -> Ground:
    return Ground(edition.index)


def steps(a: str, b: str) -> float:
    shared = next((n for n in (5, 4, 3, 2) if a[:n] == b[:n]), 0)
    return STEPS[shared]


def expected(ground: Ground, weight: dict[str, float]) -> dict[str, float]:
    """Weights of negatives, scaled to a mean of 1 over those that are not 0; 1 of the right one."""
    negatives = {leaf: w for leaf, w in weight.items() if leaf != OWN and w > 0}
    mean = sum(negatives.values()) / len(negatives)
    return {leaf: 1.0 if leaf == OWN else weight[leaf] / mean for leaf in ground.leaves}


def test_alike_weights_leave_the_softmax_as_it_is(ground: Ground) -> None:
    for code in (OWN, '11111', '111', '22'):
        weighed = ground.weigh(Plan(), code)
        torch.testing.assert_close(weighed.log_weights, torch.zeros_like(weighed.log_weights))
        assert not weighed.mates.any()


@pytest.mark.parametrize('alpha', [0.5, 1.5])
def test_a_negative_weighs_less_the_farther_it_is_in_the_tree(ground: Ground, alpha: float) -> None:
    found = ground.of(ground.weigh(Plan(phase=1, alpha=alpha)))
    by_hand = {leaf: steps(OWN, leaf) ** -alpha for leaf in ground.leaves}
    assert found == pytest.approx(expected(ground, by_hand), rel=1e-5)


def test_siblings_are_masked_but_not_those_that_a_cross_reference_tells_apart(
    ground: Ground,
) -> None:
    found = ground.of(ground.weigh(Plan(phase=1, alpha=1.5, sibling_weight=0.0)))
    by_hand = {leaf: steps(OWN, leaf) ** -1.5 for leaf in ground.leaves} | {SIBLING: 0.0}
    assert found == pytest.approx(expected(ground, by_hand), rel=1e-5)
    assert found[SIBLING] == 0 < found[APART]
    # Half masked, as annealing does on its way.
    half = ground.of(ground.weigh(Plan(phase=1, alpha=1.5, sibling_weight=0.5)))
    assert half[SIBLING] / half[APART] == pytest.approx(0.5)


@pytest.mark.parametrize('share', [0.0, 0.25, 1.0])
def test_a_static_share_is_of_the_own_sector(ground: Ground, share: float) -> None:
    found = ground.of(ground.weigh(Plan(near_share=share)))
    near = [found[leaf] for leaf in ground.leaves if leaf[:2] == '11' and leaf != OWN]
    far = [found[leaf] for leaf in ground.leaves if leaf[:2] != '11']
    # 9 and 20 negatives, which weigh 29 together.
    assert near == pytest.approx([29 * share / 9] * 9, rel=1e-5)
    assert far == pytest.approx([29 * (1 - share) / 20] * 20, rel=1e-5)


def test_the_nearest_share_what_is_mined_by_distance(ground: Ground) -> None:
    found = ground.of(ground.weigh(Plan(phase=2, by_distance=0.25)))
    away = dict(zip(ground.leaves, ground.distance[0].tolist(), strict=True))
    nearest = sorted((leaf for leaf in ground.leaves if leaf != OWN), key=away.__getitem__)[:3]
    for leaf, weight in found.items():
        mined = 0.25 * 29 / 3 if leaf in nearest else 0.0
        assert weight == pytest.approx(1.0 if leaf == OWN else 0.75 + mined, rel=1e-5)


@pytest.mark.parametrize('measure', ['kl', 'cosine'])
def test_those_of_the_likest_gate_share_what_is_mined_by_the_router(
    edition: Any, measure: str
) -> None:
    ground = Ground(edition.index, router_measure=measure)
    assert ground.weights.divergence(ground.gate) is None
    ground.weights.route(ground.gates, epoch=0)
    divergence = ground.weights.divergence(ground.gate)
    found = ground.of(ground.weigh(Plan(phase=2, by_router=1.0), divergence=divergence))
    own = ground.gate[0].numpy().astype(float)

    def unlike(leaf: str) -> float:
        other = ground.gates[ground.leaves.index(leaf)].numpy().astype(float)
        if measure == 'kl':
            return float((own * np.log(own / other)).sum())
        return float(1 - own @ other / np.linalg.norm(own) / np.linalg.norm(other))

    likest = sorted((leaf for leaf in ground.leaves if leaf != OWN), key=unlike)[:3]
    for leaf in ground.leaves:
        assert found[leaf] == pytest.approx(
            1.0 if leaf == OWN else 29 / 3 if leaf in likest else 0.0, rel=1e-5
        )


def test_without_a_gate_all_is_mined_by_distance(ground: Ground) -> None:
    assert ground.weights.divergence(None) is None
    both = ground.weigh(Plan(phase=2, by_distance=0.3, by_router=0.3))
    alone = ground.weigh(Plan(phase=2, by_distance=0.6))
    torch.testing.assert_close(both.log_weights, alone.log_weights)


def test_codes_of_the_own_cluster_are_left_out_unless_told_apart(ground: Ground) -> None:
    plan = Plan(phase=3, without_false_negatives=True)
    # Before the first clustering nothing is known of them.
    assert ground.of(ground.weigh(plan))[SIBLING] == pytest.approx(1)
    ground.cluster(OWN, SIBLING, APART, '541111')
    weighed = ground.weigh(plan)
    found = ground.of(weighed)
    assert {leaf for leaf, weight in found.items() if weight == 0} == {SIBLING, '541111'}
    # The others weigh 1 in the mean, as before.
    assert {round(weight, 5) for leaf, weight in found.items() if weight > 0} == {1.0}
    assert weighed.figures['eliminated_share'].item() == pytest.approx(2 / 29)
    # What was left out is not mined, either.
    mined = ground.of(ground.weigh(plan._replace(by_distance=1.0)))
    assert mined[SIBLING] == mined['541111'] == 0
    assert sum(weight > 0 for weight in mined.values()) == 1 + 3
    # Before the plan asks for it, clusters change nothing.
    early = ground.of(ground.weigh(plan._replace(without_false_negatives=False)))
    assert early[SIBLING] == pytest.approx(1)
    # A sector shares clusters with half of all codes: it leaves none out.
    assert ground.weigh(plan, '11').figures['eliminated_share'].item() == 0


@pytest.mark.parametrize(
    ('how', 'attracted'),
    [('eliminate', set()), ('attract', {SIBLING, '541111'}), ('hybrid', {SIBLING})],
)
def test_who_is_attracted(edition: Any, how: str, attracted: set[str]) -> None:
    ground = Ground(edition.index, false_negatives=how)
    ground.cluster(OWN, SIBLING, APART, '541111')
    weighed = ground.weigh(Plan(phase=3, without_false_negatives=True))
    chosen = {
        leaf for leaf, is_mate in zip(ground.leaves, weighed.mates[0], strict=True) if is_mate
    }
    assert chosen == attracted
    assert weighed.figures['attracted_share'].item() == float(bool(attracted))
    # None of them is a negative, whichever it is.
    found = ground.of(weighed)
    assert found[SIBLING] == found['541111'] == 0


@pytest.mark.parametrize('code', ['11', '111', '1112', '11112', OWN])
def test_right_answers_of_any_level_keep_their_logits(ground: Ground, code: str) -> None:
    ground.cluster(*(leaf for leaf in ground.leaves if leaf.startswith('11')))
    ground.weights.route(ground.gates, epoch=0)
    for plan in (
        Plan(phase=1, alpha=1.5, sibling_weight=0.0),
        Plan(near_share=0.5),
        Plan(phase=3, by_distance=0.5, by_router=0.5, without_false_negatives=True),
    ):
        weighed = ground.weigh(plan, code, ground.weights.divergence(ground.gate))
        right = torch.tensor([leaf.startswith(code) for leaf in ground.leaves])
        assert (weighed.log_weights[0, right] == 0).all()
        assert not torch.isnan(weighed.log_weights).any()
        assert (weighed.log_weights[0, ~right] > -math.inf).any()


def test_clusters_and_gates_are_renewed_every_so_many_epochs_and_go_with_the_state(
    edition: Any,
) -> None:
    ground = Ground(edition.index, clusters=6, every=2)
    weights, points = ground.weights, torch.randn(30, 5, generator=torch.Generator().manual_seed(1))
    due = []
    for epoch in (1, 2, 3, 4):
        due.append((weights.are_due(epoch), weights.gates_are_due(epoch)))
        if due[-1][0]:
            weights.cluster(points, 1.0, epoch)
            weights.route(ground.gates, epoch)
    assert due == [(True, True), (False, False), (True, True), (False, False)]
    assert sorted(set(weights.labels.tolist())) == [0, 1, 2, 3, 4, 5]
    twin = Ground(edition.index).weights
    # The relations of the edition are not among it.
    assert set(weights.state_dict()) == {'labels', 'clustered', 'gates', 'routed'}
    twin.load_state_dict(weights.state_dict())
    for name, value in weights.state_dict().items():
        assert torch.equal(twin.state_dict()[name], value)
    assert not twin.gates_are_due(4)


def test_divergences_by_hand() -> None:
    p = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    q = torch.tensor([[0.5, 0.5], [0.25, 0.75]])
    kl = router_divergence(p, q)
    by_hand = torch.zeros(2, 2, dtype=torch.float64)
    by_hand[0, 1] = 0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)
    by_hand[1, 0] = np.log(1 / 0.5)
    by_hand[1, 1] = np.log(1 / 0.25)
    torch.testing.assert_close(kl, by_hand, atol=1e-6, rtol=1e-5)
    # Under autocast, too, and of gates that hardly differ: bfloat16 would make them ties.
    near = (0.01 * torch.randn(20, 4, generator=torch.Generator().manual_seed(0))).softmax(dim=1)
    plain = router_divergence(near, near)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(router_divergence(near, near), plain)
    assert (plain >= -1e-12).all()
    assert len(plain.unique()) > 350
    cosine = router_divergence(p, q, 'cosine')
    assert cosine[0, 0].item() == pytest.approx(0, abs=1e-6)
    assert cosine[1, 0].item() == pytest.approx(1 - 0.5**0.5, rel=1e-5)
