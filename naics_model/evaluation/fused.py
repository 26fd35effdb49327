"""Rankings of the six-digit codes for asked phrases, by each reading and by all signals fused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from naics_model.encoder.queries import Encoded
from naics_model.encoder.table import Embeddings
from naics_model.errors import DataError
from naics_model.fusion.known import KnownPhrases
from naics_model.fusion.signals import Places, Scorer
from naics_model.fusion.weights import DEFAULT, fit_weights, fused_distance
from naics_model.geometry.arrays import distances_to

Distances = NDArray[np.floating]


@dataclass(frozen=True)
class Ranking:
    """Distances (q, c) from phrases to candidates; the smaller, the better.

    Attributes:
        codes: to the codes' hyperbolic points.
        flat: to their flat points, 1 - cosine.
        fused: all signals together, see `fusion.signals`.
        weights: (s,) of the signals.
    """

    codes: Distances
    flat: Distances
    fused: Distances
    weights: NDArray[np.float64]


def fused_ranking(
    embeddings: Embeddings,
    candidates: NDArray[np.integer],
    encoded: Encoded,
    known: KnownPhrases,
    asked: Sequence[str],
) -> Ranking:
    """Rank the candidates for each asked phrase.

    The weights of the signals are fitted on the validation phrases, if there are any.

    Args:
        embeddings: of all codes, with unit vectors.
        candidates: (c,) rows of the six-digit codes.
        encoded: known and asked phrases.
        known: what may be used beside the codes.
        asked: (q,) the phrases.

    Raises:
        DataError: the table has no unit vectors.
    """
    if embeddings.unit is None:
        raise DataError(
            'The embeddings have no column unit, which the fused ranking needs: embed the codes '
            'again.'
        )
    codes = Places(embeddings.unit[candidates], embeddings.tangent[candidates])
    scorer = Scorer(
        codes, embeddings.curvature, encoded.units_of(known.train.texts), known.train.owners
    )

    def places(texts: Sequence[str]) -> Places:
        return Places(encoded.units_of(texts), encoded.of(texts))

    weights = DEFAULT
    if len(known.validation):
        validation = known.validation
        weights = fit_weights(scorer.scores(places(validation.texts)), validation.owners)
    phrases = places(asked)
    return Ranking(
        codes=distances_to(phrases.tangent, codes.tangent, embeddings.curvature),
        flat=1 - phrases.unit @ codes.unit.T,
        fused=fused_distance(scorer.scores(phrases), weights),
        weights=weights,
    )
