"""Tables of embeddings as points and distances: the geometry at work, hyperbolic or flat."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from naics_model.encoder.table import Embeddings
from naics_model.errors import DataError
from naics_model.evaluation.points import Points
from naics_model.geometry.lorentz import pairwise_distance, radius


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
