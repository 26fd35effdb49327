"""The tree fitted without text: a small tree, where the fit must come close, in both spaces."""

from __future__ import annotations

import numpy as np
import pytest

from naics_model.evaluation.ceilings import fit_tree
from naics_model.evaluation.structure import structure_metrics
from naics_model.taxonomy.distances import tree_distances


@pytest.mark.parametrize(
    ('hyperbolic', 'at_least', 'at_most'), [(True, 0, 0.04), (False, 0.05, 0.1)]
)
def test_seven_codes_are_fitted_as_well_as_the_space_allows(seven, hyperbolic, at_least, at_most):
    taxonomy, _, titles = seven
    distance = fit_tree(taxonomy, dimensions=8, hyperbolic=hyperbolic, steps=200)
    assert distance.shape == (7, 7)
    assert (distance == distance.T).all()
    assert (np.diag(distance) == 0).all()
    figures = structure_metrics(distance, taxonomy, titles)
    # No tree with a fork lies in flat space: 111 has three neighbours at 1, which are to be 2 from
    # each other. Hyperbolic space holds it ever better the larger it is drawn.
    assert at_least <= figures['average_distortion'] < at_most
    assert figures['edge_map'] == 1.0


def test_hyperbolic_space_holds_a_tree_better(bushy):
    titles = list(bushy.codes)
    figures = {
        hyperbolic: structure_metrics(
            fit_tree(bushy, dimensions=10, hyperbolic=hyperbolic, steps=150), bushy, titles
        )
        for hyperbolic in (True, False)
    }
    assert figures[True]['average_distortion'] < figures[False]['average_distortion'] / 2
    assert figures[True]['spearman'] > figures[False]['spearman']
    assert figures[True]['edge_map'] > 0.95


def test_equal_seeds_give_equal_distances(seven):
    taxonomy, _, _ = seven
    first, again, other = (
        fit_tree(taxonomy, dimensions=3, hyperbolic=True, steps=20, seed=seed) for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert not np.allclose(first, other)


def test_fit_leaves_the_global_generator_alone(seven):
    import torch

    taxonomy, _, _ = seven
    before = torch.get_rng_state()
    fit_tree(taxonomy, dimensions=3, hyperbolic=False, steps=2)
    assert torch.equal(torch.get_rng_state(), before)


def test_fit_approaches_the_tree_distances_up_to_scale(seven):
    taxonomy, _, _ = seven
    tree = tree_distances(taxonomy).astype(float)
    distance = fit_tree(taxonomy, dimensions=8, hyperbolic=True, steps=200)
    apart = ~np.eye(7, dtype=bool)
    ratio = distance[apart] / tree[apart]
    assert ratio.max() / ratio.min() < 1.25
