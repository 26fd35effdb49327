"""Exclusions: does a sentence stand nearer the code that it names?"""

from __future__ import annotations

import numpy as np
import pytest

from naics_model.errors import DataError
from naics_model.evaluation.exclusions import exclusion_metrics


def test_exclusions_by_hand():
    # Code 3 excludes three times: nearer the target, as near (against it), farther. Code 8 once.
    to_target, to_code = np.array([1.0, 2, 3, 1]), np.array([2.0, 2, 1, 4])
    figures = exclusion_metrics(to_target, to_code, np.array([3, 3, 3, 8]))
    assert figures == pytest.approx(
        {'nearer_target': 2 / 4, 'macro_nearer_target': (1 / 3 + 1) / 2}
    )


def test_who_recognises_only_whose_text_it_is_has_none_right():
    rng = np.random.default_rng(0)
    to_code, code = rng.random(20), rng.integers(0, 5, 20)
    assert exclusion_metrics(to_code + 1, to_code, code)['nearer_target'] == 0.0
    assert exclusion_metrics(to_code, to_code, code)['nearer_target'] == 0.0
    assert exclusion_metrics(to_code, to_code + 1, code)['macro_nearer_target'] == 1.0


def test_guessing_has_half_of_them_right():
    rng = np.random.default_rng(1)
    figures = exclusion_metrics(rng.random(10_000), rng.random(10_000), np.arange(10_000) % 900)
    # Four standard errors of a coin thrown so often.
    assert figures['nearer_target'] == pytest.approx(0.5, abs=4 * 0.5 / 100)
    assert figures['macro_nearer_target'] == pytest.approx(0.5, abs=4 * 0.5 / 100)


def test_without_sentences_there_are_no_figures():
    assert exclusion_metrics(np.zeros(0), np.zeros(0), np.zeros(0, int)) == {}


@pytest.mark.parametrize(
    ('to_target', 'to_code', 'message'),
    [
        (np.ones(2), np.ones(3), '2 distances to targets, 3 to codes and 3 codes'),
        (np.array([1, np.nan, 1]), np.ones(3), 'not finite'),
        (np.ones(3), np.array([1, np.inf, 1]), 'not finite'),
    ],
)
def test_unusable_input_is_refused_in_words(to_target, to_code, message):
    with pytest.raises(DataError, match=message):
        exclusion_metrics(to_target, to_code, np.zeros(3, int))
