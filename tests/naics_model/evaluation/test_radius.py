"""Distance from the origin and the signs of collapse."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from naics_model.evaluation.radius import collapse_metrics, radius_metrics


def distances(points: np.ndarray) -> np.ndarray:
    return np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1))


def test_radius_of_seven_codes(seven):
    taxonomy, _, _ = seven
    # In the order 11, 111, 1111, 1112, 112, 21, 211: 1112 is as near as its parent, 211 nearer.
    radius = np.array([1.0, 2, 3, 2, 2.5, 4, 3])
    figures = radius_metrics(radius, taxonomy)
    assert figures['parent_nearer_origin'] == pytest.approx(3 / 5)
    assert figures['mean_level_2'] == pytest.approx(2.5)
    assert figures['mean_level_3'] == pytest.approx((2 + 2.5 + 3) / 3)
    assert figures['mean_level_4'] == pytest.approx(2.5)
    assert 'mean_level_5' not in figures
    assert figures['spearman_with_level'] == pytest.approx(
        scipy.stats.spearmanr(radius, [2, 3, 4, 4, 3, 2, 3])[0]
    )


def test_radius_ladder_is_recognised(bushy):
    figures = radius_metrics(bushy.levels.astype(np.float64), bushy)
    assert figures['parent_nearer_origin'] == 1.0
    assert figures['spearman_with_level'] == pytest.approx(1.0)
    assert [figures[f'mean_level_{level}'] for level in (2, 3, 4, 5, 6)] == [2, 3, 4, 5, 6]


def test_spread_out_points_are_not_collapsed():
    points = np.random.default_rng(0).normal(size=(400, 16))
    figures = collapse_metrics(distances(points), points)
    assert figures['collapsed'] == 0.0
    assert figures['coincident_share'] == 0.0
    assert 14 < figures['effective_dimensions'] <= 16


@pytest.mark.parametrize(
    ('points', 'figure', 'value'),
    [
        pytest.param(np.zeros((50, 4)), 'mean_distance', 0.0, id='one point'),
        pytest.param(
            np.outer(np.arange(50.0), [1, 2, 0, 0]), 'effective_dimensions', 1.0, id='a line'
        ),
        pytest.param(
            np.repeat(np.random.default_rng(1).normal(size=(5, 4)), 10, axis=0),
            'coincident_share',
            1.0,
            id='a few heaps',
        ),
    ],
)
def test_collapse_is_called_by_its_name(points, figure, value):
    figures = collapse_metrics(distances(points), points)
    assert figures[figure] == pytest.approx(value)
    assert figures['collapsed'] == 1.0
