"""New codes and what they came from, by hand and on the real concordance."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from naics_model.evaluation.succession import predecessors_of, succession_metrics

CONCORDANCE = pl.DataFrame(
    [
        ('111110', 'Oats', '111110', 'Oats'),
        ('111120', 'Rye', '111190', 'Grain'),
        ('111130', 'Rice', '111190', 'Grain'),
        ('111130', 'Wild rice', '111191', 'Wild rice'),
    ],
    schema=['from_code', 'from_title', 'to_code', 'to_title'],
    orient='row',
)
BEFORE = ['111110', '111120', '111130']


def test_new_codes_are_those_that_the_edition_before_lacks():
    assert predecessors_of(CONCORDANCE, BEFORE) == {
        '111190': ['111120', '111130'],
        '111191': ['111130'],
    }


def test_figures_worked_by_hand():
    truth = predecessors_of(CONCORDANCE, BEFORE)
    # 111190: 111110 first, then 111130, then 111120; 111191: its predecessor first.
    distance = np.array([[1.0, 3.0, 2.0], [5.0, 4.0, 1.0]])
    assert succession_metrics(distance, truth, BEFORE) == {
        'asked': 2,
        'mrr': pytest.approx((1 / 2 + 1) / 2),
        'hit_at_1': 0.5,
        'hit_at_3': 1.0,
        'recall_at_1': 0.5,
        'recall_at_3': 1.0,
    }


def test_a_code_that_came_from_two_has_half_at_one():
    figures = succession_metrics(
        np.array([[9.0, 1.0, 2.0]]), {'111190': ['111120', '111130']}, BEFORE
    )
    assert (figures['hit_at_1'], figures['recall_at_1'], figures['recall_at_3']) == (1.0, 0.5, 1.0)


def test_without_a_new_code_there_is_no_figure():
    assert succession_metrics(np.zeros((0, 3)), {}, BEFORE) == {'asked': 0.0}


def test_a_tie_counts_against_the_method():
    figures = succession_metrics(np.ones((1, 3)), {'111191': ['111130']}, BEFORE)
    assert (figures['hit_at_1'], figures['mrr']) == (0.0, pytest.approx(1 / 3))
