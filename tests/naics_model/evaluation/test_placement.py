"""Unseen codes and their parents, by hand on seven codes."""

from __future__ import annotations

import numpy as np
import pytest

from naics_model.evaluation.placement import (
    placement_figures,
    placement_metrics,
    placements,
    together,
)
from naics_model.taxonomy.distances import tree_distances
from naics_model.taxonomy.tree import Taxonomy

# 111110 and 111120 have a sibling; 111210 is an only child and repeats its parent.
CODES = ['11', '111', '1111', '11111', '11112', '111110', '111111', '111121', '111120']
TITLES = [
    'Farming',
    'Crops',
    'Grain',
    'Oats',
    'Rye',
    'Black oats',
    'White oats',
    'Rye',
    'Winter rye',
]


@pytest.fixture
def taxonomy() -> Taxonomy:
    return Taxonomy.from_codes(CODES)


def asked(*codes: str) -> np.ndarray:
    return np.array([code in codes for code in CODES])


def test_the_exact_tree_places_every_code(taxonomy):
    figures = placement_metrics(
        tree_distances(taxonomy).astype(float), taxonomy, TITLES, asked('111110', '11112', '111121')
    )
    assert figures['parent_hit_at_1'] == figures['all_levels_parent_hit_at_1'] == 1.0
    # 111121 is named like its parent: an easy case, whatever else it has.
    assert (figures['asked'], figures['all_levels_asked'], figures['trivial_asked']) == (1, 2, 1)


def test_ranks_worked_by_hand(taxonomy):
    # Of the two five-digit codes, 111110 stands nearer the wrong one, and 111120 nearer its own.
    distance = np.full((9, 9), 5.0)
    distance[CODES.index('111110')] = [9, 9, 9, 2, 1, 0, 1, 1, 1]
    distance[CODES.index('111120')] = [9, 9, 9, 2, 1, 1, 1, 1, 0]
    figures = placement_metrics(distance, taxonomy, TITLES, asked('111110', '111120'))
    assert figures['parent_hit_at_1'] == 0.5
    assert figures['parent_hit_at_5'] == 1.0
    assert figures['parent_mrr'] == pytest.approx((1 / 2 + 1) / 2)


def test_a_tie_counts_against_the_method(taxonomy):
    figures = placement_metrics(np.ones((9, 9)), taxonomy, TITLES, asked('111110'))
    assert figures['parent_hit_at_1'] == 0.0
    assert figures['parent_mrr'] == 0.5


def test_answers_of_several_models_count_each_code_once(taxonomy):
    # The first model is asked two codes and places both, the second one and misplaces it.
    right, wrong = tree_distances(taxonomy).astype(float), np.ones((9, 9))
    parts = [
        placements(right, taxonomy, TITLES, asked('111110', '111120', '111121')),
        placements(wrong, taxonomy, TITLES, asked('111111')),
    ]
    whole = together(parts)
    assert [CODES[i] for i in whole.codes] == ['111110', '111121', '111120', '111111']
    figures = placement_figures(whole)
    # No mean of the parts' means, which would be a half.
    assert figures['parent_hit_at_1'] == pytest.approx(2 / 3)
    assert figures['parent_mrr'] == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert (figures['asked'], figures['trivial_asked']) == (3, 1)
    assert placement_figures(together(parts[:1])) == placement_metrics(
        right, taxonomy, TITLES, asked('111110', '111120', '111121')
    )


def test_of_no_code_there_is_no_figure(taxonomy):
    figures = placement_metrics(np.ones((9, 9)), taxonomy, TITLES, asked('11'))
    assert figures == {'asked': 0, 'all_levels_asked': 0, 'trivial_asked': 0}
