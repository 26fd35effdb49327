"""Distortions against hand-worked values, a minimiser and brute force."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from naics_model.evaluation.distortion import average_distortion, worst_distortion
from naics_model.taxonomy.distances import tree_distances

values = st.floats(0, 100, allow_nan=False).map(lambda x: round(x, 2))


# --- by hand ---


def test_average_distortion_by_hand():
    # D/T = 4, 2, 2, 1; the best scale is 2: deviations 1, 0, 0, .5.
    distortion, scale = average_distortion(np.array([4.0, 4, 2, 3]), np.array([1.0, 2, 1, 3]))
    assert scale == 2.0
    assert distortion == pytest.approx(1.5 / 4)


def test_distortions_of_seven_codes(seven):
    taxonomy, distance, _ = seven
    pairs = np.triu_indices(7, k=1)
    d, t = distance[pairs], tree_distances(taxonomy)[pairs].astype(np.float64)
    # Most stretched: 11-21 by 7 / 2, then 112-21 by 9 / 3. Least: 1111-1112 by .5 / 2, then
    # 1112-211 by 1.5 / 5. Of 21 ratios a twentieth at either end is one.
    assert worst_distortion(d, t) == pytest.approx(3.5 / 0.25)
    assert worst_distortion(d, t, 0.05) == pytest.approx(3 / 0.3)


def test_codes_that_coincide_are_infinitely_distorted():
    t = np.arange(1.0, 11)
    d = t.copy()
    d[3] = 0
    assert worst_distortion(d, t) == np.inf
    # The tenth at either end is one of the ten, and a little of the next.
    assert worst_distortion(d, t, 0.15) == pytest.approx(1.0)
    assert worst_distortion(np.zeros(10), t, 0.15) == np.inf


# --- oracles ---


@given(arrays(np.float64, st.integers(1, 30), elements=values), st.integers(0, 99))
def test_worst_distortion_is_the_largest_of_all_comparisons(d, seed):
    t = np.random.default_rng(seed).integers(1, 11, len(d)).astype(np.float64)
    if (d == 0).any():
        assert worst_distortion(d, t) == np.inf
        return
    expected = max(
        (a / s) / (b / u) for a, s in zip(d, t, strict=True) for b, u in zip(d, t, strict=True)
    )
    assert worst_distortion(d, t) == pytest.approx(expected)
    assert 1 <= worst_distortion(d, t, 0.2) <= worst_distortion(d, t) + 1e-9


@given(arrays(np.float64, st.integers(1, 30), elements=values), st.integers(0, 99))
def test_distortion_is_the_smallest_over_all_scales(d, seed):
    t = np.random.default_rng(seed).integers(1, 11, len(d)).astype(np.float64)
    distortion, _ = average_distortion(d, t)
    ratios = (d / t)[d > 0]
    for scale in ratios:
        assert distortion <= np.abs(d / (scale * t) - 1).mean() + 1e-12


def test_distortion_agrees_with_a_numerical_minimiser():
    rng = np.random.default_rng(4)
    t = rng.integers(1, 11, 5000).astype(np.float64)
    d = t * rng.lognormal(0.3, 0.4, 5000)
    found = scipy.optimize.minimize_scalar(
        lambda s: np.abs(d / (s * t) - 1).mean(), bounds=(0.1, 10), method='bounded'
    )
    distortion, scale = average_distortion(d, t)
    assert distortion == pytest.approx(found.fun, rel=1e-5)
    assert scale == pytest.approx(found.x, rel=1e-2)
