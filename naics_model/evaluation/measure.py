"""Tables of embeddings as points and distances: the geometry at work, hyperbolic or flat.

Codes stand where the tables say they do, queries where the encoder puts them, in one space.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from naics_model.encoder.table import Embeddings
from naics_model.errors import DataError
from naics_model.evaluation.points import Points
from naics_model.geometry.lorentz import pairwise_distance, radius

# Queries whose distances to all codes are computed at once: 150 MB of 2022 in float64.
_CHUNK = 4096


def points_of(embeddings: Embeddings, name: str, colour: str) -> Points:
    """Return radii (n,) and all distances (n, n) of a table, computed in float64."""
    tangent = torch.as_tensor(embeddings.tangent, dtype=torch.float64)
    distance = pairwise_distance(tangent, tangent, embeddings.curvature).numpy()
    return Points(
        name=name,
        colour=colour,
        tangent=embeddings.tangent,
        radius=radius(tangent, embeddings.curvature).numpy(),
        # A matrix product may round (i, j) and (j, i) apart; the metric itself is symmetric.
        distance=(distance + distance.T) / 2,
    )


def distances_to(
    queries: NDArray[np.float32], points: NDArray[np.float32], curvature: float
) -> NDArray[np.float32]:
    """Return the distances (q, m) of tangent vectors (q, d) to (m, d), computed in float64."""
    to = torch.as_tensor(points, dtype=torch.float64)
    parts = [
        pairwise_distance(torch.as_tensor(part, dtype=torch.float64), to, curvature).float().numpy()
        for part in np.array_split(queries, -(-len(queries) // _CHUNK) or 1)
    ]
    return np.concatenate(parts)


def nearest_known(
    queries: NDArray[np.float32],
    entries: NDArray[np.float32],
    owners: NDArray[np.integer],
    count: int,
    curvature: float,
) -> NDArray[np.float32]:
    """Return the distance (q, count) of each query to the nearest known entry of each code.

    A code without an entry is as far as the entry that is farthest from the query.

    Args:
        queries: (q, d) tangent vectors.
        entries: (e, d), e at least 1.
        owners: (e,) the code of each, 0 to count - 1.
        count: number of codes.
        curvature: c of the space.
    """
    order = np.argsort(owners, kind='stable')
    starts = np.flatnonzero(np.diff(owners[order], prepend=-1))
    parts = []
    for part in np.array_split(queries, -(-len(queries) // 512) or 1):
        distance = distances_to(part, entries[order], curvature)
        found = np.repeat(distance.max(axis=1, keepdims=True), count, axis=1)
        found[:, owners[order][starts]] = np.minimum.reduceat(distance, starts, axis=1)
        parts.append(found)
    return np.concatenate(parts)


def same_codes(embeddings: Embeddings, codes: Sequence[str], name: str) -> None:
    """Check that a table is of these codes.

    Raises:
        DataError: it is not.
    """
    if embeddings.codes != tuple(codes):
        raise DataError(
            f'The {name} embeddings are not of the codes in the descriptions: build them again '
            'for this edition.'
        )
