"""Fitted weights, against an optimiser without a gradient and against the default."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from naics_model.fusion.weights import DEFAULT, fit_weights, fused_distance

Array = NDArray[np.float64]


def problem(seed: int, count: int = 60, codes: int = 9) -> tuple[Array, NDArray[np.int64]]:
    """Return scores (q, c, 5) of which one says the truth, one a half of it, and three nothing."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(codes, size=count)
    scores = generator.normal(size=(count, codes, 5))
    scores[np.arange(count), truth, 0] += 2
    scores[np.arange(count), truth, 1] += 1
    return scores, truth


def cost(weights: Array, scores: Array, truth: NDArray[np.int64]) -> float:
    """Return what is said to be minimised, written out again."""
    right = log_softmax(scores @ weights, axis=1)[np.arange(len(truth)), truth]
    return float(-right.mean() + ((weights - DEFAULT) ** 2).sum() / len(truth))


@pytest.mark.parametrize('seed', [0, 1])
def test_weights_are_those_that_a_search_without_a_gradient_finds(seed: int) -> None:
    scores, truth = problem(seed)
    found = fit_weights(scores, truth)
    options = {'xatol': 1e-7, 'fatol': 1e-12, 'maxiter': 5000, 'maxfev': 5000}
    searched = minimize(
        cost, np.zeros(5), args=(scores, truth), method='Nelder-Mead', options=options
    )
    np.testing.assert_allclose(found, searched.x, atol=2e-3)
    assert found[0] > found[1] > np.abs(found[2:]).max()


def test_few_phrases_move_the_weights_little() -> None:
    scores, truth = problem(1, count=200)
    of_all, of_five = fit_weights(scores, truth), fit_weights(scores[:5], truth[:5])
    # What says nothing loses its weight where there are phrases enough to show it.
    assert np.abs(of_all[2:]).max() < 0.3
    assert np.abs(of_five - DEFAULT).max() < np.abs(of_all - DEFAULT).max()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 30))
def test_fitted_weights_are_no_worse_than_the_default(seed: int, count: int) -> None:
    scores, truth = problem(seed, count)
    found = fit_weights(scores, truth)
    assert np.isfinite(found).all()
    assert cost(found, scores, truth) <= cost(DEFAULT, scores, truth) + 1e-9


def test_signals_that_say_the_same_share_their_weight() -> None:
    scores, truth = problem(3)
    scores[..., 1] = scores[..., 0]
    found = fit_weights(scores, truth)
    assert found[0] == pytest.approx(found[1], abs=1e-3)


def test_the_fused_distance_is_minus_the_weighted_sum() -> None:
    scores = np.array([[[1.0, 2.0, 0.0, 0.0], [0.0, 0.0, 3.0, 4.0]]], np.float32)
    distance = fused_distance(scores, np.array([1.0, 0.5, 2.0, -1.0]))
    assert distance.tolist() == [[-2.0, -2.0]]
