"""The structure suite as a whole: its parts put together, what it refuses, what it leaves out.

Each figure alone is tested beside the module that computes it; what theory says of whole
embeddings is in `test_theory`.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from naics_model.errors import DataError
from naics_model.evaluation.structure import structure_metrics
from naics_model.taxonomy.distances import tree_distances
from naics_model.taxonomy.tree import Taxonomy


def random_distances(n: int, seed: int, dimensions: int = 8) -> np.ndarray:
    points = np.random.default_rng(seed).normal(size=(n, dimensions))
    return np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1))


def test_structure_metrics_puts_the_parts_together(seven):
    taxonomy, distance, titles = seven
    figures = structure_metrics(distance, taxonomy, titles)
    assert figures['parent_hit_at_1'] == pytest.approx(4 / 5)
    assert figures['parent_mrr'] == pytest.approx((4 + 1 / 2) / 5)
    assert figures['parent_hit_at_1_nontrivial'] == pytest.approx(2 / 3)
    assert figures['parent_mrr_nontrivial'] == pytest.approx((2 + 1 / 2) / 3)
    assert figures['edge_mean_rank'] == pytest.approx(1.5)
    assert figures['closure_mean_rank'] == pytest.approx(16 / 7)
    assert figures['worst_distortion'] == pytest.approx(14)
    assert figures['child_at_5'] == 1.0
    assert figures['sibling_confusion'] == 0.0
    # Among three other leaves the fifth place is the twentieth.
    assert figures['leaf_ndcg_at_5'] == figures['leaf_ndcg_at_10'] == figures['leaf_ndcg_at_20'] < 1
    # Within sectors: ten pairs of sector 11 and one of 21, read off the line.
    d = np.array([1, 2.5, 3, 2, 1.5, 2, 3, 0.5, 4.5, 5, 2.5])
    t = np.array([1, 2, 2, 1, 1, 1, 2, 2, 3, 3, 1])
    assert figures['pearson_within_sectors'] == pytest.approx(scipy.stats.pearsonr(d, t)[0])
    assert figures['spearman_within_sectors'] == pytest.approx(scipy.stats.spearmanr(d, t)[0])


@pytest.mark.parametrize(
    'name',
    [
        'edge_map',
        'closure_map',
        'parent_hit_at_1',
        'parent_mrr',
        'child_at_5',
        'leaf_ndcg_at_5',
        'leaf_ndcg_at_20',
    ],
)
def test_many_ties_never_help(bushy, name):
    blunt = np.ceil(random_distances(len(bushy), seed=2))
    tied = structure_metrics(blunt, bushy, bushy.codes)[name]
    # The luckiest way to break the ties: tree distance as a tie-breaker of no weight.
    lucky = structure_metrics(blunt + 1e-6 * tree_distances(bushy), bushy, bushy.codes)[name]
    assert tied < lucky


def test_figures_do_not_depend_on_the_unit_of_length(bushy):
    distance = random_distances(len(bushy), seed=3)
    small = structure_metrics(distance, bushy, bushy.codes)
    large = structure_metrics(distance * 4, bushy, bushy.codes)
    assert small == pytest.approx(large)


def test_undefined_figures_are_left_out():
    taxonomy = Taxonomy.from_codes(['11', '111', '21', '211'])
    figures = structure_metrics(tree_distances(taxonomy) * 1.0, taxonomy, taxonomy.codes)
    assert 'parent_hit_at_1' in figures
    # Every child is an only child, no leaf has a sibling, and no two leaves share a sector.
    absent = {'parent_hit_at_1_nontrivial', 'parent_mrr_nontrivial', 'sibling_confusion'}
    absent |= {f'leaf_ndcg_at_{k}' for k in (5, 10, 20)}
    assert not absent & set(figures)


def test_infinite_figures_are_left_out(seven):
    taxonomy, distance, titles = seven
    assert 'worst_distortion' in structure_metrics(distance, taxonomy, titles)
    distance[2, 3] = distance[3, 2] = 0.0
    figures = structure_metrics(distance, taxonomy, titles)
    assert 'worst_distortion' not in figures
    assert np.isfinite(list(figures.values())).all()


def test_one_coincidence_does_not_decide_the_middle(bushy):
    distance = tree_distances(bushy) * 1.0
    # One of 39,060 pairs on top of each other, two of them very far.
    distance[0, 1] = distance[1, 0] = 0.0
    distance[2, 3:5] = distance[3:5, 2] = 100.0
    figures = structure_metrics(distance, bushy, bushy.codes)
    assert 'worst_distortion' not in figures
    assert figures['worst_distortion_middle'] == pytest.approx(1.0)


def test_distances_are_left_as_they_were(seven):
    taxonomy, distance, titles = seven
    np.fill_diagonal(distance, 7.0)
    structure_metrics(distance, taxonomy, titles)
    assert (np.diagonal(distance) == 7.0).all()


def test_broken_distances_are_refused(seven):
    taxonomy, distance, titles = seven
    broken = distance.copy()
    broken[1, 2] = np.nan
    with pytest.raises(DataError, match='not finite'):
        structure_metrics(broken, taxonomy, titles)
    with pytest.raises(DataError, match='7 x 7'):
        structure_metrics(distance[:3, :3], taxonomy, titles)


def test_codes_without_a_tree_are_refused():
    taxonomy = Taxonomy.from_codes(['11', '21', '31'])
    with pytest.raises(DataError, match='No code has a parent'):
        structure_metrics(np.ones((3, 3)), taxonomy, taxonomy.codes)
