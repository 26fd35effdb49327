"""What a small taxonomy supplies, counted by hand, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from naics_model.curriculum.supply import BucketSupply, StageSupply, advice, stage_supply, verdict
from naics_model.triplets.relation_index import RelationIndex


@pytest.fixture
def index(index_of: Callable[..., RelationIndex]) -> RelationIndex:
    """Two chains: 54 … 54151 with two leaves, and 11 … 111110.

    Only 541511 has a cross-reference, which names 111110. With six-digit positives at most 2.0
    away there are eight pairs, and every farther code is of the other chain:

    * 541511 and 541512 with each other, 54151 and 5415 with 541511: five other codes; 111110 is
      hardness 8 where 541511 is one of the pair, which is all of these four;
    * 54151 and 5415 with 541512: five other codes, all of hardness 1;
    * 11111 and 1111 with 111110: six other codes, all of hardness 1.
    """
    return index_of(['541511', '541512', '111110'], [('541511', '111110')])


NEAR = {'positive_levels': [6], 'positive_distance_max': 2.0}


def test_a_supply_counted_by_hand(index: RelationIndex, stage_of: Callable) -> None:
    shares = {1: 0.5, 8: 0.5}
    stage = stage_of(**NEAR, difficulty_buckets=[1, 8], bucket_percentages=shares, k_negatives=2)
    supply = stage_supply(index, stage, items=5_000, seed=0)
    assert (supply.pairs, supply.too_few, supply.anchors) == (8, 0, 6)
    hardest = supply.buckets[7]
    assert [bucket.hardness for bucket in supply.buckets] == list(range(1, 9))
    assert (hardest.requested, hardest.quota) == (0.5, 1)
    assert (hardest.pairs_with_quota, hardest.pairs_with_none) == (4, 4)
    easiest = supply.buckets[0]
    assert (easiest.pairs_with_quota, easiest.pairs_with_none) == (8, 0)
    # Four pairs give one of each, four give two of hardness 1. With w the weight of the latter
    # together, the miss of both buckets is w / 2, and the weights minimise
    # KL + 200 / 2 * 2 * (w / 2)^2, so that ln((1 - w) / w) = 100 w: w = 0.0336.
    assert hardest.expected == pytest.approx((1 - 0.0336) / 2, abs=0.0002)
    assert hardest.gap == pytest.approx(-0.0168, abs=0.0002)
    assert hardest.drawn == pytest.approx(hardest.expected, abs=0.01)
    assert sum(bucket.drawn for bucket in supply.buckets) == pytest.approx(1)
    # Nearly all weight is on four of the eight: 4 * exp(entropy of w) = 4.64.
    assert supply.effective_pairs == pytest.approx(4.64, abs=0.01)
    assert supply.missed == ()


def test_pairs_with_too_few_negatives_are_counted(index: RelationIndex, stage_of: Callable) -> None:
    stage = stage_of(**NEAR, difficulty_buckets=[1], bucket_percentages={1: 1.0}, k_negatives=6)
    supply = stage_supply(index, stage, items=10, seed=0)
    assert (supply.pairs, supply.too_few, supply.anchors) == (2, 6, 2)
    assert supply.effective_pairs == pytest.approx(2)
    assert supply.buckets[0].drawn == 1


def test_draws_in_parts_are_all_counted(
    index: RelationIndex, stage_of: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('naics_model.curriculum.supply._DRAWN_AT_ONCE', 20)
    stage = stage_of(
        **NEAR, difficulty_buckets=[1, 8], bucket_percentages={1: 0.5, 8: 0.5}, k_negatives=2
    )
    supply = stage_supply(index, stage, items=2_005, seed=0)
    assert supply.items == 2_005
    share = supply.buckets[7].drawn
    assert share * 2 * 2_005 == pytest.approx(round(share * 2 * 2_005)), 'of all 4,010 negatives'
    assert share == pytest.approx(supply.buckets[7].expected, abs=0.02)


def test_fewer_items_are_drawn_of_many_negatives(
    index: RelationIndex, stage_of: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('naics_model.curriculum.supply._COMPARISONS', 250)
    drawn = {}
    for k in (1, 2, 5):
        shares = {'difficulty_buckets': [1], 'bucket_percentages': {1: 1.0}, 'k_negatives': k}
        drawn[k] = stage_supply(index, stage_of(**NEAR, **shares), items=100, seed=0).items
    assert drawn == {1: 100, 2: 62, 5: 10}
    monkeypatch.setattr('naics_model.curriculum.supply._COMPARISONS', 1)
    supply = stage_supply(index, stage_of(**NEAR, **shares), items=100, seed=0)
    assert (supply.items, supply.buckets[0].drawn) == (1, 1.0)


@pytest.fixture
def supply_of(stage_of: Callable) -> Callable[..., StageSupply]:
    """A supply of 1,000 pairs, from (requested, quota, expected, with quota, with none)."""

    def make(k: int, **by_hardness: tuple[float, int, float, int, int]) -> StageSupply:
        shares = {int(key[1:]): values[0] for key, values in by_hardness.items() if values[0]}
        stage = stage_of(difficulty_buckets=list(shares), bucket_percentages=shares, k_negatives=k)
        buckets = tuple(
            BucketSupply(level, requested, quota, expected, expected, whole, none)
            for level in range(1, 9)
            for requested, quota, expected, whole, none in [
                by_hardness.get(f'h{level}', (0.0, 0, 0.0, 1_000, 0))
            ]
        )
        return StageSupply(stage, 1_000, 0, 100, 500.0, 10, buckets)

    return make


def test_a_mix_that_comes_as_asked(supply_of: Callable) -> None:
    supply = supply_of(8, h1=(0.5, 4, 0.549, 1_000, 0), h8=(0.5, 4, 0.451, 900, 50))
    assert supply.missed == ()
    assert verdict(supply) == (
        'Every bucket comes within 5 points of what the stage asks for; the farthest is '
        'hardness 1, 4.9 points above.'
    )
    assert advice(supply) is None


def test_a_bucket_that_few_pairs_have(supply_of: Callable) -> None:
    supply = supply_of(
        8,
        h1=(0.5, 4, 0.598, 1_000, 0),
        h3=(0, 0, 0.002, 1_000, 0),
        h7=(0.25, 2, 0.15, 12, 940),
        h8=(0.25, 2, 0.25, 500, 100),
    )
    assert [bucket.hardness for bucket in supply.missed] == [7, 1]
    assert verdict(supply) == (
        'This mix does not come as asked: hardness 7 gets 15.0% instead of 25.0%, because only 12 '
        'of 1,000 pairs have the 2 negatives of it that an item asks for, and 940 have none.'
    )
    assert advice(supply) == (
        'The nearest that the draws come is, by hardness, 1: 59.8%, 7: 15.0%, 8: 25.0%: keep the '
        'stage if that will do, or else ask less of hardness 7, or choose positives that have such '
        'negatives (docs/curriculum_design_guide.md shows which have).'
    )


def test_a_bucket_that_no_pair_has(supply_of: Callable) -> None:
    supply = supply_of(8, h1=(0.5, 4, 1.0, 1_000, 0), h2=(0.5, 4, 0.0, 0, 1_000))
    assert verdict(supply) == (
        'This mix does not come as asked: hardness 2 gets 0.0% instead of 50.0%, because none of '
        'the 1,000 pairs has a negative of it.'
    )


def test_a_quota_that_no_pair_has_whole(supply_of: Callable) -> None:
    supply = supply_of(8, h1=(0.5, 4, 0.9, 1_000, 0), h2=(0.5, 4, 0.1, 0, 700))
    assert verdict(supply) == (
        'This mix does not come as asked: hardness 2 gets 10.0% instead of 50.0%, because none of '
        'the 1,000 pairs has the 4 negatives of it that an item asks for, and 700 have none.'
    )


def test_many_small_gaps_that_fall_to_one_bucket(supply_of: Callable) -> None:
    supply = supply_of(
        10,
        h1=(0.4, 4, 0.49, 1_000, 0),
        h2=(0.3, 3, 0.26, 400, 300),
        h3=(0.3, 3, 0.25, 400, 300),
    )
    assert verdict(supply) == (
        'This mix does not come as asked: hardness 1 gets 49.0% instead of 40.0%, because it takes '
        'what harder buckets leave.'
    )
    assert 'ask less of hardness 3' in str(advice(supply))


def test_a_k_that_cannot_be_split_so(supply_of: Callable) -> None:
    supply = supply_of(
        2,
        h1=(0.7, 1, 0.5, 1_000, 0),
        h5=(0.2, 1, 0.5, 1_000, 0),
        h8=(0.1, 0, 0.0, 1_000, 0),
    )
    assert 'hardness 8 gets 0.0% instead of 10.0%, because 0 of 2 negatives is as near' in verdict(
        supply
    )
    # Of 3 negatives: 2, 1, 0; of 4: 3, 1, 0; of 5: 3, 1, 1; of 6: 4, 1, 1; of 7: 5, 1, 1; of 8:
    # 5, 2, 1; of 9: 6, 2, 1, which are 66.7, 22.2 and 11.1 %.
    assert advice(supply) == 'Set k_negatives to 9, which can be split so.'


def test_a_bucket_above_its_share_is_named_where_k_is_the_cause(supply_of: Callable) -> None:
    supply = supply_of(
        3,
        h1=(0.5, 1, 0.3, 1_000, 0),
        h5=(0.25, 1, 0.4, 1_000, 0),
        h8=(0.25, 1, 0.3, 400, 300),
    )
    # 8 is too coarse as well, but does not come out more than five points off.
    assert verdict(supply) == (
        'This mix does not come as asked: hardness 1 gets 30.0% instead of 50.0%, because 1 of 3 '
        'negatives is as near as k_negatives allows; hardness 5 gets 40.0% instead of 25.0%, '
        'because 1 of 3 negatives is as near as k_negatives allows.'
    )


def test_five_points_are_not_too_far(supply_of: Callable) -> None:
    # In floats 0.2 - 0.15 is more than 0.05.
    supply = supply_of(10, h1=(0.85, 8, 0.8, 1_000, 0), h8=(0.15, 2, 0.2, 1_000, 0))
    assert supply.missed == ()
    assert '5.0 points above' in verdict(supply)
    short = supply_of(10, h1=(0.85, 8, 0.95, 1_000, 0), h8=(0.15, 2, 0.05, 100, 800))
    assert 'hardness 8 gets 5.0% instead of 15.0%, because only 100 of' in verdict(short)
    assert 'k_negatives' not in f'{verdict(short)} {advice(short)}'
