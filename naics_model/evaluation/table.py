"""The figures of one table of embeddings, whoever made it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from naics_model.corpus.descriptions import taxonomy_of
from naics_model.errors import DataError
from naics_model.evaluation.radius import collapse_metrics, radius_metrics
from naics_model.evaluation.retrieval import retrieval_metrics
from naics_model.evaluation.structure import structure_metrics
from naics_model.evaluation.vectors import Space, Vectors, distances, read_vectors, vectors_of
from naics_model.storage.files import read_parquet
from naics_model.taxonomy.tree import Taxonomy


@dataclass(frozen=True)
class Measured:
    """What was measured of a table.

    Attributes:
        vectors: the table's vectors.
        metrics: the figures, as `group/name`.
        queries: number of queries; 0 where none were asked.
    """

    vectors: Vectors
    metrics: dict[str, float]
    queries: int


def measure_table(
    embeddings: Path,
    descriptions: Path,
    *,
    column: str | None = None,
    space: Space | None = None,
    queries: Path | None = None,
) -> Measured:
    """Measure structure, radius and collapse of a table, and search where queries are given.

    Args:
        embeddings: see `vectors.read_vectors`.
        descriptions: the edition's descriptions.
        column: the vectors' column.
        space: what the vectors are.
        queries: Parquet with `code`, the right six-digit code of each text, and a column of
            vectors of the same name, made by the same encoder.

    Raises:
        DataError: a file is missing, or is not what it should be.
    """
    codes = read_parquet(descriptions)
    taxonomy = taxonomy_of(codes)
    vectors = read_vectors(embeddings, taxonomy.codes, column, space)
    distance, radius = vectors.distance, vectors.radius
    figures = {
        'structure': structure_metrics(distance, taxonomy, codes['title'].to_list()),
        'radius': {} if radius is None else radius_metrics(radius, taxonomy),
        'collapse': collapse_metrics(distance, vectors.values),
    }
    asked = 0
    if queries is not None:
        figures['retrieval'], asked = _search(queries, vectors, taxonomy)
    metrics = {f'{group}/{name}': v for group, part in figures.items() for name, v in part.items()}
    return Measured(vectors, metrics, asked)


def _search(path: Path, vectors: Vectors, taxonomy: Taxonomy) -> tuple[dict[str, float], int]:
    frame = read_parquet(path)
    for name in ('code', vectors.column):
        if name not in frame.columns:
            raise DataError(
                f'{path} has no column {name}: each row must have the right six-digit code of a '
                'text, and the vector of the text under the name that the codes have it under.'
            )
    candidates = np.flatnonzero(taxonomy.levels == 6)
    position = {taxonomy.codes[i]: row for row, i in enumerate(candidates)}
    right = frame['code'].cast(pl.String)
    unknown = right.filter(~right.is_in(list(position)).fill_null(False)).unique()
    if len(unknown) or right.null_count():
        raise DataError(
            f'{path} has queries of {", ".join(map(str, unknown.sort()[:5]))}, which are no '
            'six-digit codes of the edition.'
        )
    asked = vectors_of(frame, vectors.column, path)
    if asked.shape[1] != vectors.values.shape[1]:
        raise DataError(
            f'{path} has vectors of {asked.shape[1]} numbers, but the codes of '
            f'{vectors.values.shape[1]}: embed both with one encoder.'
        )
    distance = distances(asked, vectors.values[candidates], vectors.space, vectors.curvature)
    truth = np.array([position[code] for code in right], np.intp)
    return retrieval_metrics(distance, truth, [taxonomy.codes[i] for i in candidates]), len(truth)
