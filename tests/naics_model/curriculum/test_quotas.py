from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from naics_model.curriculum.quotas import (
    balanced_weights,
    deliver,
    effective_number,
    mix_of,
    quotas,
    shortfall,
    slots,
    tilted_weights,
)


@pytest.mark.parametrize(
    ('shares', 'k', 'expected'),
    [
        ({1: 0.875, 2: 0.125}, 16, {1: 14, 2: 2}),
        # 8, 4, 2.4, 1.6: the last one goes to the greater remainder.
        ({1: 0.50, 2: 0.25, 5: 0.15, 6: 0.10}, 16, {1: 8, 2: 4, 5: 2, 6: 2}),
        # 6.4, 3.2, 1.6, 1.6, 1.6, 0.8, 0.8: of the equal remainders the harder ones win.
        (
            {1: 0.40, 2: 0.20, 3: 0.10, 4: 0.10, 5: 0.10, 6: 0.05, 8: 0.05},
            16,
            {1: 6, 2: 3, 3: 1, 4: 2, 5: 2, 6: 1, 8: 1},
        ),
        # In floats 0.29 * 100 is 28.999999999999996.
        ({1: 0.29, 2: 0.71}, 100, {1: 29, 2: 71}),
    ],
)
def test_quotas_by_the_largest_remainder(
    shares: dict[int, float], k: int, expected: dict[int, int]
) -> None:
    assert quotas(shares, k).tolist() == [expected.get(level, 0) for level in range(9)]


@given(st.dictionaries(st.integers(1, 8), st.integers(1, 100), min_size=1), st.integers(1, 200))
def test_quotas_sum_to_k_and_are_within_one_of_the_share(parts: dict[int, int], k: int) -> None:
    shares = {level: part / sum(parts.values()) for level, part in parts.items()}
    quota = quotas(shares, k)
    assert quota.sum() == k
    for level in range(9):
        assert abs(quota[level] - shares.get(level, 0) * k) < 1


def test_a_short_bucket_falls_to_the_next_easier_one() -> None:
    #                 0  1   2  3  4  5  6  7  8
    quota = np.array([0, 2, 0, 0, 0, 1, 2, 0, 2])
    supply = np.array(
        [
            [0, 99, 9, 9, 9, 9, 9, 9, 9],
            [0, 99, 9, 9, 9, 9, 9, 9, 1],
            [0, 99, 9, 9, 9, 9, 0, 0, 0],
            [0, 99, 0, 0, 0, 0, 0, 0, 0],
            [0, 2, 1, 0, 0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0, 0, 0, 9],
        ]
    )
    assert deliver(supply, quota).tolist() == [
        [0, 2, 0, 0, 0, 1, 2, 0, 2],
        [0, 2, 0, 0, 0, 1, 2, 1, 1],
        [0, 2, 0, 0, 0, 5, 0, 0, 0],
        [0, 7, 0, 0, 0, 0, 0, 0, 0],
        [0, 2, 1, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 2],
    ]


def test_slots_are_hardest_first_and_numbered_within_a_hardness() -> None:
    hardness, rank = slots(np.array([[0, 2, 0, 0, 0, 0, 0, 0, 1], [0, 0, 3, 0, 0, 0, 0, 0, 0]]))
    assert hardness.tolist() == [[8, 1, 1], [2, 2, 2]]
    assert rank.tolist() == [[0, 0, 1], [0, 1, 2]]


def test_pairs_that_all_deliver_the_request_are_drawn_uniformly() -> None:
    quota = np.array([0, 3, 0, 0, 0, 0, 0, 0, 1])
    np.testing.assert_allclose(balanced_weights(np.tile(quota, (5, 1)), quota), 0.2)


def test_rare_pairs_that_supply_a_bucket_are_drawn_more_often() -> None:
    quota = np.array([0, 1, 0, 0, 0, 0, 0, 0, 1])
    taken = np.array([[0, 2, 0, 0, 0, 0, 0, 0, 0]] * 99 + [[0, 0, 0, 0, 0, 0, 0, 0, 2]])
    uniform, balanced = mix_of(taken.mean(axis=0)), mix_of(balanced_weights(taken, quota) @ taken)
    assert uniform[8] == pytest.approx(0.01)
    assert balanced[8] == pytest.approx(0.5, abs=0.05)


def test_a_request_that_one_pair_alone_can_meet_does_not_leave_the_others_out() -> None:
    quota = np.array([0, 0, 0, 0, 0, 0, 0, 0, 4])
    taken = np.array([[0, 4, 0, 0, 0, 0, 0, 0, 0]] * 999 + [[0, 0, 0, 0, 0, 0, 0, 0, 4]])
    weights = balanced_weights(taken, quota)
    assert np.exp(-(weights * np.log(weights)).sum()) >= 50, 'a twentieth of the pairs'
    assert weights[-1] > 100 * weights[0]


def test_the_price_is_raised_where_a_share_is_off_and_pairs_enough_can_mend_it() -> None:
    quota = quotas({1: 0.5, 8: 0.5}, 20)
    taken = np.array([[0, 20, 0, 0, 0, 0, 0, 0, 0]] * 970 + [[0, 10, 0, 0, 0, 0, 0, 0, 10]] * 30)
    left = balanced_weights(taken, quota)
    raised = balanced_weights(taken, quota, quota / quota.sum())
    asked_for_less = balanced_weights(taken, quota, mix(left @ taken))
    assert mix(left @ taken)[8] < 0.45 < mix(raised @ taken)[8]
    assert effective_number(raised) >= 50, 'a twentieth of the pairs'
    np.testing.assert_array_equal(asked_for_less, left, 'what is near enough is left alone')


def test_the_price_is_raised_only_while_the_draws_stay_spread() -> None:
    # Each of the last 40 gives one of hardness 8, of 20 that are asked for: all weight on them
    # would not be enough.
    quota = np.array([0, 20, 0, 0, 0, 0, 0, 0, 20])
    taken = np.array([[0, 40, 0, 0, 0, 0, 0, 0, 0]] * 960 + [[0, 39, 0, 0, 0, 0, 0, 0, 1]] * 40)
    weights = balanced_weights(taken, quota, mix(quota))
    np.testing.assert_allclose(weights, tilted_weights(taken, quota, 250.0))
    assert effective_number(weights) > 50, 'a twentieth of the pairs'
    dearer = tilted_weights(taken, quota, 312.5)
    assert effective_number(dearer) < 50
    assert mix(weights @ taken)[8] < mix(dearer @ taken)[8] < 0.05, 'it would have helped'


def test_the_price_is_not_raised_where_that_does_not_help() -> None:
    # One negative cannot be split: the quota itself is farther from the request than these draws.
    quota = np.array([0, 1, 0, 0, 0, 0, 0, 0, 0])
    requested = np.array([0, 0.56, 0, 0, 0, 0, 0, 0, 0.44])
    taken = np.repeat(np.eye(9, dtype=int)[[1, 8]], 50, axis=0)
    weights = balanced_weights(taken, quota, requested)
    np.testing.assert_allclose(weights, tilted_weights(taken, quota, 200.0))
    dearer = tilted_weights(taken, quota, 250.0)
    assert effective_number(dearer) > 5
    assert mix(dearer @ taken)[1] > mix(weights @ taken)[1] > 0.61


def test_the_price_is_raised_to_500_at_most() -> None:
    # Half of the pairs give a little of what is asked for, so that dearer always helps a little.
    quota = np.array([0, 50, 0, 0, 0, 0, 0, 0, 50])
    kinds = [[0, 100, 0, 0, 0, 0, 0, 0, 0], [0, 99, 0, 0, 0, 0, 0, 0, 1]]
    taken = np.repeat(kinds, 50, axis=0)
    weights = balanced_weights(taken, quota, mix(quota))
    np.testing.assert_allclose(weights, tilted_weights(taken, quota, 500.0))
    dearer = tilted_weights(taken, quota, 501.0)
    assert effective_number(dearer) > 5
    assert mix(weights @ taken)[8] < mix(dearer @ taken)[8] < 0.45


def test_the_price_is_lowered_as_far_as_it_takes() -> None:
    # One pair of a million delivers anything of what is asked for.
    quota = np.array([0, 0, 0, 0, 0, 0, 0, 0, 1])
    kinds, count = np.eye(9, dtype=np.uint8)[[1, 8]], np.array([999_999, 1])
    weights = balanced_weights(np.repeat(kinds, count, axis=0), quota)
    assert effective_number(weights) > 50_000, 'a twentieth of the pairs'
    np.testing.assert_allclose(weights[[0, -1]], tilted_weights(kinds, quota, 6.25, count) / count)
    assert effective_number(tilted_weights(kinds, quota, 12.5, count), count) < 50_000


def mix(counts: np.ndarray) -> np.ndarray:
    return counts / counts.sum()


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 40),
    st.integers(1, 20),
    st.sampled_from((1.0, 20.0, 200.0)),
)
def test_weights_are_the_minimum_that_the_docstring_states(
    seed: int, pairs: int, k: int, price: float
) -> None:
    generator = np.random.default_rng(seed)
    shares = generator.dirichlet(np.ones(8))
    quota = quotas(dict(enumerate(shares, start=1)), k)
    taken = deliver(
        np.column_stack([np.zeros(pairs, int), generator.integers(0, 4, (pairs, 8))]), quota
    )
    taken[:, 1] += k - taken.sum(axis=1)
    weights = tilted_weights(taken, quota, price)
    assert weights.sum() == pytest.approx(1)
    assert (weights > 0).all(), 'no pair is left out'

    def cost(w: np.ndarray) -> float:
        miss = w @ taken / k - quota / k
        return float(w @ np.log(w * pairs) + price / 2 * miss @ miss)

    for _ in range(10):
        other = weights * np.exp(generator.normal(size=pairs) * 10.0 ** generator.integers(-4, 1))
        assert cost(weights) <= cost(other / other.sum()) + 1e-9


def test_an_effective_number_counts_equal_things_and_less_of_unequal_ones() -> None:
    assert effective_number(np.full(5, 0.2)) == pytest.approx(5)
    # One of a half, and two that share the other half.
    assert effective_number(np.array([0.5, 0.5]), np.array([1, 2])) == pytest.approx(8**0.5)
    assert effective_number(np.array([0.5, 0.25, 0.25])) == pytest.approx(8**0.5)


def test_a_mix_is_the_share_of_each_hardness() -> None:
    mix = mix_of(np.array([0, 3, 0, 0, 0, 0, 0, 0, 1]))
    assert mix == {1: 0.75, 2: 0, 3: 0, 4: 0, 5: 0, 6: 0, 7: 0, 8: 0.25}


def test_a_shortfall_names_the_buckets_that_are_too_far_below() -> None:
    requested = {1: 0.4, 2: 0.3, 8: 0.3}
    assert shortfall(requested, {1: 0.45, 2: 0.26, 8: 0.29}) is None
    assert shortfall(requested, {1: 0.7, 2: 0.29, 8: 0.01}) == (
        'The taxonomy cannot supply this mix: 1.0% instead of 30.0% of hardness 8.'
    )
