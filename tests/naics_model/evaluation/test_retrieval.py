"""Retrieval metrics against hand-worked values and brute force."""

from __future__ import annotations

import numpy as np
import pytest

from naics_model.errors import DataError
from naics_model.evaluation.retrieval import retrieval_metrics, truth_ranks

CODES = ['111110', '111120', '311111', '321113', '541511']


def test_retrieval_by_hand():
    distance = np.array(
        [
            [0.1, 0.2, 0.3, 0.4, 0.5],  # true 111110, first
            [0.1, 0.2, 0.3, 0.4, 0.5],  # true 111120, second after 111110: agrees in 4 digits
            [0.5, 0.4, 0.3, 0.1, 0.9],  # true 311111, second after 321113: one sector only
            [0.1, 0.2, 0.3, 0.4, 0.5],  # true 541511, last, sector missed
        ]
    )
    truth = np.array([0, 1, 2, 4])
    figures = retrieval_metrics(distance, truth, CODES)
    assert truth_ranks(distance, truth).tolist() == [1, 2, 2, 5]
    assert figures == pytest.approx(
        {
            'hit_at_1': 1 / 4,
            'hit_at_5': 1.0,
            'hit_at_10': 1.0,
            'mrr': (1 + 1 / 2 + 1 / 2 + 1 / 5) / 4,
            'prefix_accuracy_2': 3 / 4,
            'prefix_accuracy_3': 2 / 4,
            'prefix_accuracy_4': 2 / 4,
            'prefix_accuracy_5': 1 / 4,
        }
    )


def test_query_that_says_nothing_comes_last():
    figures = retrieval_metrics(np.zeros((3, 5)), np.array([0, 2, 4]), CODES)
    assert figures['mrr'] == pytest.approx(1 / 5)
    assert figures['hit_at_1'] == 0.0
    # The five candidates stand first together and are of different sectors.
    assert figures['prefix_accuracy_2'] == 0.0


def test_tied_first_answers_count_for_what_they_agree_in():
    distance = np.array([[0.0, 0.0, 1, 1, 1]])
    figures = retrieval_metrics(distance, np.array([0]), CODES)
    assert figures['hit_at_1'] == 0.0
    assert figures['prefix_accuracy_4'] == 1.0
    assert figures['prefix_accuracy_5'] == 0.0


def test_ranks_agree_with_sorting():
    rng = np.random.default_rng(0)
    distance, truth = rng.random((200, 30)), rng.integers(0, 30, 200)
    expected = [
        sorted(range(30), key=row.__getitem__).index(true) + 1
        for row, true in zip(distance, truth, strict=True)
    ]
    assert truth_ranks(distance, truth).tolist() == expected


@pytest.mark.parametrize(
    ('distance', 'truth', 'message'),
    [
        (np.zeros((0, 5)), np.zeros(0, int), 'no held-out activities'),
        (np.zeros((2, 4)), np.zeros(2, int), '2 x 5'),
        (np.full((2, 5), np.nan), np.zeros(2, int), 'not finite'),
    ],
)
def test_unusable_input_is_refused_in_words(distance, truth, message):
    with pytest.raises(DataError, match=message):
        retrieval_metrics(distance, truth, CODES)
