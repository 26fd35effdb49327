"""Does one set of distances rise with another? Linear, by rank, and after clustering.

Vectors or matrices in, a figure out. D is the embedding distance, T the number of steps in the
tree (see `structure`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import cophenet, linkage
from scipy.spatial.distance import squareform
from scipy.stats import rankdata

from naics_model.taxonomy.distances import tree_distances
from naics_model.taxonomy.tree import Taxonomy

Floats = NDArray[np.floating]

SHUFFLE_SEED = 0


def pearson(a: Floats, b: Floats) -> float:
    """Return the linear correlation of two vectors (m,), in -1 to 1 (Pearson 1895).

    A constant vector correlates with nothing; the figure is then 0.
    """
    # A mean of equal numbers may differ from them by rounding, which no norm would show as 0.
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else 0.0


def spearman(a: Floats, b: Floats) -> float:
    """Return the rank correlation of two vectors (m,), in -1 to 1 (Spearman 1904).

    It is Pearson's of their mid-ranks: equal values share the mean of their places. T has ten
    values only, so that a D without ties can not reach 1: see `spearman_ceiling`.
    """
    return pearson(rankdata(a), rankdata(b))


def spearman_ceiling(taxonomy: Taxonomy) -> float:
    """Return the largest Spearman correlation that a D without ties can have with this tree."""
    steps = np.sort(tree_distances(taxonomy)[np.triu_indices(len(taxonomy), k=1)])
    return pearson(np.arange(len(steps), dtype=np.float64), rankdata(steps))


def cophenetic_correlation(distance: Floats, tree: NDArray[np.integer]) -> float:
    """Return the correlation of the tree with the tree that clustering finds in D, in -1 to 1.

    Average linkage (UPGMA) of D joins two clusters at the mean distance between their members;
    the cophenetic distance of two codes is the height at which they are first in one cluster.
    The figure is Pearson's of these heights and T over all pairs (Sokal and Rohlf 1962, who
    compare the heights with the distances that were clustered; here T is what they should show).
    It is 1 for D = T among leaves of one depth, whose T is ultrametric.

    Where distances tie, the clustering depends on the order of the codes, and theirs follows the
    tree. They are therefore shuffled first, always in the same way.

    Args:
        distance: (n, n) symmetric, n at least 2; the diagonal is not read.
        tree: (n, n) steps of the same codes.
    """
    order = np.random.default_rng(SHUFFLE_SEED).permutation(len(distance))
    shuffled = np.ix_(order, order)
    # checks=False: a diagonal of 0 and symmetry down to the last bit are not needed.
    d = squareform(distance[shuffled], checks=False)
    heights = cophenet(linkage(d, method='average'))
    steps = squareform(tree[shuffled], checks=False).astype(np.float64)
    return pearson(heights, steps)
