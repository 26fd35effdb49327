"""Baselines on texts so small that the answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse
from sklearn.feature_extraction.text import CountVectorizer

from naics_model.evaluation import baselines
from naics_model.evaluation.baselines import (
    FARTHEST,
    bm25_distances,
    centroid_distances,
    fused,
    lexical_distances,
    nearest_and_own_distances,
    nearest_entry,
    nearest_entry_distances,
    tfidf_distances,
    words,
)
from naics_model.evaluation.retrieval import retrieval_metrics

CODES = ['Soybean farming', 'Wheat farming', 'Retail bakeries', 'Offices of dentists']


# --- words and BM25 ---


def test_words_lose_common_endings_unless_short():
    found = words('Farming; FARMS, farmers (2 bakeries) of gas wells')
    assert found == ['farm', 'farm', 'farm', 'baker', 'of', 'gas', 'well']


def test_rare_word_finds_its_code_before_a_common_one():
    distance = bm25_distances(CODES, ['soybeans on a farm', 'farming'])
    assert distance[0].argmin() == 0
    # `farming` is in two codes alike, which tie.
    assert distance[1, 0] == distance[1, 1] < distance[1, 2] == 0


def test_query_without_a_known_word_is_equally_far_from_all():
    assert bm25_distances(CODES, ['xyzzy', '', '!?']).tolist() == [[0.0] * 4] * 3


def test_word_counts_once_in_a_query():
    once, twice = bm25_distances(CODES, ['dentist', 'dentist dentists'])
    assert once.tolist() == twice.tolist()


def test_bm25_is_its_formula():
    candidates = ['corn corn oats', 'oats', 'oats rye and a lot of other things besides']
    queries = ['corn oats', 'rye']
    counter = CountVectorizer(analyzer=words)
    counts = counter.fit_transform(candidates).toarray()
    asked = counter.transform(queries).toarray() > 0
    inside = (counts > 0).sum(0)
    rarity = np.log(1 + (len(candidates) - inside + 0.5) / (inside + 0.5))
    length = counts.sum(1, keepdims=True) / counts.sum(1).mean()
    weight = rarity * counts / (counts + 1.2 * (1 - 0.6 + 0.6 * length))
    assert bm25_distances(candidates, queries) == pytest.approx(-(asked @ weight.T), abs=1e-6)


# --- nearest entry and centroid ---


def unit(*angles: float) -> np.ndarray:
    """Points of the unit circle by their angle in degrees."""
    return np.array([[math.cos(math.radians(a)), math.sin(math.radians(a))] for a in angles])


def cosine(degrees: float) -> float:
    return math.cos(math.radians(degrees))


@pytest.mark.parametrize('form', [np.asarray, scipy.sparse.csr_matrix])
def test_nearest_entry_and_centroid_by_hand(form):
    # Code 0 has entries at 0 and 80 degrees, code 2 one at 30; code 1 has none.
    entries, owners = form(unit(30, 0, 80)), np.array([2, 0, 0])
    queries = form(unit(10, 50))
    nearest = nearest_entry_distances(entries, owners, queries, 3)
    assert nearest == pytest.approx(
        np.array(
            [
                [1 - cosine(10), FARTHEST, 1 - cosine(20)],
                [1 - cosine(30), FARTHEST, 1 - cosine(20)],
            ]
        )
    )
    # The centroid of code 0 is at 40 degrees.
    assert centroid_distances(entries, owners, queries, 3) == pytest.approx(
        np.array(
            [
                [1 - cosine(30), FARTHEST, 1 - cosine(20)],
                [1 - cosine(10), FARTHEST, 1 - cosine(20)],
            ]
        )
    )


def test_nearest_entry_is_the_brute_force_one_over_many_queries():
    generator = np.random.default_rng(0)
    entries, queries = (generator.normal(size=(n, 4)) for n in (60, 1100))
    entries /= np.linalg.norm(entries, axis=1, keepdims=True)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    owners = generator.integers(0, 9, 60)
    expected = np.array(
        [[1 - max(entries[owners == code] @ query) for code in range(9)] for query in queries]
    )
    assert nearest_entry_distances(entries, owners, queries, 9) == pytest.approx(expected)


def test_no_entry_at_all_is_far_for_every_code():
    nothing, owners = np.zeros((0, 2)), np.zeros(0, int)
    for method in (nearest_entry_distances, centroid_distances):
        assert (method(nothing, owners, unit(0, 45), 3) == FARTHEST).all()


def test_own_text_counts_beside_the_nearest_entry():
    candidates, entries = unit(0, 90), unit(40, 60)
    distance = nearest_and_own_distances(candidates, entries, np.array([0, 1]), unit(50))
    assert distance[0] == pytest.approx([2 - cosine(50) - cosine(10), 2 - cosine(40) - cosine(10)])
    assert distance[0].argmin() == 1


# --- fusion ---


def test_agreeing_scores_keep_their_order_in_whatever_unit():
    a = np.array([[1.0, 2.0, 4.0]])
    assert fused(a, 1000 * a + 7) == pytest.approx(2 * fused(a))
    assert fused(a)[0].mean() == pytest.approx(0)
    assert fused(a)[0].std() == pytest.approx(1)


def test_opposite_scores_cancel():
    a = np.array([[1.0, 2.0, 4.0], [0.0, 5.0, 1.0]])
    assert fused(a, -3 * a) == pytest.approx(np.zeros((2, 3)))


def test_third_score_decides_between_two_that_disagree():
    a, b = np.array([[0.0, 1.0, 2.0]]), np.array([[1.0, 0.0, 2.0]])
    assert fused(a, b)[0, 0] == pytest.approx(fused(a, b)[0, 1])
    assert fused(a, b, np.array([[0.5, 0.4, 0.6]]))[0].argmin() == 1


def test_method_that_knows_nothing_changes_nothing():
    a = np.array([[1.0, 2.0, 4.0]], np.float32)
    assert (fused(a, np.full((1, 3), 0.1)) == fused(a)).all()


# --- the lexical methods together ---


def test_entries_teach_words_that_no_code_has():
    entries = ['tooth doctor', 'sourdough bread', 'bagel shop']
    owners = np.array([3, 2, 2])
    queries = ['doctor for a tooth', 'bread and bagels', 'wheat field']
    assert (bm25_distances(CODES, queries[:2]) == 0).all()
    distance = lexical_distances(CODES, entries, owners, queries)
    # The wheat code has no entry, and wins by its own text.
    assert distance.argmin(axis=1).tolist() == [3, 2, 1]
    assert np.isfinite(distance).all()
    assert retrieval_metrics(distance, np.array([3, 2, 1]), CODES)['hit_at_1'] == 1.0


def test_bm25_reads_own_text_and_entries_as_one(monkeypatch):
    read = []

    def spied(candidates, queries):
        read.extend(candidates)
        return bm25_distances(candidates, queries)

    monkeypatch.setattr(baselines, 'bm25_distances', spied)
    lexical_distances(CODES, ['rolls', 'tooth doctor', 'bread'], np.array([2, 3, 2]), ['bread'])
    assert read == [*CODES[:2], 'Retail bakeries rolls bread', 'Offices of dentists tooth doctor']


def test_without_entries_the_own_texts_are_compared():
    distance = lexical_distances(CODES, [], np.zeros(0, int), ['dentist', 'bakery'])
    assert distance.argmin(axis=1).tolist() == [3, 2]


def test_as_many_owners_as_entries_are_asked_for():
    with pytest.raises(ValueError, match='shorter'):
        lexical_distances(CODES, ['bread', 'rolls'], np.array([2]), ['bread'])


# --- one nearest entry, and pieces of words ---


def test_the_nearest_entry_is_the_first_of_several_and_none_is_minus_one():
    entries = ['soybean farming', 'retail bakery', 'retail bakery']
    assert nearest_entry(entries, ['bakeries', 'growing soybeans', 'xyzzy']).tolist() == [1, 0, -1]


def test_tfidf_prefers_shared_pieces_and_knows_nothing_of_foreign_ones():
    distance = tfidf_distances(CODES, ['bakery', 'dentist office', 'xyzzy'])
    assert distance.argmin(axis=1).tolist()[:2] == [2, 3]
    assert distance[2].tolist() == [1.0] * 4
