from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from naics_model.curriculum.pool import compose
from naics_model.curriculum.quotas import deliver, mix_of
from naics_model.curriculum.sampler import TripletSampler
from naics_model.errors import ConfigurationError


def test_every_pooled_item_is_a_row_of_the_triplets_with_the_quotas_of_the_pool(
    any_index: Callable, stage_of: Callable, brute_hardness: Callable
) -> None:
    seen: Counter[int] = Counter()

    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(0, 60))
    def check(seed: int, k: int, more: int) -> None:
        index = any_index(seed)
        sampler = TripletSampler(index, stage_of(k_negatives=k, max_positives=5), seed=seed)
        codes, anchor, positive, negatives, hardness = compose(
            sampler, pool_size=k + 2 + more, items=30
        )
        assert len(codes) <= k + 2 + more
        assert (np.diff(codes) > 0).all()
        assert negatives.shape == hardness.shape == (30, k)
        for a, p, chosen, levels in zip(
            codes[anchor], codes[positive], codes[negatives], hardness, strict=True
        ):
            assert sampler.admitted[a, p]
            assert len(set(chosen.tolist())) == k
            assert [brute_hardness(index, a, p, n) for n in chosen] == levels.tolist()
            supply = np.bincount([brute_hardness(index, a, p, n) for n in codes], minlength=9)
            expected = deliver(supply[None], sampler.quota)[0]
            assert np.bincount(levels, minlength=9)[1:].tolist() == expected[1:].tolist()
            seen.update(levels.tolist())

    check()
    assert set(seen) == set(range(1, 9))


def test_few_codes_serve_many_different_items(any_index: Callable, stage_of: Callable) -> None:
    sampler = TripletSampler(any_index(1, leaves=300), stage_of(), seed=1)
    batch = compose(sampler, pool_size=64, items=512)
    assert len(batch.codes) <= 64
    pairs = set(zip(batch.anchor.tolist(), batch.positive.tolist(), strict=True))
    assert len(pairs) > 64, 'more pairs than the pool has codes'
    negatives = {tuple(sorted(row)) for row in batch.negatives.tolist()}
    assert len(negatives) > 256
    mix = mix_of(np.bincount(batch.hardness.ravel(), minlength=9))
    assert mix == pytest.approx(sampler.expected_mix, abs=0.05)


def test_no_two_ranks_draw_the_same_pair(any_index: Callable, stage_of: Callable) -> None:
    index = any_index(1, leaves=300)
    ranks = [
        TripletSampler(index, stage_of(), seed=1, rank=rank, world_size=3) for rank in range(3)
    ]
    drawn: list[set[tuple[int, int]]] = []
    for sampler in ranks:
        pools = [compose(sampler, pool_size=64, items=512) for _ in range(10)]
        drawn.append(
            {
                pair
                for codes, anchor, positive, *_ in pools
                for pair in zip(codes[anchor].tolist(), codes[positive].tolist(), strict=True)
            }
        )
        mix = mix_of(sum(np.bincount(pool.hardness.ravel(), minlength=9) for pool in pools))
        assert mix == pytest.approx(sampler.expected_mix, abs=0.05)
    assert all(len(pairs) > 100 for pairs in drawn)
    assert len(set.union(*drawn)) == sum(map(len, drawn))


def test_a_pool_admits_every_pair_of_its_rank_and_none_is_lost(
    any_index: Callable, stage_of: Callable
) -> None:
    index = any_index(1)
    alone = TripletSampler(index, stage_of(), seed=1)
    assert alone.admitted[alone.pairs.anchor, alone.pairs.positive].all()
    assert alone.admitted.sum() == len(alone.pairs)
    ranks = [
        TripletSampler(index, stage_of(), seed=1, rank=rank, world_size=3) for rank in range(3)
    ]
    np.testing.assert_array_equal(
        sum(sampler.admitted.astype(int) for sampler in ranks), alone.admitted
    )


def test_negatives_in_the_pool_are_equally_likely_within_a_hardness(
    any_index: Callable, stage_of: Callable
) -> None:
    index = any_index(1)
    stage = stage_of(difficulty_buckets=[1], bucket_percentages={1: 1.0}, k_negatives=4)
    sampler = TripletSampler(index, stage, seed=1)
    batch = compose(sampler, pool_size=40, items=20_000)
    (anchor, positive), count = Counter(
        zip(batch.anchor.tolist(), batch.positive.tolist(), strict=True)
    ).most_common(1)[0]
    items = (batch.anchor == anchor) & (batch.positive == positive)
    drawn = np.bincount(batch.negatives[items].ravel(), minlength=len(batch.codes))
    drawn = drawn[drawn > 0]
    rate = 4 / len(drawn)
    assert len(drawn) > 8
    assert np.abs(drawn - count * rate).max() < 4.5 * np.sqrt(count * rate * (1 - rate))


def test_a_re_seeded_stream_gives_equal_pools(any_index: Callable, stage_of: Callable) -> None:
    index = any_index(1)
    composed_from, fresh = (TripletSampler(index, stage_of(), seed=7) for _ in range(2))
    compose(composed_from, pool_size=50, items=20)
    for sampler in (composed_from, fresh):
        sampler.generator.bit_generator.state = np.random.default_rng(3).bit_generator.state
    expected, found = (compose(s, pool_size=50, items=20) for s in (composed_from, fresh))
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_pool_too_small_for_one_item_is_refused(any_index: Callable, stage_of: Callable) -> None:
    sampler = TripletSampler(any_index(1), stage_of(k_negatives=8), seed=1)
    assert compose(sampler, pool_size=10, items=3).negatives.shape == (3, 8)
    with pytest.raises(ConfigurationError, match='one item of stage every needs 10'):
        compose(sampler, pool_size=9, items=3)


def test_a_step_without_items_is_refused(any_index: Callable, stage_of: Callable) -> None:
    sampler = TripletSampler(any_index(1), stage_of(k_negatives=8), seed=1)
    with pytest.raises(
        ConfigurationError, match=r'^0 items cannot be drawn: ask for at least 1\.$'
    ):
        compose(sampler, pool_size=40, items=0)


def test_a_pool_may_be_larger_than_the_taxonomy(index_of: Callable, stage_of: Callable) -> None:
    index = index_of(['541511', '541512', '541611', '111110', '111120'])
    sampler = TripletSampler(index, stage_of(k_negatives=3), seed=1)
    batch = compose(sampler, pool_size=500, items=10)
    assert len(batch.codes) <= len(index)
