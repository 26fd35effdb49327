"""The kinship of two codes of one sector, in fourteen names.

As a table of all pairs, and for chosen pairs on demand, where n codes are too many for a table of
all. Both ways are one: the table asks for its pairs.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from naics_model.storage.tables import Column, Table
from naics_model.taxonomy.tree import Taxonomy, common_levels

# Steps up to the common ancestor, (from the shallower code, from the deeper one); in order of ids.
KINSHIPS: dict[tuple[int, int], str] = {
    (0, 1): 'child',
    (1, 1): 'sibling',
    (0, 2): 'grandchild',
    (0, 3): 'great-grandchild',
    (1, 2): 'nephew/niece',
    (0, 4): 'great-great-grandchild',
    (2, 2): 'cousin',
    (1, 3): 'grand-nephew/niece',
    (1, 4): 'great-grand-nephew/niece',
    (2, 3): 'cousin once removed',
    (3, 3): 'second cousin',
    (2, 4): 'cousin twice removed',
    (3, 4): 'second cousin once removed',
    (4, 4): 'third cousin',
}
RELATIONS = dict(enumerate(KINSHIPS.values(), start=1))
NO_RELATION = 0
"""In place of a relation id: a code and itself, or codes of two sectors."""

# uint8 (5, 5), the relation id at [steps up from the shallower code, from the deeper one].
_IDS = np.full((5, 5), NO_RELATION, np.uint8)
_IDS[tuple(zip(*KINSHIPS, strict=True))] = tuple(RELATIONS)

TABLE = Table(
    name='relations',
    row='one unordered pair of codes of one sector, in the order of idx_i, then idx_j.',
    columns=(
        Column(
            'idx_i',
            pl.UInt32(),
            'Position in descriptions of the shallower code; of two at one level, of the earlier.',
        ),
        Column('idx_j', pl.UInt32(), 'Position in descriptions of the other code.'),
        Column('code_i', pl.String(), 'The code at idx_i.'),
        Column('code_j', pl.String(), 'The code at idx_j.'),
        Column('relation_id', pl.UInt8(), 'Number of the kinship, 1 to 14.'),
        Column(
            'relation',
            pl.Enum(list(RELATIONS.values())),
            f'What code_j is to code_i; by its id, from 1: {", ".join(RELATIONS.values())}.',
        ),
    ),
)


def relations_between(
    taxonomy: Taxonomy, i: NDArray[np.integer], j: NDArray[np.integer]
) -> NDArray[np.uint8]:
    """Return the kinship of chosen pairs, in either order, in memory O(m).

    Args:
        i, j: integers (m,), indices of the codes of each pair.

    Returns:
        uint8 (m,): the relation id, what the deeper code is to the shallower one; 0 for a code and
        itself, and for codes of two sectors.
    """
    common = common_levels(taxonomy, i, j)
    # Of two sectors: as of a code and itself, so that no steps lead out of the table of ids.
    up_i, up_j = (np.where(common == 0, 0, taxonomy.levels[index] - 1 - common) for index in (i, j))
    return _IDS[np.minimum(up_i, up_j), np.maximum(up_i, up_j)]


def relation_table(taxonomy: Taxonomy) -> pl.DataFrame:
    """Return the kinship of each pair of one sector: `relations.parquet`.

    Returns:
        `TABLE`.
    """
    n, sectors = len(taxonomy), taxonomy.sectors
    order = taxonomy.levels.astype(np.int64) * n + np.arange(n)
    i, j = np.nonzero((sectors[:, None] == sectors) & (order[:, None] < order))
    relation_id = relations_between(taxonomy, i, j)

    idx_i, idx_j = pl.Series(i.astype(np.uint32)), pl.Series(j.astype(np.uint32))
    codes = pl.Series(taxonomy.codes, dtype=pl.String)
    names = pl.Series(RELATIONS.values(), dtype=TABLE.schema['relation'])
    return pl.DataFrame(
        {
            'idx_i': idx_i,
            'idx_j': idx_j,
            'code_i': codes.gather(idx_i),
            'code_j': codes.gather(idx_j),
            'relation_id': relation_id,
            'relation': names.gather(relation_id - 1),
        },
        schema=TABLE.schema,
    )
