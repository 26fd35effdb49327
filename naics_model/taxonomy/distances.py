"""Two distances between codes; they differ, and the names keep them apart.

`half_distances` is the curriculum distance, in half units: the steps through the lowest common
ancestor inside one sector, minus a half if one code is the other's ancestor; 10 between sectors.
`tree_distances` counts steps through a virtual root above the sectors and is a true metric:
evaluation and the hierarchy loss use it.

Both come as a matrix of all pairs, and for chosen pairs on demand from the ancestor table, where n
codes are too many for n x n bytes. The two ways share no code: a check compares them.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from naics_model.storage.tables import Column, Table
from naics_model.taxonomy.tree import Taxonomy, common_levels

TABLE = Table(
    name='distances',
    row='one unordered pair of codes, in the order of idx_i, then idx_j.',
    columns=(
        Column('idx_i', pl.UInt32(), 'Position of the one code in descriptions, before idx_j.'),
        Column('idx_j', pl.UInt32(), 'Position of the other code in descriptions.'),
        Column('code_i', pl.String(), 'The code at idx_i.'),
        Column('code_j', pl.String(), 'The code at idx_j.'),
        Column(
            'distance',
            pl.Float32(),
            'The curriculum distance, 0.5 to 10.0: the steps between the codes through their '
            "lowest common ancestor, minus 0.5 if one is the other's ancestor; 10.0 between "
            'sectors.',
        ),
    ),
)

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


def half_distances_between(
    taxonomy: Taxonomy, i: NDArray[np.integer], j: NDArray[np.integer]
) -> NDArray[np.uint8]:
    """Return the curriculum distance of chosen pairs in half units, in memory O(m).

    Args:
        i, j: integers (m,), indices of the codes of each pair.

    Returns:
        uint8 (m,), as `half_distances` has them at [i, j].
    """
    common = common_levels(taxonomy, i, j)
    up_i = taxonomy.levels[i] - 1 - common
    up_j = taxonomy.levels[j] - 1 - common
    lineal = (up_i == 0) != (up_j == 0)
    return np.where(common == 0, np.uint8(UNRELATED), 2 * (up_i + up_j) - lineal)


def tree_distances_between(
    taxonomy: Taxonomy, i: NDArray[np.integer], j: NDArray[np.integer]
) -> NDArray[np.uint8]:
    """Return the steps between chosen pairs through the virtual root, in memory O(m).

    Args:
        i, j: integers (m,), indices of the codes of each pair.

    Returns:
        uint8 (m,), as `tree_distances` has them at [i, j].
    """
    # The root is one level of ancestors more, which all share.
    common = common_levels(taxonomy, i, j) + 1
    return taxonomy.levels[i] + taxonomy.levels[j] - 2 * common


def distance_table(taxonomy: Taxonomy) -> pl.DataFrame:
    """Return each unordered pair once, with the curriculum distance: `distances.parquet`.

    Returns:
        `TABLE`, n (n - 1) / 2 rows.
    """
    indices = np.arange(len(taxonomy), dtype=np.uint32)
    upper = np.triu(np.ones((len(taxonomy), len(taxonomy)), bool), k=1)
    # As Polars series in 32 bits, what the gathering of codes wants: half the time of int64 arrays.
    idx_i = pl.Series(np.repeat(indices, indices[::-1]))
    idx_j = pl.Series(np.broadcast_to(indices, upper.shape)[upper])
    codes = pl.Series(taxonomy.codes, dtype=pl.String)
    return pl.DataFrame(
        {
            'idx_i': idx_i,
            'idx_j': idx_j,
            'code_i': codes.gather(idx_i),
            'code_j': codes.gather(idx_j),
            'distance': half_distances(taxonomy)[upper].astype(np.float32) / 2,
        },
        schema=TABLE.schema,
    )
