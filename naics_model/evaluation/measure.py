"""Distances that the figures are computed from: the encoder and the geometry at work.

Everything is in the one space of the model, hyperbolic or flat: codes where the tables say they
are, queries where the encoder puts them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from naics_model.encoder.embedder import NaicsEmbedder
from naics_model.encoder.table import Embeddings
from naics_model.errors import DataError
from naics_model.evaluation.figures import Points
from naics_model.geometry.lorentz import pairwise_distance, radius
from naics_model.taxonomy.tree import Taxonomy

# Queries between two lines of progress: about two seconds' work on two cores.
CHUNK = 512


def check_one_space(embeddings: Mapping[str, Embeddings], taxonomy: Taxonomy) -> None:
    """Check that all tables are of the same codes and lie in the same space.

    Raises:
        DataError: they do not.
    """
    for name, table in embeddings.items():
        if table.codes != taxonomy.codes:
            raise DataError(
                f'The {name} embeddings are not of the codes in the descriptions: build them '
                'again for this edition.'
            )
    spaces = {(table.tangent.shape[1], table.curvature) for table in embeddings.values()}
    if len(spaces) > 1:
        raise DataError(
            f'The {" and ".join(embeddings)} embeddings are not in one space (dimension or '
            'curvature differs): refine the text embeddings of this model again.'
        )


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


def query_distances(
    model: Path,
    embeddings: Mapping[str, Embeddings],
    candidates: NDArray[np.integer],
    texts: Sequence[str],
    log: Callable[[str], None],
) -> dict[str, NDArray[np.float64]]:
    """Encode texts and return their distances (q, c) to the candidates, by table.

    Args:
        model: folder of the encoder that made the text embeddings.
        embeddings: tables by name.
        candidates: (c,) rows of the tables.
        texts: q queries, read through the title channel alone.
        log: told the progress.

    Raises:
        DataError: the model's space is not that of a table.
    """
    embedder = NaicsEmbedder.from_pretrained(model)
    for name, table in embeddings.items():
        if (
            embedder.settings['hyperbolic_dim'] != table.tangent.shape[1]
            # Tables hold it as float32.
            or np.float32(embedder.settings['curvature']) != np.float32(table.curvature)
        ):
            raise DataError(
                f'{model} encodes into another space than that of the {name} embeddings '
                '(dimension or curvature differs): give the model that made them.'
            )
    if torch.cuda.is_available():
        embedder = embedder.cuda()
    queries = _encode(embedder, texts, log).double()
    return {
        name: pairwise_distance(
            queries,
            torch.as_tensor(table.tangent[candidates], dtype=torch.float64),
            table.curvature,
        ).numpy()
        for name, table in embeddings.items()
    }


def _encode(
    embedder: NaicsEmbedder, texts: Sequence[str], log: Callable[[str], None]
) -> torch.Tensor:
    """Return tangent vectors (q, d) in the order of the texts; short texts first, so that little
    is padded, and in chunks, so that a person sees it move."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    parts = []
    for start in range(0, len(order), CHUNK):
        rows = order[start : start + CHUNK]
        parts.append(embedder.encode([texts[i] for i in rows]))
        log(f'queries encoded: {start + len(rows):,} of {len(texts):,}')
    return torch.cat(parts)[torch.as_tensor(np.argsort(order))]
