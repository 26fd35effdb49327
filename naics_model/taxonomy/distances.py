"""Two distances between codes; they differ, and the names keep them apart.

`half_distances` is the curriculum distance, in half units: the steps through the lowest common
ancestor inside one sector, minus a half if one code is the other's ancestor; 10 between sectors.
`tree_distances` counts steps through a virtual root above the sectors and is a true metric:
evaluation and the hierarchy loss use it.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from naics_model.taxonomy.tree import Taxonomy

UNRELATED = 20
"""The curriculum distance between sectors, 10.0, in half units."""


def half_distances(taxonomy: Taxonomy) -> NDArray[np.uint8]:
    """Return the curriculum distance of all pairs in half units.

    Subtrees are blocks of rows, so the matrix is filled block by block from the sectors down, each
    deeper common ancestor overwriting the shallower one: a few milliseconds for 2,125 codes, with
    no n x n temporary.

    Returns:
        uint8 (n, n), symmetric, 0 on the diagonal, 20 (= 10.0) between sectors.
    """
    n = len(taxonomy)
    depth = taxonomy.levels.astype(np.int16) - 2
    result = np.full((n, n), UNRELATED, np.uint8)
    for column in range(taxonomy.ancestors.shape[1]):
        for block, root in _subtrees(taxonomy, column):
            below = (depth[block] - column).astype(np.uint8)
            result[np.ix_(block, block)] = 2 * (below[:, None] + below[None, :])
            # A lineal pair is half a step nearer than its number of steps.
            result[root, block] -= 1
            result[block, root] -= 1
    np.fill_diagonal(result, 0)
    return result


def tree_distances(taxonomy: Taxonomy) -> NDArray[np.uint8]:
    """Return the number of steps between all pairs through the virtual root above the sectors.

    Returns:
        uint8 (n, n), symmetric, 0 on the diagonal, 1 to 10 elsewhere.
    """
    steps = taxonomy.levels - 1
    result: NDArray[np.uint8] = steps[:, None] + steps[None, :]
    for column in range(taxonomy.ancestors.shape[1]):
        for block, _ in _subtrees(taxonomy, column):
            below = taxonomy.levels[block] - (column + 2)
            result[np.ix_(block, block)] = below[:, None] + below[None, :]
    np.fill_diagonal(result, 0)
    return result


def _subtrees(taxonomy: Taxonomy, column: int) -> list[tuple[NDArray[np.intp], int]]:
    """Return (members, root) of each subtree of two or more codes rooted at level `column` + 2."""
    ancestor = taxonomy.ancestors[:, column]
    order = np.argsort(ancestor, kind='stable')
    order = order[ancestor[order] >= 0]
    starts = np.flatnonzero(np.diff(ancestor[order], prepend=-1))
    return [
        (block, int(ancestor[block[0]])) for block in np.split(order, starts[1:]) if len(block) > 1
    ]


def distance_table(taxonomy: Taxonomy) -> pl.DataFrame:
    """Return each unordered pair once, with the curriculum distance: `distances.parquet`.

    Returns:
        idx_i, idx_j (UInt32, idx_i < idx_j), code_i, code_j (String), distance (Float32, 0.5 to
        10.0).
    """
    i, j = np.triu_indices(len(taxonomy), k=1)
    codes = pl.Series(taxonomy.codes, dtype=pl.String)
    return pl.DataFrame(
        {
            'idx_i': i.astype(np.uint32),
            'idx_j': j.astype(np.uint32),
            'code_i': codes.gather(i),
            'code_j': codes.gather(j),
            'distance': half_distances(taxonomy)[i, j].astype(np.float32) / 2,
        }
    )
