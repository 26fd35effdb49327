"""The kinship of two codes of one sector, in fourteen names."""

from __future__ import annotations

import numpy as np
import polars as pl

from naics_model.taxonomy.tree import Taxonomy

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


def relation_table(taxonomy: Taxonomy) -> pl.DataFrame:
    """Return what `code_j` is to `code_i`, the shallower one, for each same-sector pair once.

    Returns:
        idx_i, idx_j (UInt32), code_i, code_j (String), relation_id (UInt8, 1 to 14), relation (Enum
        of the names). Of two codes at one level, the earlier in workbook order is `i`. Sorted by
        idx_i, idx_j.
    """
    ids = np.zeros((5, 5), np.uint8)
    for number, (shallow, deep) in enumerate(KINSHIPS, start=1):
        ids[shallow, deep] = number

    rows_i, rows_j, rows_id = [], [], []
    for sector in np.unique(taxonomy.sectors):
        members = np.flatnonzero(taxonomy.sectors == sector)
        a, b = np.triu_indices(len(members), k=1)
        i, j = members[a], members[b]
        swap = taxonomy.levels[i] > taxonomy.levels[j]
        i, j = np.where(swap, j, i), np.where(swap, i, j)
        above_i, above_j = taxonomy.ancestors[i], taxonomy.ancestors[j]
        common_level = ((above_i == above_j) & (above_i >= 0)).sum(1) + 1
        rows_i.append(i)
        rows_j.append(j)
        rows_id.append(ids[taxonomy.levels[i] - common_level, taxonomy.levels[j] - common_level])

    codes = pl.Series(taxonomy.codes, dtype=pl.String)
    i, j, relation_id = (np.concatenate(rows) for rows in (rows_i, rows_j, rows_id))
    names = pl.Series(['', *RELATIONS.values()], dtype=pl.String).gather(
        relation_id.astype(np.uint32)
    )
    return pl.DataFrame(
        {
            'idx_i': i.astype(np.uint32),
            'idx_j': j.astype(np.uint32),
            'code_i': codes.gather(i),
            'code_j': codes.gather(j),
            'relation_id': relation_id,
            'relation': names.cast(pl.Enum(list(RELATIONS.values()))),
        }
    ).sort('idx_i', 'idx_j')
