"""Correlations against hand-worked values, scipy and brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from naics_model.evaluation.correlation import (
    cophenetic_correlation,
    pearson,
    spearman,
    spearman_ceiling,
)
from naics_model.taxonomy.distances import tree_distances

values = st.floats(0, 100, allow_nan=False).map(lambda x: round(x, 2))


# --- by hand ---


def test_correlations_of_four_pairs():
    # Deviations from the mean: -2, -1, 0, 3 and -1.5, -.5, .5, 1.5; ranks 1 2 3 4 and 1 2 3 4.
    a, b = np.array([1.0, 2, 3, 6]), np.array([1.0, 2, 3, 4])
    assert pearson(a, b) == pytest.approx((3 + 0.5 + 0 + 4.5) / np.sqrt(14 * 5))
    assert spearman(a, b) == pytest.approx(1.0)
    # Mid-ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: deviations -1.5, 0, 0, 1.5.
    assert spearman(np.array([1.0, 2, 2, 6]), b) == pytest.approx(4.5 / np.sqrt(4.5 * 5))


def test_what_is_constant_correlates_with_nothing():
    assert pearson(np.full(9, 0.1), np.arange(9.0)) == 0.0
    assert spearman(np.arange(9.0), np.full(9, 0.1)) == 0.0
    # The mean of three times .1 is not .1, and what remains of both would correlate perfectly.
    assert pearson(np.full(3, 0.1), np.full(3, 0.1)) == 0.0


def test_spearman_ceiling_of_seven_codes(seven):
    taxonomy, _, _ = seven
    # T has 5 x 1, 5 x 2, 5 x 3, 4 x 4, 2 x 5 among its 21 pairs. Of the ranks 1 ... 21 a D without
    # ties keeps at best the mean of each block: the share of variance between blocks, rooted.
    blocks = [5, 5, 5, 4, 2]
    lost = sum(m**3 - m for m in blocks) / (21**3 - 21)
    assert spearman_ceiling(taxonomy) == pytest.approx(np.sqrt(1 - lost))


def test_cophenetic_correlation_of_four_leaves(seven):
    taxonomy, distance, _ = seven
    leaves = [taxonomy.index[code] for code in ('1111', '1112', '112', '211')]
    # At 2.5, 3, -2 and 4.5 on the line. 1111 and 1112 join at .5; 211 joins them at the mean of
    # 2 and 1.5; 112 joins these three at the mean of 4.5, 5 and 6.5.
    # Pairs: 1111-1112, 1111-112, 1111-211, 1112-112, 1112-211, 112-211.
    last = (4.5 + 5 + 6.5) / 3
    heights = np.array([0.5, last, 1.75, last, 1.75, last])
    steps = np.array([2.0, 3, 5, 3, 5, 4])
    among = np.ix_(leaves, leaves)
    assert cophenetic_correlation(
        distance[among], tree_distances(taxonomy)[among]
    ) == pytest.approx(scipy.stats.pearsonr(heights, steps)[0])


def test_the_order_of_codes_does_not_pass_for_structure(bushy):
    # Coarse distances that know nothing of the tree, over codes in the order of the tree. Where
    # they tie, clusters of neighbours in the list would be clusters of relatives: unshuffled, the
    # mean is .042, ten times the bound.
    leaves = np.flatnonzero(bushy.levels == 6)
    tree = tree_distances(bushy)[np.ix_(leaves, leaves)]
    found = []
    for seed in range(60):
        half = np.triu(np.random.default_rng(seed).integers(1, 3, tree.shape), 1)
        found.append(cophenetic_correlation((half + half.T) * 1.0, tree))
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(len(found))


# --- oracles ---


@given(arrays(np.float64, st.integers(3, 40), elements=values), st.integers(0, 99))
def test_correlations_agree_with_scipy(a, seed):
    b = np.random.default_rng(seed).integers(1, 5, len(a)).astype(np.float64)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        assert spearman(a, b) == 0.0
        return
    assert spearman(a, b) == pytest.approx(scipy.stats.spearmanr(a, b)[0], abs=1e-9)
    assert pearson(a, b) == pytest.approx(scipy.stats.pearsonr(a, b)[0], abs=1e-9)


def joined_at(distance: np.ndarray) -> np.ndarray:
    """Cophenetic distances by average linkage, as one would do it with pencil and paper."""
    clusters = [[i] for i in range(len(distance))]
    heights = np.zeros(distance.shape)
    while len(clusters) > 1:
        means = {
            (a, b): distance[np.ix_(clusters[a], clusters[b])].mean()
            for a, b in itertools.combinations(range(len(clusters)), 2)
        }
        a, b = min(means, key=means.__getitem__)
        for i, j in itertools.product(clusters[a], clusters[b]):
            heights[i, j] = heights[j, i] = means[a, b]
        clusters[a] += clusters.pop(b)
    return heights


@given(st.integers(3, 12), st.integers(0, 10_000))
def test_cophenetic_correlation_agrees_with_joining_by_hand(n, seed):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 3))
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    tree = rng.integers(1, 6, (n, n))
    tree = np.triu(tree, 1) + np.triu(tree, 1).T
    pairs = np.triu_indices(n, k=1)
    if np.ptp(tree[pairs]) == 0:
        assert cophenetic_correlation(distance, tree) == 0.0
        return
    expected = scipy.stats.pearsonr(joined_at(distance)[pairs], tree[pairs])[0]
    assert cophenetic_correlation(distance, tree) == pytest.approx(expected, abs=1e-9)
