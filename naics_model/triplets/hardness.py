"""The hardness of a triplet, for arrays: the same definition as `sql/triplets.sql`.

With m = distance(anchor, negative) - distance(anchor, positive), the first that holds: 8, a
cross-reference of the anchor or of the positive names the negative; 1, the negative is in another
sector; then by margin 7 (m at most 0.5), 6 (1), 5 (2), 4 (3), 3 (4), 2 (more). Levels 2 to 7 are
classes of margin, not of kinship.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from naics_model.taxonomy.distances import UNRELATED
from naics_model.triplets.relation_index import RelationIndex

HARDNESS = {
    1: 'another sector',
    2: 'margin over 4',
    3: 'margin up to 4',
    4: 'margin up to 3',
    5: 'margin up to 2',
    6: 'margin up to 1',
    7: 'margin up to 0.5',
    8: 'cross-reference',
}
"""Each level in a word or two; the margin is how much farther the negative is."""
LEVELS = tuple(HARDNESS)
EXCLUDED = np.uint8(8)
"""The hardness of a negative that a cross-reference names."""


def margin_levels() -> NDArray[np.uint8]:
    """Return the hardness by distance alone, exclusions left out.

    Returns:
        uint8 (21, 21), rows distance(anchor, positive), columns the negative key (see
        `RelationIndex.keys`), both in half units; 0 where the negative is not allowed. Falls, or
        stays, along a row beyond the positive's distance.
    """
    positive, key = np.mgrid[: UNRELATED + 1, : UNRELATED + 1]
    margin = key - positive
    level = np.select(
        [key == UNRELATED, margin <= 1, margin <= 2, margin <= 4, margin <= 6, margin <= 8],
        [1, 7, 6, 5, 4, 3],
        2,
    )
    return np.where(margin > 0, level, 0).astype(np.uint8)


def hardness_matrix(
    index: RelationIndex,
    anchors: NDArray[np.int64],
    positives: NDArray[np.int64],
    candidates: NDArray[np.int64],
) -> NDArray[np.uint8]:
    """Return the hardness of each candidate as a negative of each (anchor, positive).

    Args:
        index: the edition's relations.
        anchors: (B,) code indices.
        positives: (B,) code indices, each another code of its anchor's sector.
        candidates: (M,) code indices.

    Returns:
        uint8 (B, M), 1 to 8; 0 where the candidate is no negative of that pair.
    """
    # But for exclusions, pairs of one anchor and one distance have equal rows: look those up once.
    near = index.distance[anchors, positives].astype(np.int64)
    row, of_pair = np.unique(anchors * (UNRELATED + 1) + near, return_inverse=True)
    anchor, distance = np.divmod(row, UNRELATED + 1)
    # Columns first, then whole rows: three times as fast as entry by entry.
    keys = index.keys[:, candidates][anchor]
    levels = margin_levels()[distance[:, None], keys][of_pair]
    excluded = index.excluded[:, candidates]
    levels[(excluded[anchors] | excluded[positives]) & (levels > 0)] = EXCLUDED
    return levels
