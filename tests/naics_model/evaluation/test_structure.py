"""Structure metrics against hand-worked values, well-kept libraries and brute force."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score, ndcg_score

from naics_model.errors import DataError
from naics_model.evaluation.structure import (
    average_distortion,
    edge_ranking,
    leaf_ndcg,
    parent_ranks,
    pearson,
    spearman,
    structure_metrics,
    tie_share,
    trivial_edges,
)
from naics_model.taxonomy.distances import tree_distances
from naics_model.taxonomy.tree import Taxonomy


def random_distances(n: int, seed: int, dimensions: int = 8) -> np.ndarray:
    points = np.random.default_rng(seed).normal(size=(n, dimensions))
    return np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1))


# --- by hand, on the seven codes of conftest.py ---


def test_edge_ranking_of_seven_codes(seven):
    taxonomy, distance, _ = seven
    # Wrong codes at most as far as the neighbour: 1111 has 1112 before its parent; 1112 has 1111
    # and 211; 211 has 1111 and 1112. All others are perfect.
    precision, rank = edge_ranking(distance, tree_distances(taxonomy))
    assert precision == pytest.approx((1 + 1 + 1 / 2 + 1 / 3 + 1 + 1 + 1 / 3) / 7)
    # Ten directed edges: seven of rank 1, 1111 of rank 2, 1112 and 211 of rank 3.
    assert rank == pytest.approx((7 * 1 + 2 + 3 + 3) / 10)


def test_average_precision_counts_wrong_codes_between_neighbours():
    # Anchor 0 has three neighbours (1, 2, 3); code 4 stands between the first and the second.
    tree = np.array(
        [[0, 1, 1, 1, 2], [1, 0, 2, 2, 3], [1, 2, 0, 2, 3], [1, 2, 2, 0, 3], [2, 3, 3, 3, 0]]
    )
    place = np.array([0.0, 1.0, 3.0, 4.0, 2.0])
    distance = np.full((5, 5), 9.0)
    distance[0] = place
    precision, _ = edge_ranking(distance, tree)
    # Anchor 0: 1/1, 2/3, 3/4. Anchors 1, 2, 3: all at distance 9, three wrong codes first: 1/4.
    assert precision == pytest.approx(((1 + 2 / 3 + 3 / 4) / 3 + 3 * 1 / 4) / 4)


def test_parent_ranks_of_seven_codes(seven):
    taxonomy, distance, _ = seven
    children, ranks = parent_ranks(distance, taxonomy)
    by_code = {taxonomy.codes[i]: rank for i, rank in zip(children, ranks, strict=True)}
    # 211 stands at 1.5 from 1112, nearer than its parent 111 at 2.
    assert by_code == {'111': 1, '112': 1, '211': 1, '1111': 1, '1112': 2}


def test_trivial_edges_are_only_children_and_repeated_titles(seven):
    taxonomy, _, titles = seven
    trivial = trivial_edges(taxonomy, titles)
    assert {taxonomy.codes[i] for i in np.flatnonzero(trivial)} == {'1111', '211'}


def test_leaf_ndcg_of_seven_codes(seven):
    taxonomy, distance, _ = seven
    # Gains: 1111-1112 share 111 (depth 2): 3. Either with 112 shares 11 (depth 1): 1. 211: 0.
    # 1111 and 1112 each see gains 3, 0, 1 where 3, 1, 0 is best; 112 sees 1, 1, 0, the best;
    # 211 is related to no other leaf and is left out.
    third, second = 1 / np.log2(4), 1 / np.log2(3)
    assert leaf_ndcg(distance, taxonomy, k=10) == pytest.approx(
        (2 * (3 + third) / (3 + second) + 1) / 3
    )
    assert leaf_ndcg(distance, taxonomy, k=1) == pytest.approx(1.0)


def test_structure_metrics_puts_the_parts_together(seven):
    taxonomy, distance, titles = seven
    figures = structure_metrics(distance, taxonomy, titles)
    assert figures['parent_hit_at_1'] == pytest.approx(4 / 5)
    assert figures['parent_mrr'] == pytest.approx((4 + 1 / 2) / 5)
    assert figures['parent_hit_at_1_nontrivial'] == pytest.approx(2 / 3)
    assert figures['parent_mrr_nontrivial'] == pytest.approx((2 + 1 / 2) / 3)
    assert figures['edge_mean_rank'] == pytest.approx(1.5)
    # Within sectors: ten pairs of sector 11 and one of 21, read off the line.
    d = np.array([1, 2.5, 3, 2, 1.5, 2, 3, 0.5, 4.5, 5, 2.5])
    t = np.array([1, 2, 2, 1, 1, 1, 2, 2, 3, 3, 1])
    assert figures['pearson_within_sectors'] == pytest.approx(scipy.stats.pearsonr(d, t)[0])
    assert figures['spearman_within_sectors'] == pytest.approx(scipy.stats.spearmanr(d, t)[0])


def test_average_distortion_by_hand():
    # D/T = 4, 2, 2, 1; the best scale is 2: deviations 1, 0, 0, .5.
    distortion, scale = average_distortion(np.array([4.0, 4, 2, 3]), np.array([1.0, 2, 1, 3]))
    assert scale == 2.0
    assert distortion == pytest.approx(1.5 / 4)


def test_tie_share_by_hand():
    # From a: b and c at 1, d at 2. From every other point all distances differ.
    distance = np.array(
        [[0, 1, 1, 2], [1, 0, 2, 3], [1, 2, 0, 3.5], [2, 3, 3.5, 0]], dtype=np.float64
    )
    assert tie_share(distance) == pytest.approx(2 / 12)


# --- what must come out at the extremes ---


def test_tree_metric_itself_reaches_every_ceiling(bushy):
    distance = tree_distances(bushy).astype(np.float64)
    figures = structure_metrics(distance * 0.5, bushy, bushy.codes)
    best_is_one = set(figures) - {'average_distortion', 'tie_share'}
    assert {name: figures[name] for name in best_is_one} == pytest.approx(
        dict.fromkeys(best_is_one, 1.0)
    )
    assert figures['average_distortion'] == 0.0
    assert figures['tie_share'] > 0.9


def test_random_points_know_nothing_of_the_tree(bushy):
    figures = structure_metrics(random_distances(len(bushy), seed=1), bushy, bushy.codes)
    assert abs(figures['spearman']) < 0.05
    assert abs(figures['pearson']) < 0.05
    assert figures['edge_map'] < 0.1
    assert figures['leaf_ndcg_at_10'] < 0.5
    assert figures['tie_share'] == 0.0


def test_coincident_points_score_the_floor_not_by_luck(bushy):
    distance = np.ones((len(bushy), len(bushy)))
    figures = structure_metrics(distance, bushy, bushy.codes)
    assert figures['spearman'] == 0.0
    assert figures['pearson'] == 0.0
    assert figures['tie_share'] == 1.0
    assert figures['parent_hit_at_1'] == 0.0
    # Every wrong code stands before every right one.
    degree = (tree_distances(bushy) == 1).sum(1)
    expected = np.repeat(len(bushy) - 1 - degree + 1, degree).mean()
    assert figures['edge_mean_rank'] == pytest.approx(expected)


def test_many_ties_never_help(bushy):
    sharp = random_distances(len(bushy), seed=2)
    blunt = np.ceil(sharp)
    for figures in ('edge_map', 'parent_hit_at_1', 'parent_mrr', 'leaf_ndcg_at_10'):
        tied = structure_metrics(blunt, bushy, bushy.codes)[figures]
        # The luckiest way to break the ties: tree distance as a tie-breaker of no weight.
        lucky = structure_metrics(blunt + 1e-6 * tree_distances(bushy), bushy, bushy.codes)[figures]
        assert tied <= lucky


def test_figures_do_not_depend_on_the_unit_of_length(bushy):
    distance = random_distances(len(bushy), seed=3)
    small = structure_metrics(distance, bushy, bushy.codes)
    large = structure_metrics(distance * 4, bushy, bushy.codes)
    assert small == pytest.approx(large)


def test_undefined_figures_are_left_out():
    taxonomy = Taxonomy.from_codes(['11', '111', '21', '211'])
    figures = structure_metrics(tree_distances(taxonomy) * 1.0, taxonomy, taxonomy.codes)
    assert 'parent_hit_at_1' in figures
    # Every child is an only child, and no two leaves share a sector.
    assert 'parent_hit_at_1_nontrivial' not in figures
    assert 'leaf_ndcg_at_10' not in figures


def test_broken_distances_are_refused(seven):
    taxonomy, distance, titles = seven
    broken = distance.copy()
    broken[1, 2] = np.nan
    with pytest.raises(DataError, match='not finite'):
        structure_metrics(broken, taxonomy, titles)
    with pytest.raises(DataError, match='7 x 7'):
        structure_metrics(distance[:3, :3], taxonomy, titles)


# --- oracles ---

values = st.floats(0, 100, allow_nan=False).map(lambda x: round(x, 2))


@given(arrays(np.float64, st.integers(3, 40), elements=values), st.integers(0, 99))
def test_correlations_agree_with_scipy(a, seed):
    b = np.random.default_rng(seed).integers(1, 5, len(a)).astype(np.float64)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        assert spearman(a, b) == 0.0
        return
    assert spearman(a, b) == pytest.approx(scipy.stats.spearmanr(a, b)[0], abs=1e-9)
    assert pearson(a, b) == pytest.approx(scipy.stats.pearsonr(a, b)[0], abs=1e-9)


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


def test_edge_map_agrees_with_scikit_learn(bushy):
    distance = random_distances(len(bushy), seed=5)
    tree = tree_distances(bushy)
    others = ~np.eye(len(bushy), dtype=bool)
    expected = [
        average_precision_score(tree[i][others[i]] == 1, -distance[i][others[i]])
        for i in range(len(bushy))
    ]
    assert edge_ranking(distance, tree)[0] == pytest.approx(np.mean(expected))


def test_leaf_ndcg_agrees_with_scikit_learn(bushy):
    distance = random_distances(len(bushy), seed=6)
    leaves = np.flatnonzero(bushy.levels == 6)
    tree = tree_distances(bushy)[np.ix_(leaves, leaves)].astype(int)
    gain = 2.0 ** ((10 - tree) / 2) - 1
    others = ~np.eye(len(leaves), dtype=bool)
    d = distance[np.ix_(leaves, leaves)]
    expected = [
        ndcg_score([gain[i][others[i]]], [-d[i][others[i]]], k=10) for i in range(len(leaves))
    ]
    assert leaf_ndcg(distance, bushy, k=10) == pytest.approx(np.mean(expected))


def test_parent_ranks_agree_with_sorting(bushy):
    distance = random_distances(len(bushy), seed=7)
    children, ranks = parent_ranks(distance, bushy)
    for child, rank in zip(children, ranks, strict=True):
        above = [j for j in range(len(bushy)) if bushy.levels[j] == bushy.levels[child] - 1]
        order = sorted(above, key=lambda j: distance[child, j])
        assert order.index(bushy.parents[child]) + 1 == rank
