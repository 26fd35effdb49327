"""Any table of embeddings, ours or another's, as distances between the codes of an edition.

What belongs here: finding the vectors in a Parquet file, putting them in the edition's order, and
the distances of the space they are meant for. What the distances are worth is measured elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from naics_model.errors import DataError
from naics_model.geometry import lorentz
from naics_model.storage.files import read_parquet

Space = Literal['lorentz', 'hyperboloid', 'euclidean', 'cosine']
"""lorentz: tangent vectors at the origin (of curvature 0: euclidean); hyperboloid: points, time
coordinate first; euclidean: straight lines; cosine: 1 - cosine of the angle."""

SPACE_OF_COLUMN: dict[str, Space] = {'tangent': 'lorentz', 'lorentz': 'hyperboloid'}
"""The columns that our own tables have; vectors under another name are taken as euclidean."""


@dataclass(frozen=True)
class Vectors:
    """The vectors of all codes of an edition.

    Attributes:
        values: float64 (n, d), in the edition's order.
        column: the column that they were read from.
        space: what they are.
        curvature: c > 0 of a space of curvature -c; 1 where it is of no matter.
    """

    values: NDArray[np.float64]
    column: str
    space: Space
    curvature: float

    @property
    def distance(self) -> NDArray[np.float64]:
        """float64 (n, n), symmetric."""
        found = distances(self.values, self.values, self.space, self.curvature)
        # A matrix product may round (i, j) and (j, i) apart; the distance itself is symmetric.
        return (found + found.T) / 2

    @property
    def radius(self) -> NDArray[np.float64] | None:
        """float64 (n,), distances from the origin; None where only directions count."""
        if self.space == 'cosine':
            return None
        if self.space == 'euclidean':
            return np.linalg.norm(self.values, axis=1)
        tangent = tangents(self.values, self.space, self.curvature)
        return lorentz.radius(tangent, self.curvature).numpy()


def read_vectors(
    path: Path, codes: Sequence[str], column: str | None, space: Space | None
) -> Vectors:
    """Read the vectors of an edition's codes.

    Args:
        path: Parquet with a column `code`, one of vectors, and for a hyperbolic space `curvature`
            (1 where it is missing; 0 makes tangent vectors euclidean).
        codes: the edition's codes, in its order.
        column: the vectors' column; where None, the only one there is, `tangent` first.
        space: what they are; where None, what our own tables have under that name, or euclidean.

    Raises:
        DataError: the file or a column is missing, a code is missing or there twice, the vectors
            are of different lengths or not finite, or there is more than one curvature, or none
            that the space can have.
    """
    column, rows = read_rows(path, codes, column)
    space = space or SPACE_OF_COLUMN.get(column, 'euclidean')
    curvatures = [1.0]
    if space in ('lorentz', 'hyperboloid') and 'curvature' in rows.columns:
        curvatures = rows['curvature'].unique().to_list()
    if space == 'lorentz' and curvatures == [0]:
        # The Euclidean control's own tables.
        space, curvatures = 'euclidean', [1.0]
    if len(curvatures) != 1 or not curvatures[0] or curvatures[0] <= 0:
        raise DataError(
            f'{path} must have one positive number as curvature, but has '
            f'{", ".join(map(str, curvatures[:5]))}: embed the codes again.'
        )
    return Vectors(vectors_of(rows, column, path), column, space, float(curvatures[0]))


def read_rows(path: Path, codes: Sequence[str], column: str | None) -> tuple[str, pl.DataFrame]:
    """Read the rows of some codes, in their order.

    Args:
        path: Parquet with a column `code` and one of vectors, a list or an array of numbers; in
            any order, other codes and columns are passed over.
        codes: the codes that are wanted.
        column: the vectors' column; where None, the only one there is, `tangent` first.

    Returns:
        The vectors' column, and the rows.

    Raises:
        DataError: the file or a column is missing, a code is missing or there twice, or the
            vectors are of different lengths or not finite.
    """
    frame = read_parquet(path)
    if 'code' not in frame.columns:
        raise DataError(f'{path} has no column code: each row must name the code of its vector.')
    found = [name for name, dtype in frame.schema.items() if _is_vector(dtype)]
    if column is None:
        column = 'tangent' if 'tangent' in found else found[0] if len(found) == 1 else None
    if column not in found:
        raise DataError(
            f'{path} must have one column of vectors (lists or arrays of numbers), but has '
            f'{", ".join(found) or "none"}: name one with --column.'
        )
    rows = pl.DataFrame({'code': codes}).join(
        frame.with_columns(pl.col('code').cast(pl.String)), on='code', how='left'
    )
    if len(rows) > len(codes):
        repeated = rows.filter(pl.col('code').is_duplicated())['code'][0]
        raise DataError(f'{path} has more than one vector of code {repeated}: keep one of each.')
    missing = rows.filter(pl.col(column).is_null())['code'].to_list()
    if missing:
        raise DataError(
            f'{path} has no vector of {len(missing):,} of {len(codes):,} codes ('
            f'{", ".join(missing[:5])}, …): is it of this edition? A range sector is stored under '
            'its first prefix (31, 44, 48).'
        )
    return column, rows


def vectors_of(rows: pl.DataFrame, column: str, path: Path) -> NDArray[np.float64]:
    """Return a column of vectors as float64 (n, d).

    Raises:
        DataError: they are of different lengths, or not finite.
    """
    values = rows[column]
    if isinstance(values.dtype, pl.List):
        lengths = values.list.len().unique().to_list()
        if len(lengths) != 1 or lengths[0] == 0:
            raise DataError(
                f'{path} has vectors of different lengths in {column} '
                f'({", ".join(map(str, sorted(lengths)[:5]))}): all must have one.'
            )
        values = values.list.to_array(lengths[0])
    vectors = np.asarray(values.to_numpy(), np.float64)
    if not np.isfinite(vectors).all():
        raise DataError(f'{path} has numbers in {column} that are not finite: embed again.')
    return vectors


def _is_vector(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.List | pl.Array) and bool(dtype.inner) and dtype.inner.is_numeric()


def distances(
    a: NDArray[np.float64], b: NDArray[np.float64], space: Space, curvature: float
) -> NDArray[np.float64]:
    """Return the distances of rows (n, d) to rows (m, d) as (n, m), in float64.

    Args:
        space: what the vectors are; see `Space`.
        curvature: c > 0 of a space of curvature -c; of no matter to flat ones.
    """
    if space in ('lorentz', 'hyperboloid'):
        u, v = (tangents(x, space, curvature) for x in (a, b))
        return lorentz.pairwise_distance(u, v, curvature).numpy()
    if space == 'cosine':
        a, b = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (a, b))
        return np.maximum(1 - a @ b.T, 0.0)
    return np.asarray(cdist(a, b))


def tangents(vectors: NDArray[np.float64], space: Space, curvature: float) -> torch.Tensor:
    """Return vectors of a hyperbolic space as tangent vectors at its origin, float64."""
    values = torch.as_tensor(vectors, dtype=torch.float64)
    return lorentz.log_map_origin(values, curvature) if space == 'hyperboloid' else values
