"""Confidence: worked by hand where that is possible, and by simulation where it is not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from naics_model.evaluation.calibration import (
    BINS,
    Reliability,
    best_temperature,
    calibration_error,
    confidences,
    reliability,
)


def simulated(queries: int, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Distances, and right codes drawn with the odds that these give at a temperature."""
    generator = np.random.default_rng(seed)
    distance = generator.gamma(4.0, 1.0, (queries, 20))
    odds = softmax(-distance / temperature, axis=1)
    truth = (generator.random((queries, 1)) > odds.cumsum(axis=1)).sum(axis=1)
    return distance, np.minimum(truth, 19)


@pytest.mark.parametrize('temperature', [0.3, 1.0])
def test_the_temperature_that_made_the_answers_is_found(temperature):
    distance, truth = simulated(6000, temperature)
    assert best_temperature(distance, truth) == pytest.approx(temperature, rel=0.06)


def test_who_states_the_true_odds_is_calibrated():
    distance, truth = simulated(6000, 0.5)
    bins = reliability(confidences(distance, truth), distance.argmin(axis=1) == truth)
    assert calibration_error(bins) < 0.03
    assert len(bins) == BINS
    assert sum(each.count for each in bins) == 6000


def test_no_query_has_a_part_in_its_own_temperature():
    distance, truth = simulated(200, 0.5)
    before = confidences(distance, truth)
    # The right code of an even query moves: only the confidence in the odd ones may change.
    moved = truth.copy()
    moved[0] = (moved[0] + 7) % 20
    after = confidences(distance, moved)
    assert (before[::2] == after[::2]).all()
    assert (before[1::2] != after[1::2]).all()


def test_equal_distances_give_equal_shares():
    sure = confidences(np.ones((4, 5)), np.zeros(4, np.intp))
    assert sure == pytest.approx([0.2] * 4)


def test_bins_hold_equally_many_the_least_sure_first():
    confidence = np.array([0.9, 0.1, 0.8, 0.2])
    right = np.array([True, False, False, True])
    assert reliability(confidence, right) == [
        Reliability(0.1, 0.0, 1),
        Reliability(0.2, 1.0, 1),
        Reliability(0.8, 0.0, 1),
        Reliability(0.9, 1.0, 1),
    ]


def test_the_error_weighs_bins_by_their_queries():
    # |.5 - .25| of four and |1 - .5| of two: (4 * .25 + 2 * .5) / 6.
    assert calibration_error([Reliability(0.5, 0.25, 4), Reliability(1.0, 0.5, 2)]) == (
        pytest.approx(2 / 6)
    )
