"""Retrieval metrics against hand-worked values and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import label_ranking_average_precision_score, top_k_accuracy_score

from naics_model.errors import DataError
from naics_model.evaluation.retrieval import (
    hard_metrics,
    hard_queries,
    macro_mean,
    retrieval_metrics,
    truth_ranks,
)

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
            # Four codes are asked for, each once.
            'macro_hit_at_1': 1 / 4,
            'macro_hit_at_5': 1.0,
            'macro_hit_at_10': 1.0,
            'macro_mrr': (1 + 1 / 2 + 1 / 2 + 1 / 5) / 4,
        }
    )


def test_each_code_counts_once_in_macro_figures():
    # 111110 is asked for three times, twice found first and once second; 541511 once, last.
    distance = np.array(
        [
            [0.1, 0.2, 0.3, 0.4, 0.5],
            [0.1, 0.2, 0.3, 0.4, 0.5],
            [0.2, 0.1, 0.3, 0.4, 0.5],
            [0.1, 0.2, 0.3, 0.4, 0.5],
        ]
    )
    figures = retrieval_metrics(distance, np.array([0, 0, 0, 4]), CODES)
    assert figures['hit_at_1'] == pytest.approx(2 / 4)
    assert figures['macro_hit_at_1'] == pytest.approx((2 / 3 + 0) / 2)
    assert figures['mrr'] == pytest.approx((1 + 1 + 1 / 2 + 1 / 5) / 4)
    assert figures['macro_mrr'] == pytest.approx((5 / 6 + 1 / 5) / 2)
    assert figures['macro_hit_at_5'] == 1.0


# --- the hard part ---


def test_hard_is_whose_nearest_train_entry_has_another_code():
    nearest, truth = np.array([3, 1, -1, 0]), np.array([3, 2, 0, 0])
    assert hard_queries(nearest, truth).tolist() == [False, True, True, False]


def test_figures_of_the_hard_part_by_hand():
    distance = np.array(
        [
            [0.1, 0.2, 0.3, 0.4, 0.5],  # true 111110: first
            [0.1, 0.2, 0.3, 0.4, 0.5],  # true 111120: second, hard
            [0.5, 0.4, 0.1, 0.3, 0.9],  # true 311111: first, hard
            [0.1, 0.2, 0.3, 0.4, 0.5],  # true 541511: last
        ]
    )
    hard = np.array([False, True, True, False])
    figures = hard_metrics(distance, np.array([0, 1, 2, 4]), CODES, hard)
    assert figures['share'] == 1 / 2
    assert figures['hit_at_1'] == 1 / 2
    assert figures['mrr'] == pytest.approx((1 / 2 + 1) / 2)
    assert figures['prefix_accuracy_4'] == 1.0
    assert figures['prefix_accuracy_5'] == 1 / 2


def test_all_queries_hard_is_the_whole():
    rng = np.random.default_rng(1)
    distance, truth = rng.random((50, 5)), rng.integers(0, 5, 50)
    figures = hard_metrics(distance, truth, CODES, np.ones(50, bool))
    assert figures == {'share': 1.0, **retrieval_metrics(distance, truth, CODES)}


def test_no_hard_query_leaves_the_figures_out():
    assert hard_metrics(np.ones((2, 5)), np.zeros(2, int), CODES, np.zeros(2, bool)) == {
        'share': 0.0
    }


def test_one_answer_for_each_query_is_needed_to_tell_hard_ones():
    truth = np.zeros(3, int)
    with pytest.raises(DataError, match='2 for 3 queries'):
        hard_queries(np.zeros(2, int), truth)
    with pytest.raises(DataError, match='there are 3 queries'):
        hard_metrics(np.ones((3, 5)), truth, CODES, np.ones(2, bool))


# --- the extremes ---


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


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 12))
def test_figures_agree_with_loops_where_distances_tie(seed, queries, values):
    rng = np.random.default_rng(seed)
    distance = rng.integers(0, values, (queries, 5)).astype(np.float64)
    truth = rng.integers(0, 5, queries)
    places = [
        1 + sum(row[j] <= row[true] for j in range(5) if j != true)
        for row, true in zip(distance, truth, strict=True)
    ]
    figures = retrieval_metrics(distance, truth, CODES)
    assert figures['hit_at_1'] == pytest.approx(np.mean([place == 1 for place in places]))
    by_code = [
        [1 / p for p, t in zip(places, truth, strict=True) if t == code] for code in set(truth)
    ]
    assert figures['macro_mrr'] == pytest.approx(np.mean([np.mean(part) for part in by_code]))
    right = [
        all(CODES[j][:3] == CODES[true][:3] for j in range(5) if row[j] == row.min())
        for row, true in zip(distance, truth, strict=True)
    ]
    assert figures['prefix_accuracy_3'] == pytest.approx(np.mean(right))
    # scikit-learn too counts ties against the label.
    chosen = np.arange(5) == truth[:, None]
    assert figures['mrr'] == pytest.approx(label_ranking_average_precision_score(chosen, -distance))


def test_hits_agree_with_scikit_learn():
    rng = np.random.default_rng(2)
    codes = [str(code) for code in range(111110, 111140)]
    distance, truth = rng.random((300, 30)), rng.integers(0, 30, 300)
    figures = retrieval_metrics(distance, truth, codes)
    for k in (1, 5, 10):
        expected = top_k_accuracy_score(truth, -distance, k=k, labels=range(30))
        assert figures[f'hit_at_{k}'] == pytest.approx(expected)


def test_macro_mean_does_not_depend_on_how_often_a_code_is_asked():
    scores, truth = np.array([1.0, 0.5, 0.0]), np.array([2, 2, 7])
    assert macro_mean(scores, truth) == pytest.approx(0.375)
    assert macro_mean(np.tile(scores, 3), np.tile(truth, 3)) == pytest.approx(0.375)
    assert macro_mean(np.array([*scores, 0.75]), np.array([*truth, 2])) == pytest.approx(0.375)


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
