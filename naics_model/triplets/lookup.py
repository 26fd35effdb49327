"""Finding single triplets among the published ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from naics_model.errors import DataError
from naics_model.triplets.relations import database, sql_text

_TYPES = {
    'anchor_idx': np.uint16,
    'positive_idx': np.uint16,
    'negative_idx': np.uint16,
    'hardness': np.uint8,
}


def absent_rows(
    triplets: Path,
    anchor: NDArray[np.integer],
    positive: NDArray[np.integer],
    negative: NDArray[np.integer],
    hardness: NDArray[np.integer],
) -> pl.DataFrame:
    """Return which triplets are not in the published file with that very hardness.

    Args:
        triplets: the file.
        anchor, positive, negative: (R,) code indices.
        hardness: (R,), 1 to 8.

    Returns:
        anchor_idx, positive_idx, negative_idx, hardness of those that are not, each once.

    Raises:
        DataError: the file is missing.
        ConfigurationError: there is too little memory.
    """
    if not triplets.is_file():
        raise DataError(f'{triplets} does not exist: run the step that writes it first.')
    columns = (anchor, positive, negative, hardness)
    wanted = {
        name: np.ascontiguousarray(values, dtype)
        for (name, dtype), values in zip(_TYPES.items(), columns, strict=True)
    }
    with database() as connection:
        connection.register('wanted', wanted)
        connection.execute('set variable triplets = ?', [str(triplets)])
        return pl.DataFrame(connection.execute(sql_text('absent_rows')).fetchnumpy())
