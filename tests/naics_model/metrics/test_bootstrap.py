"""The paired bootstrap: by hand, by its properties, and against scipy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from naics_model.errors import DataError
from naics_model.metrics import bootstrap
from naics_model.metrics.bootstrap import paired_bootstrap

PAIRS = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30)


def test_every_draw_of_two_questions() -> None:
    # Differences 1 and 0: a draw has mean 1, 1/2 or 0 with chances 1/4, 1/2, 1/4.
    found = paired_bootstrap([1, 0], [0, 0])
    assert (found.a, found.b, found.difference) == (0.5, 0, 0.5)
    assert (found.low, found.high) == (0, 1)
    # A quarter of the draws has no difference, and counts half.
    assert found.flips == pytest.approx(1 / 8, abs=0.02)


def test_the_distribution_of_three_questions_is_the_exact_one() -> None:
    apart = np.array([0.5, -0.25, 0.0])
    exact = [sum(drawn) / 3 for drawn in itertools.product(apart, repeat=3)]
    found = paired_bootstrap(apart, np.zeros(3), draws=100_000)
    assert (found.low, found.high) == pytest.approx(
        # One of 27 draws is all -1/4, and as many all 1/2: more than 2.5 %.
        (min(exact), max(exact))
    )
    below = np.mean([value < 0 for value in exact]) + np.mean([value == 0 for value in exact]) / 2
    assert found.flips == pytest.approx(below, abs=0.01)


@pytest.mark.parametrize('kind', ['hits', 'ranks'])
def test_as_scipy_has_it(kind: str) -> None:
    generator = np.random.default_rng(1)
    a, b = (1 / generator.integers(1, 9, size=150) for _ in 'ab')
    if kind == 'hits':
        a, b = (a == 1) * 1.0, (b == 1) * 1.0
    found = paired_bootstrap(a, b, draws=20_000)
    other = stats.bootstrap(
        (a, b),
        lambda x, y, axis: (x - y).mean(axis=axis),
        paired=True,
        vectorized=True,
        method='percentile',
        n_resamples=20_000,
        rng=np.random.default_rng(2),
    )
    width = found.high - found.low
    interval = (other.confidence_interval.low, other.confidence_interval.high)
    assert (found.low, found.high) == pytest.approx(interval, abs=0.04 * width)
    signs = np.sign(other.bootstrap_distribution) * np.sign(found.difference)
    assert found.flips == pytest.approx((signs < 0).mean() + (signs == 0).mean() / 2, abs=0.02)


def test_groups_are_drawn_whole() -> None:
    # Two groups, of three questions and of one: a draw is AA, AB, BA or BB.
    found = paired_bootstrap([1, 1, 1, 0], [0, 0, 0, 1], groups=['x', 'x', 'x', 'y'])
    assert found.difference == 0.5
    assert (found.low, found.high) == (-1, 1)
    # Only BB has the other sign: AB has (3 - 1) / 4.
    assert found.flips == pytest.approx(1 / 4, abs=0.02)


def test_questions_that_repeat_each_other_tell_nothing_new() -> None:
    generator = np.random.default_rng(3)
    a, b = generator.random((2, 40))
    once = paired_bootstrap(a, b)
    five = [np.tile(scores, 5) for scores in (a, b)]
    alone, grouped = (
        paired_bootstrap(*five),
        paired_bootstrap(*five, groups=np.tile(np.arange(40), 5)),
    )
    assert (grouped.low, grouped.high) == pytest.approx((once.low, once.high), abs=1e-9)
    assert alone.high - alone.low < 0.6 * (once.high - once.low)


@settings(max_examples=50, deadline=None)
@given(PAIRS, st.integers(0, 3))
def test_the_other_way_round_signs_change(pairs: list[tuple[float, float]], seed: int) -> None:
    a, b = np.array(pairs).T
    one = paired_bootstrap(a, b, draws=200, seed=seed)
    other = paired_bootstrap(b, a, draws=200, seed=seed)
    assert other.difference == -one.difference
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low), abs=1e-12)
    assert other.flips == one.flips
    assert 0 <= one.flips <= 1


@settings(max_examples=50, deadline=None)
@given(PAIRS, st.booleans())
def test_a_method_is_as_good_as_itself(pairs: list[tuple[float, float]], grouped: bool) -> None:
    scores, _ = np.array(pairs).T
    groups = np.arange(len(scores)) // 2 if grouped else None
    found = paired_bootstrap(scores, scores, groups, draws=50)
    assert (found.difference, found.low, found.high, found.flips) == (0, 0, 0, 0)


@settings(max_examples=50, deadline=None)
@given(PAIRS)
def test_groups_of_one_are_no_groups(pairs: list[tuple[float, float]]) -> None:
    a, b = np.array(pairs).T
    names = [f'question {number}' for number in range(len(a))]
    assert paired_bootstrap(a, b, names, draws=50) == paired_bootstrap(a, b, draws=50)


def test_chunks_change_nothing_but_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = np.random.default_rng(4).random((2, 30))
    whole = paired_bootstrap(a, b, draws=100)
    for chunk in (1, 7 * 30):
        monkeypatch.setattr(bootstrap, '_CHUNK', chunk)
        assert paired_bootstrap(a, b, draws=100) == whole


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (([], []), 'one score of each method for each question'),
        (([1, 0], [1]), r'shapes \(2,\) and \(1,\)'),
        (([[1]], [[1]]), 'pass two rows of one length'),
        (([1, np.nan], [1, 0]), 'not a finite number'),
        (([1, 0], [1, 0], ['x']), '1 groups for 2 questions'),
        (([1, 0], [1, 0], None, 0), '0 draws give no interval'),
    ],
)
def test_what_cannot_be_compared_is_refused(arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(DataError, match=said):
        paired_bootstrap(*arguments)
