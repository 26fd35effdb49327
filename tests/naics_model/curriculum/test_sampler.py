from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from naics_model.curriculum.quotas import deliver, shortfall
from naics_model.curriculum.sampler import TripletSampler
from naics_model.errors import ConfigurationError


def test_every_item_is_a_row_of_the_triplets_without_repetition(
    any_index: Callable, stage_of: Callable, brute_hardness: Callable
) -> None:
    seen: Counter[int] = Counter()

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 2**32 - 1), st.integers(1, 30))
    def check(seed: int, k: int) -> None:
        index = any_index(seed)
        sampler = TripletSampler(index, stage_of(k_negatives=k), seed=seed)
        anchor, positive, negatives, hardness = sampler.draw(40)
        assert negatives.shape == hardness.shape == (40, k)
        for a, p, chosen, levels in zip(anchor, positive, negatives, hardness, strict=True):
            assert len(set(chosen.tolist())) == k
            assert [brute_hardness(index, a, p, n) for n in chosen] == levels.tolist()
            assert sorted(levels.tolist(), reverse=True) == levels.tolist(), 'hardest first'
            supply = np.bincount(
                [brute_hardness(index, a, p, n) for n in range(len(index))], minlength=9
            )
            expected = deliver(supply[None], sampler.quota)[0]
            assert np.bincount(levels, minlength=9)[1:].tolist() == expected[1:].tolist()
            seen.update(levels.tolist())

    check()
    assert set(seen) == set(range(1, 9))


def test_negatives_of_one_hardness_are_equally_likely(
    any_index: Callable, stage_of: Callable, brute_hardness: Callable
) -> None:
    index = any_index(5, exclusions=400)
    sampler = TripletSampler(index, stage_of(k_negatives=8), seed=1)
    anchor, positive, negatives, _ = sampler.draw(120_000)
    pairs = Counter(zip(anchor.tolist(), positive.tolist(), strict=True))
    # The most frequent pair that cross-references touch, and that has several of them.
    a, p = next(
        pair
        for pair, _ in pairs.most_common()
        if sum(brute_hardness(index, *pair, n) == 8 for n in range(len(index))) > 3
    )
    items = (anchor == a) & (positive == p)
    drawn = np.bincount(negatives[items].ravel(), minlength=len(index))
    levels = np.array([brute_hardness(index, a, p, n) for n in range(len(index))])
    for level in range(1, 9):
        counts = drawn[levels == level]
        if counts.sum():
            rate = counts.mean() / items.sum()
            error = np.sqrt(items.sum() * rate * (1 - rate))
            assert np.abs(counts - counts.mean()).max() <= 4.5 * error + 1e-9, level


def test_positives_keep_to_the_filter_with_both_ends_included(
    index_of: Callable, stage_of: Callable
) -> None:
    index = index_of(['541511', '541512', '541611', '111110', '111120', '111210'])
    stage = stage_of(
        positive_levels=[5, 6], positive_distance_min=0.5, positive_distance_max=2.0, k_negatives=3
    )
    pairs = TripletSampler(index, stage, seed=1).pairs
    found = {
        (index.codes[a], index.codes[p], float(index.distance[a, p]) / 2)
        for a, p in zip(pairs.anchor, pairs.positive, strict=True)
    }
    assert ('541511', '541512', 2.0) in found
    assert ('541511', '54151', 0.5) in found
    assert ('5415', '541511', 1.5) in found
    assert {len(code) for _, code, _ in found} == {5, 6}
    assert {distance for *_, distance in found} == {0.5, 1.5, 2.0}


def test_at_most_max_positives_of_an_anchor(any_index: Callable, stage_of: Callable) -> None:
    index = any_index(3)
    every = TripletSampler(index, stage_of(), seed=1).pairs
    limited = TripletSampler(index, stage_of(max_positives=2), seed=1).pairs
    counts = np.bincount(every.anchor)
    np.testing.assert_array_equal(np.bincount(limited.anchor), np.minimum(counts, 2))
    pairs = set(zip(every.anchor, every.positive, strict=True))
    assert set(zip(limited.anchor, limited.positive, strict=True)) < pairs
    again = TripletSampler(index, stage_of(max_positives=2), seed=2).pairs
    assert again.positive.tolist() != limited.positive.tolist()


def test_equal_seeds_give_equal_items_and_others_do_not(
    any_index: Callable, stage_of: Callable
) -> None:
    index = any_index(1)
    first, same, other = (TripletSampler(index, stage_of(), seed=s) for s in (7, 7, 8))
    batch = first.draw(50)
    assert _equal(batch, same.draw(50))
    assert not _equal(batch, other.draw(50))
    assert not _equal(batch, first.draw(50)), 'the stream goes on'


def test_ranks_share_the_pairs_out(any_index: Callable, stage_of: Callable) -> None:
    index = any_index(2)
    samplers = [TripletSampler(index, stage_of(), seed=3, rank=r, world_size=3) for r in range(3)]
    drawn = [set(zip(*sampler.draw(20_000)[:2], strict=True)) for sampler in samplers]
    assert not drawn[0] & drawn[1]
    assert not drawn[0] & drawn[2]
    assert not drawn[1] & drawn[2]
    pairs = samplers[0].pairs
    assert set.union(*drawn) <= set(zip(pairs.anchor, pairs.positive, strict=True))
    whole = TripletSampler(index, stage_of(), seed=3).expected_mix
    for sampler in samplers:
        assert sampler.expected_mix == pytest.approx(whole, abs=0.02)


def test_ranks_leave_no_pair_out(index_of: Callable, stage_of: Callable) -> None:
    # Few pairs, all of one kind, so that each rank soon draws all of its own.
    index = index_of(['111110', '111120', '541511', '541512', '541611'])
    stage = stage_of(difficulty_buckets=[1], bucket_percentages={1: 1.0}, k_negatives=1)
    samplers = [TripletSampler(index, stage, seed=3, rank=r, world_size=5) for r in range(5)]
    drawn = [set(zip(*sampler.draw(2_000)[:2], strict=True)) for sampler in samplers]
    pairs = samplers[0].pairs
    every = set(zip(pairs.anchor, pairs.positive, strict=True))
    assert set.union(*drawn) == every
    assert sum(map(len, drawn)) == len(every) > 50


def test_ranks_agree_on_the_positives_that_a_limit_leaves(
    any_index: Callable, stage_of: Callable
) -> None:
    stage = stage_of(max_positives=2)
    first, second = (
        TripletSampler(any_index(3), stage, seed=1, rank=rank, world_size=2) for rank in range(2)
    )
    np.testing.assert_array_equal(first.pairs.anchor, second.pairs.anchor)
    np.testing.assert_array_equal(first.pairs.positive, second.pairs.positive)


def test_a_rank_draws_the_same_again_and_not_what_another_draws(
    any_index: Callable, stage_of: Callable
) -> None:
    index = any_index(1)

    def draw(rank: int) -> tuple[np.ndarray, ...]:
        return TripletSampler(index, stage_of(), seed=7, rank=rank, world_size=2).draw(50)

    assert _equal(draw(1), draw(1))
    assert not _equal(draw(0), draw(1))


def test_a_stream_goes_on_from_a_saved_state(any_index: Callable, stage_of: Callable) -> None:
    index = any_index(1)
    sampler = TripletSampler(index, stage_of(), seed=7, rank=1, world_size=2)
    sampler.draw(13)
    state = sampler.generator.bit_generator.state
    expected = [sampler.draw(40), sampler.draw(5)]
    resumed = TripletSampler(index, stage_of(), seed=7, rank=1, world_size=2)
    resumed.generator.bit_generator.state = state
    assert all(_equal(resumed.draw(len(batch.anchor)), batch) for batch in expected)


def test_a_re_seeded_stream_is_the_same_whatever_was_drawn_before(
    any_index: Callable, stage_of: Callable
) -> None:
    index = any_index(1)
    drawn_from, fresh = (TripletSampler(index, stage_of(), seed=7) for _ in range(2))
    drawn_from.draw(13)
    for sampler in (drawn_from, fresh):
        sampler.generator.bit_generator.state = np.random.default_rng(3).bit_generator.state
    assert _equal(drawn_from.draw(40), fresh.draw(40))


def test_the_expected_mix_is_what_many_draws_have(any_index: Callable, stage_of: Callable) -> None:
    sampler = TripletSampler(any_index(6), stage_of(), seed=1)
    hardness = sampler.draw(40_000).hardness
    drawn = np.bincount(hardness.ravel(), minlength=9)[1:] / hardness.size
    np.testing.assert_allclose(drawn, list(sampler.expected_mix.values()), atol=0.005)


def test_effective_pairs_are_those_of_the_draws(any_index: Callable, stage_of: Callable) -> None:
    sampler = TripletSampler(any_index(6), stage_of(), seed=1)
    batch = sampler.draw(200_000)
    counts = np.bincount(batch.anchor * len(sampler.index) + batch.positive)
    rates = counts[counts > 0] / 200_000
    assert sampler.effective_pairs == pytest.approx(np.exp(-(rates @ np.log(rates))), rel=0.02)
    assert sampler.effective_pairs < len(sampler.pairs)


def test_pairs_with_fewer_negatives_than_k_are_left_out_and_counted(
    index_of: Callable, stage_of: Callable, brute_hardness: Callable
) -> None:
    index = index_of(['541511', '541512', '541611', '111110', '111120'])
    n = len(index)
    supply = {
        (a, p): sum(brute_hardness(index, a, p, x) > 0 for x in range(n))
        for a in range(n)
        for p in range(n)
        if 0 < index.distance[a, p] < 20
    }
    # Every bucket may fall to bucket 1, so that enough negatives in all are enough.
    stage = stage_of(difficulty_buckets=[7], bucket_percentages={7: 1.0}, k_negatives=9)
    pairs = TripletSampler(index, stage, seed=1).pairs
    enough = {pair for pair, count in supply.items() if count >= 9}
    assert set(zip(pairs.anchor.tolist(), pairs.positive.tolist(), strict=True)) <= enough
    assert 0 < pairs.too_few == len(supply) - len(pairs)


def test_what_a_taxonomy_cannot_give_is_told_in_a_sentence(
    index_of: Callable, stage_of: Callable
) -> None:
    index = index_of(['541511', '111110'])
    with pytest.raises(ConfigurationError, match='leaves no pair of anchor and positive'):
        TripletSampler(index, stage_of(positive_distance_min=5.0), seed=1)
    with pytest.raises(ConfigurationError, match='has as many: lower k_negatives'):
        TripletSampler(index, stage_of(k_negatives=20), seed=1)
    with pytest.raises(ConfigurationError, match='too few for 1000 processes'):
        TripletSampler(index, stage_of(k_negatives=2), seed=1, world_size=1000)
    with pytest.raises(ConfigurationError, match='Rank 2 is not one of 0 to 1'):
        TripletSampler(index, stage_of(k_negatives=2), seed=1, rank=2, world_size=2)
    with pytest.raises(ConfigurationError, match=r'^Seed -1 is negative: take 0 or'):
        TripletSampler(index, stage_of(k_negatives=2), seed=-1)
    sampler = TripletSampler(index, stage_of(k_negatives=2), seed=1)
    for items in (0, -1):
        with pytest.raises(ConfigurationError, match=f'^{items} items cannot be drawn: ask for at'):
            sampler.draw(items)


def test_a_shortfall_is_known_before_the_first_draw(index_of: Callable, stage_of: Callable) -> None:
    # Without cross-references there is no hardness 8, and its share falls to easier buckets.
    index = index_of(['541511', '541512', '541611', '111110', '111120'])
    stage = stage_of(difficulty_buckets=[1, 8], bucket_percentages={1: 0.5, 8: 0.5}, k_negatives=4)
    sampler = TripletSampler(index, stage, seed=1)
    assert sampler.requested_mix[8] == 0.5
    assert sampler.expected_mix[8] == 0
    sentence = shortfall(sampler.requested_mix, sampler.expected_mix)
    assert sentence is not None
    assert '0.0% instead of 50.0% of hardness 8' in sentence


def _equal(a: tuple[np.ndarray, ...], b: tuple[np.ndarray, ...]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
