"""Who is chosen as a negative: each rule alone, against loops over single codes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from naics_model.curriculum.sadc import NegativeSettings, Plan
from naics_model.curriculum.stage import Stage
from naics_model.geometry.lorentz import distance
from naics_model.taxonomy.tree import parent_of
from naics_model.training.negatives import (
    BY_DISTANCE,
    BY_ROUTER,
    DRAWN,
    Candidates,
    Chosen,
    NegativeChooser,
    router_divergence,
)
from naics_model.triplets.hardness import hardness_matrix

K = 6


def stage_of(*buckets: int) -> Stage:
    shares = {bucket: 1 / len(buckets) for bucket in buckets}
    return Stage(
        name='any',
        positive_levels=(2, 3, 4, 5, 6),
        difficulty_buckets=buckets,
        bucket_percentages=shares,
        k_negatives=K,
    )


WIDE = stage_of(1, 2, 3, 4, 5, 6, 7, 8)


@pytest.fixture
def index(edition: Any) -> Any:
    return edition.index


@pytest.fixture
def candidates(index: Any) -> Candidates:
    """All codes of the edition, in an order of their own, somewhere in space."""
    generator = torch.Generator().manual_seed(4)
    codes = torch.randperm(len(index), generator=generator)
    tangent = torch.randn(len(codes), 5, generator=generator)
    gate = (2 * torch.randn(len(codes), 4, generator=generator)).softmax(dim=1)
    return Candidates(codes, tangent, gate, 0, len(codes))


def pairs_of(index: Any, candidates: Candidates) -> tuple[Tensor, Tensor]:
    """Every six-digit anchor with every positive of its sector: columns (B,)."""
    column = {int(code): place for place, code in enumerate(candidates.codes)}
    found = [
        (column[a], column[p])
        for a in range(len(index))
        for p in range(len(index))
        if index.levels[a] == 6 and a != p and index.distance[a, p] < 20
    ]
    anchor, positive = zip(*found, strict=True)
    return torch.tensor(anchor), torch.tensor(positive)


def choose(
    index: Any,
    candidates: Candidates,
    plan: Plan,
    /,
    *,
    stage: Stage = WIDE,
    clusters: Tensor | None = None,
    seed: int = 0,
    **settings: Any,
) -> Chosen:
    chooser = NegativeChooser(index, stage, NegativeSettings(strategy='sadc', **settings))
    torch.manual_seed(seed)
    anchor, positive = pairs_of(index, candidates)
    return chooser.choose(plan, anchor, positive, candidates, clusters)


def rows(index: Any, candidates: Candidates, chosen: Chosen) -> list[tuple[int, int, set[int]]]:
    """(anchor, positive, negatives) as code indices, in the order of the items."""
    anchor, positive = pairs_of(index, candidates)
    codes = candidates.codes
    return [
        (int(codes[a]), int(codes[p]), {int(codes[c]) for c in chosen.column[i][chosen.counts[i]]})
        for i, (a, p) in enumerate(zip(anchor, positive, strict=True))
    ]


def hardness_of(index: Any, anchor: int, positive: int) -> Any:
    every = np.arange(len(index))
    return hardness_matrix(index, np.array([anchor]), np.array([positive]), every)[0]


PLANS = {
    'uniform': Plan(),
    'static': Plan(near_share=0.5),
    'structural': Plan(phase=1, alpha=1.5, sibling_weight=0.0),
    'geometric': Plan(phase=2, alpha=0.5, by_distance=0.5, by_router=0.5),
    'annealed': Plan(phase=2, alpha=0.5, sibling_weight=0.4, by_distance=0.3, by_router=0.3),
}


@pytest.mark.parametrize('plan', PLANS.values(), ids=PLANS)
@pytest.mark.parametrize(
    'stage', [WIDE, stage_of(1, 3), stage_of(1, 6, 8)], ids=['1-8', '3', '6+8']
)
def test_negatives_are_rows_of_the_triplets_no_harder_than_the_stage(
    index: Any, candidates: Candidates, plan: Plan, stage: Stage
) -> None:
    chosen = choose(index, candidates, plan, stage=stage)
    buckets = set(stage.difficulty_buckets)
    hardest = max(buckets - {8})
    for i, (anchor, positive, negatives) in enumerate(rows(index, candidates, chosen)):
        # Distinct, or the set would be smaller.
        assert len(negatives) == int(chosen.counts[i].sum())
        hardness = hardness_of(index, anchor, positive)
        allowed = {
            code
            for code, level in enumerate(hardness)
            if (8 in buckets if level == 8 else 0 < level <= hardest)
        }
        assert negatives <= allowed
        if plan.sibling_weight > 0:
            assert len(negatives) == min(K, len(allowed))
        told = {int(candidates.codes[c]): int(h) for c, h in zip(*_items(chosen, i), strict=True)}
        assert told == {code: int(hardness[code]) for code in negatives}


def _items(chosen: Chosen, item: int) -> tuple[Tensor, Tensor]:
    counts = chosen.counts[item]
    return chosen.column[item][counts], chosen.hardness[item][counts]


def test_what_does_not_count_has_no_hardness(index: Any, candidates: Candidates) -> None:
    few = Candidates(*(t[:7] for t in candidates[:3]), 0, 7)
    anchor, positive = pairs_of(index, candidates)
    inside = (anchor < 7) & (positive < 7)
    chooser = NegativeChooser(index, stage_of(5), NegativeSettings(strategy='sadc'))
    chosen = chooser.choose(Plan(), anchor[inside], positive[inside], few)
    assert not chosen.counts.all()
    assert (chosen.hardness[~chosen.counts] == 0).all()
    assert (chosen.hardness[chosen.counts] > 0).all()


def test_siblings_are_masked_but_not_those_that_a_cross_reference_tells_apart(
    index: Any, candidates: Candidates
) -> None:
    masked = rows(index, candidates, choose(index, candidates, PLANS['structural']))
    free = rows(index, candidates, choose(index, candidates, Plan(phase=1, alpha=1.5)))

    def siblings(items: Any) -> set[tuple[str, str]]:
        return {
            (index.codes[a], index.codes[n])
            for a, _, negatives in items
            for n in negatives
            if parent_of(index.codes[n]) == parent_of(index.codes[a]) and index.levels[n] == 6
        }

    apart = index.excluded | index.excluded.T
    place = {code: i for i, code in enumerate(index.codes)}
    left = siblings(masked)
    assert left
    assert all(apart[place[a], place[b]] for a, b in left)
    assert any(not apart[place[a], place[b]] for a, b in siblings(free))


def test_the_draw_follows_the_weights_of_the_tree(index: Any, candidates: Candidates) -> None:
    # One negative of an item with its nearest positive: drawn by d^-alpha, alone.
    chooser = NegativeChooser(
        index, WIDE.model_copy(update={'k_negatives': 1}), NegativeSettings(strategy='sadc')
    )
    anchor, positive = pairs_of(index, candidates)
    codes = candidates.codes
    nearest = int(index.distance[codes[anchor], codes[positive]].argmin())
    item = torch.tensor([nearest])
    a, p = anchor[item].repeat(20_000), positive[item].repeat(20_000)
    torch.manual_seed(0)
    for alpha in (0.0, 1.5):
        drawn = chooser.choose(Plan(phase=1, alpha=alpha), a, p, candidates).column.flatten()
        frequency = torch.bincount(drawn, minlength=len(codes)) / 20_000
        anchor_code, positive_code = int(codes[a[0]]), int(codes[p[0]])
        hardness = hardness_of(index, anchor_code, positive_code)
        weight = torch.tensor(
            [
                0.0
                if hardness[c] == 0
                else 1.0
                if hardness[c] == 8
                else (index.distance[anchor_code, c] / 2) ** -alpha
                for c in codes.tolist()
            ]
        )
        torch.testing.assert_close(frequency, (weight / weight.sum()).float(), atol=0.012, rtol=0)


def test_mined_ones_are_the_nearest_and_then_those_of_the_likest_gate(
    index: Any, candidates: Candidates
) -> None:
    # Candidates enough for all codes, so that the draw decides nothing.
    chosen = choose(
        index, candidates, Plan(phase=2, by_distance=0.5, by_router=0.5), candidates=100
    )
    anchor, positive = pairs_of(index, candidates)
    gate = candidates.gate
    assert gate is not None
    for i in range(0, len(anchor), 7):
        a, p = int(anchor[i]), int(positive[i])
        hardness = hardness_of(index, int(candidates.codes[a]), int(candidates.codes[p]))
        allowed = [c for c in range(len(candidates.codes)) if hardness[candidates.codes[c]] > 0]
        by_distance = sorted(
            allowed, key=lambda c: float(distance(candidates.tangent[a], candidates.tangent[c]))
        )[: K // 2]
        rest = [c for c in allowed if c not in by_distance]
        by_router = sorted(rest, key=lambda c: float((gate[a] * (gate[a] / gate[c]).log()).sum()))[
            : K // 2
        ]
        reason = dict(zip(chosen.column[i].tolist(), chosen.reason[i].tolist(), strict=True))
        assert {c for c, why in reason.items() if why == BY_DISTANCE} == set(by_distance)
        assert {c for c, why in reason.items() if why == BY_ROUTER} == set(by_router)


def test_the_cosine_is_another_choice_and_without_experts_all_are_mined_by_distance(
    index: Any, candidates: Candidates
) -> None:
    plan = Plan(phase=2, by_distance=0.5, by_router=0.5)
    kl = choose(index, candidates, plan, candidates=100)
    cosine = choose(index, candidates, plan, candidates=100, router_measure='cosine')
    assert (kl.column.sort(dim=1).values != cosine.column.sort(dim=1).values).any()
    linear = choose(index, candidates._replace(gate=None), plan, candidates=100)
    assert (linear.reason[linear.counts] == BY_DISTANCE).all()


def test_divergences_by_hand() -> None:
    p = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    q = torch.tensor([[0.5, 0.5], [0.25, 0.75]])
    kl = router_divergence(p, q)
    expected = torch.zeros(2, 2, dtype=torch.float64)
    expected[0, 1] = 0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)
    expected[1, 0] = np.log(1 / 0.5)
    expected[1, 1] = np.log(1 / 0.25)
    torch.testing.assert_close(kl, expected, atol=1e-6, rtol=1e-5)
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


def test_candidates_limit_what_is_mined(index: Any, candidates: Candidates) -> None:
    plan = Plan(phase=2, by_distance=1.0)
    every = choose(index, candidates, plan, candidates=100)
    drawn_first = choose(index, candidates, plan, candidates=1)
    near = distance
    a, _ = pairs_of(index, candidates)
    v = candidates.tangent
    means = [
        near(v[a].unsqueeze(1), v[each.column])[each.counts].mean() for each in (every, drawn_first)
    ]
    assert means[0] < 0.9 * means[1]
    # With as many candidates as negatives, mining has no choice: it is the draw.
    draw = choose(index, candidates, Plan(phase=2), candidates=1)
    assert torch.equal(
        drawn_first.column.sort(dim=1).values[drawn_first.counts.all(1)],
        draw.column.sort(dim=1).values[draw.counts.all(1)],
    )


def test_a_static_share_is_of_the_anchor_s_sector(index: Any, candidates: Candidates) -> None:
    for share, expected in ((0.0, 0), (0.5, 3), (1.0, 6)):
        chosen = choose(index, candidates, Plan(near_share=share))
        anchor, positive = pairs_of(index, candidates)
        codes = candidates.codes
        supply = torch.tensor(
            [
                int((hardness_of(index, int(codes[a]), int(codes[p])) > 1).sum())
                for a, p in zip(anchor, positive, strict=True)
            ]
        )
        near = (chosen.hardness > 1).sum(dim=1)
        assert torch.equal(near, supply.clamp_max(expected))
        assert chosen.counts.all()


def clusters_of(index: Any) -> Tensor:
    """Codes that agree in all but their last digit, and the sectors 11 and 22 as one."""
    names = [code[:-1] if len(code) > 2 else 'sector' for code in index.codes]
    known = sorted(set(names))
    return torch.tensor([known.index(name) for name in names])


def test_codes_of_the_anchor_s_cluster_are_left_out_unless_told_apart(
    index: Any, candidates: Candidates
) -> None:
    clusters = clusters_of(index)
    plan = Plan(phase=3, by_distance=1.0, without_false_negatives=True)
    with_them = choose(index, candidates, plan._replace(without_false_negatives=False))
    without = choose(index, candidates, plan, clusters=clusters)
    apart = index.excluded | index.excluded.T

    def mates(chosen: Chosen) -> list[bool]:
        return [
            bool(apart[a, n])
            for a, _, negatives in rows(index, candidates, chosen)
            for n in negatives
            if clusters[a] == clusters[n]
        ]

    assert not all(mates(with_them))
    assert mates(without)
    assert all(mates(without))
    # Their places are taken by others.
    assert int(without.counts.sum()) == int(with_them.counts.sum())
    assert int(without.eliminated.sum()) > 0
    assert torch.equal(without.eligible, with_them.eligible)
    assert int(with_them.eliminated.sum()) == 0
    # Before the plan asks for it, clusters change nothing.
    early = choose(
        index, candidates, plan._replace(without_false_negatives=False), clusters=clusters
    )
    assert torch.equal(early.column, with_them.column)


@pytest.mark.parametrize('how', ['eliminate', 'attract', 'hybrid'])
def test_who_is_attracted(index: Any, candidates: Candidates, how: str) -> None:
    # Clusters across sectors, so that the tree and the clusters disagree.
    clusters = torch.arange(len(index)) % 7
    plan = Plan(phase=3, by_distance=1.0, without_false_negatives=True)
    chosen = choose(index, candidates, plan, clusters=clusters, false_negatives=how)
    anchor, _ = pairs_of(index, candidates)
    codes = candidates.codes
    a, m = codes[anchor][chosen.has_mate], codes[chosen.mate][chosen.has_mate]
    apart = torch.from_numpy(index.excluded | index.excluded.T)
    same_sector = torch.from_numpy(index.distance)[a, m] < 20
    assert bool(chosen.has_mate.any()) == (how != 'eliminate')
    assert (clusters[a] == clusters[m]).all()
    assert (a != m).all()
    assert not apart[a, m].any()
    if how == 'attract':
        assert not same_sector.all()
    if how == 'hybrid':
        assert same_sector.all()
    # None of them is a negative, whichever it is.
    for anchor_code, _, negatives in rows(index, candidates, chosen):
        for n in negatives:
            assert clusters[anchor_code] != clusters[n] or apart[anchor_code, n]


def test_gates_and_masks_go_with_their_codes_in_any_order(
    index: Any, candidates: Candidates
) -> None:
    assert candidates.gate is not None
    order = torch.randperm(len(candidates.codes), generator=torch.Generator().manual_seed(9))
    other = Candidates(
        candidates.codes[order], candidates.tangent[order], candidates.gate[order], 0, len(order)
    )
    plan = Plan(phase=3, by_distance=0.5, by_router=0.5, without_false_negatives=True)
    options: dict[str, Any] = {'clusters': clusters_of(index), 'candidates': 100}
    first, second = (choose(index, each, plan, **options) for each in (candidates, other))
    assert first.counts.all()
    assert second.counts.all()
    assert {(a, p, frozenset(n)) for a, p, n in rows(index, candidates, first)} == {
        (a, p, frozenset(n)) for a, p, n in rows(index, other, second)
    }
    assert int(first.eliminated.sum()) == int(second.eliminated.sum())


def test_in_parts_it_is_the_same_and_a_part_keeps_to_its_bytes(
    index: Any, candidates: Candidates, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan(phase=2, by_distance=0.5, by_router=0.5)
    whole = choose(index, candidates, plan, candidates=100)
    chooser = NegativeChooser(
        index, WIDE, NegativeSettings(strategy='sadc', candidates=100, chunk_mb=1)
    )
    anchor, positive = pairs_of(index, candidates)
    # A megabyte would hold them all: a wider matrix makes it narrow.
    assert chooser.matrix_bytes(10**6, 2000) <= 2**20
    monkeypatch.setattr('naics_model.training.negatives._PER_ENTRY', 2**12)
    assert chooser.matrix_bytes(len(anchor), len(candidates.codes)) <= 2**20
    parts = chooser.choose(plan, anchor, positive, candidates)
    assert torch.equal(parts.column.sort(dim=1).values, whole.column.sort(dim=1).values)
    assert torch.equal(parts.eligible, whole.eligible)


def test_a_code_of_two_ranks_is_a_negative_once_and_from_this_rank(
    index: Any, candidates: Candidates
) -> None:
    n = len(candidates.codes)
    assert candidates.gate is not None
    twice = Candidates(
        candidates.codes.repeat(2),
        torch.cat([candidates.tangent, candidates.tangent + 1e-3]),
        candidates.gate.repeat(2, 1),
        n,
        n,
    )
    chooser = NegativeChooser(index, WIDE, NegativeSettings(strategy='sadc', candidates=100))
    anchor, positive = pairs_of(index, candidates)
    chosen = chooser.choose(Plan(phase=2, by_distance=1.0), anchor + n, positive + n, twice)
    assert (chosen.column[chosen.counts] >= n).all()
    for column, counts in zip(chosen.column, chosen.counts, strict=True):
        names = twice.codes[column[counts]].tolist()
        assert len(set(names)) == len(names)
    # Another rank's own code is taken from the first that has it.
    third = twice._replace(first=0, own=0)
    chosen = chooser.choose(Plan(phase=2, by_distance=1.0), anchor, positive, third)
    assert (chosen.column[chosen.counts] < n).all()


def test_reasons_are_told(index: Any, candidates: Candidates) -> None:
    chosen = choose(index, candidates, Plan(phase=2, by_distance=0.25, by_router=0.25))
    counts = torch.bincount(chosen.reason[chosen.counts].flatten().long(), minlength=3)
    # Of 6, round(3) are mined, round(1.5) of them by the gate.
    per_item = counts / len(chosen.column)
    assert per_item[DRAWN].item() == pytest.approx(3)
    assert per_item[BY_ROUTER].item() == pytest.approx(2)
    assert per_item[BY_DISTANCE].item() == pytest.approx(1)
