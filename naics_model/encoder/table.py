"""The table of embeddings: written after training or refinement, read by all who use them.

Only the format. Where vectors come from, and what they are good for, is not known here. Torch is
imported when a table is made, not when one is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from naics_model.errors import DataError
from naics_model.storage.files import read_parquet

if TYPE_CHECKING:
    import torch

_COLUMNS = ('index', 'code', 'level', 'title', 'curvature', 'radius', 'tangent', 'lorentz')


@dataclass(frozen=True)
class Embeddings:
    """One point per code.

    Attributes:
        codes: the n codes, in the edition's order.
        levels: uint8 (n,), 2 to 6.
        tangent: float32 (n, d), tangent vectors at the origin.
        curvature: c >= 0, of the space of curvature -c; 0 is flat.
        unit: float32 (n, width), unit vectors of the flat reading; None where the table has none.
    """

    codes: tuple[str, ...]
    levels: NDArray[np.uint8]
    tangent: NDArray[np.float32]
    curvature: float
    unit: NDArray[np.float32] | None = None


def embedding_table(
    descriptions: pl.DataFrame,
    tangent: torch.Tensor | NDArray[np.floating],
    curvature: float,
    unit: torch.Tensor | NDArray[np.floating] | None = None,
) -> pl.DataFrame:
    """Lay out embeddings as a table, one row per code.

    Args:
        descriptions: the edition's descriptions, of which index, code, level and title are taken.
        tangent: (n, d) tangent vectors at the origin, in the descriptions' order.
        curvature: c >= 0.
        unit: (n, width) unit vectors of the flat reading.

    Returns:
        index UInt32, code String, level UInt8, title String, curvature Float32, radius Float32
        (in units of 1/sqrt(c), plain ones at c = 0), tangent Array(Float32, d), lorentz
        Array(Float32, d + 1) (time coordinate first), unit Array(Float32, width). At c = 0 without
        `lorentz`, because a flat space has no hyperboloid; without `unit` where none is given.

    Raises:
        DataError: the number of vectors is not the number of codes, or one is not finite.
    """
    import torch

    from naics_model.geometry import lorentz

    vectors = torch.as_tensor(tangent).detach().cpu()
    if vectors.ndim != 2 or len(vectors) != len(descriptions):
        raise DataError(
            f'There are {len(descriptions)} codes but embeddings of shape {tuple(vectors.shape)}: '
            'embed the same edition.'
        )
    broken = ~torch.isfinite(vectors).all(dim=1)
    if broken.any():
        codes = descriptions['code'].filter(pl.Series(broken.numpy())).to_list()
        raise DataError(
            f'{len(codes)} codes have an embedding that is not finite ({", ".join(codes[:5])}): '
            'the training diverged, so train again with a lower learning rate.'
        )
    # In float64, so that the stored coordinates are the nearest float32 to the true ones.
    exact = vectors.double()
    radii = lorentz.radius(exact, curvature)
    points = []
    if curvature > 0:
        points = [_array('lorentz', lorentz.exp_map_origin(exact, curvature))]
    if unit is not None:
        points.append(_array('unit', torch.as_tensor(unit).detach().cpu()))
    return descriptions.select(
        pl.col('index').cast(pl.UInt32),
        pl.col('code'),
        pl.col('level').cast(pl.UInt8),
        pl.col('title'),
        pl.lit(curvature, pl.Float32).alias('curvature'),
        pl.Series('radius', radii.float().numpy()),
        _array('tangent', vectors),
        *points,
    )


def read_embeddings(path: Path) -> Embeddings:
    """Read a table written from `embedding_table`.

    Raises:
        DataError: the file is missing, lacks a column, or mixes curvatures.
    """
    frame = read_parquet(path)
    flat = 'curvature' in frame.columns and (frame['curvature'] == 0).all()
    needed = [name for name in _COLUMNS if not (flat and name == 'lorentz')]
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        raise DataError(f'{path} has no column {", ".join(missing)}: embed the codes again.')
    curvatures = frame['curvature'].unique().to_list()
    if len(curvatures) != 1:
        raise DataError(
            f'{path} must have one curvature, but has {len(curvatures)}: embed the codes again.'
        )
    return Embeddings(
        codes=tuple(frame['code'].to_list()),
        levels=frame['level'].to_numpy().astype(np.uint8),
        tangent=np.array(frame['tangent'].to_numpy(), np.float32),
        curvature=float(curvatures[0]),
        unit=np.array(frame['unit'].to_numpy(), np.float32) if 'unit' in frame.columns else None,
    )


def _array(name: str, values: torch.Tensor) -> pl.Series:
    return pl.Series(name, values.float().numpy(), dtype=pl.Array(pl.Float32, values.shape[1]))
