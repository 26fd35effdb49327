"""Questions to the published triplets: how many of each kind, and which rows are not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from naics_model.errors import DataError
from naics_model.triplets.hardness import LEVELS
from naics_model.triplets.relations import as_name, database, sql_text

if TYPE_CHECKING:
    import duckdb

_TYPES = {
    'anchor_idx': np.uint16,
    'positive_idx': np.uint16,
    'negative_idx': np.uint16,
    'hardness': np.uint8,
    'positive_distance': np.uint8,
    'negative_distance': np.uint8,
}

_KINDS = pl.Schema(
    {
        'hardness': pl.UInt8,
        'positive_distance': pl.UInt8,
        'negative_distance': pl.UInt8,
        'triplets': pl.Int64,
        'of_no_hardness': pl.Boolean,
        'of_no_distance': pl.Boolean,
        'not_farther': pl.Boolean,
        'of_other_hardness': pl.Boolean,
    }
)


def absent_rows(triplets: Path, rows: Mapping[str, NDArray[np.integer]]) -> pl.DataFrame:
    """Return which rows are not in the published file.

    Args:
        triplets: the file.
        rows: each column of the file, (R,) values.

    Returns:
        Those that are not there, each once, with the columns of the file.

    Raises:
        DataError: the file is missing, or is no file of triplets.
        ConfigurationError: there is too little memory.
    """
    wanted = {name: np.ascontiguousarray(rows[name], dtype) for name, dtype in _TYPES.items()}
    with _opened(triplets) as connection:
        connection.register('wanted', wanted)
        return pl.DataFrame(connection.execute(sql_text('absent_rows')).fetchnumpy())


def rows_by_hardness(triplets: Path) -> dict[int, int]:
    """Count the rows of each hardness in the published file; others than 1 to 8 are counted, too.

    Raises:
        DataError: the file is missing, or is no file of triplets.
    """
    with _opened(triplets) as connection:
        return count_by_hardness(connection, triplets)


def kinds_of_rows(triplets: Path) -> pl.DataFrame:
    """Count the rows of the published file by hardness and distances.

    Returns:
        hardness, positive_distance, negative_distance, triplets (their number), and in
        of_no_hardness, of_no_distance, not_farther and of_other_hardness what is wrong with them
        (see `sql/kinds_of_rows.sql`).

    Raises:
        DataError: the file is missing, or is no file of triplets.
        ConfigurationError: there is too little memory.
    """
    with _opened(triplets) as connection:
        # As Python's own values, because NumPy's have no null.
        rows = connection.execute(sql_text('kinds_of_rows')).fetchall()
    return pl.DataFrame(rows, _KINDS, orient='row')


def last_indices(triplets: Path) -> dict[str, int | None]:
    """Return the highest index in each column of them; the file's statistics have it.

    Raises:
        DataError: the file is missing, or is no file of triplets.
    """
    columns = [name for name in _TYPES if name.endswith('_idx')]
    highest = ', '.join(f'max({column})' for column in columns)
    with _opened(triplets) as connection:
        rows = connection.execute(
            f"select {highest} from read_parquet(getvariable('triplets'))"
        ).fetchall()
    return dict(zip(columns, rows[0], strict=True))


def count_by_hardness(connection: duckdb.DuckDBPyConnection, triplets: Path) -> dict[int, int]:
    """Count the rows of each hardness in a file of triplets."""
    rows = connection.execute(
        'select hardness, count(*) from read_parquet(?) group by hardness', [as_name(triplets)]
    ).fetchall()
    return dict.fromkeys(LEVELS, 0) | dict(rows)


@contextmanager
def _opened(triplets: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    import duckdb

    if not triplets.is_file():
        raise DataError(f'{triplets} does not exist: run the step that writes it first.')
    with database() as connection:
        connection.execute('set variable triplets = ?', [as_name(triplets)])
        try:
            yield connection
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error as error:
            reason = str(error).partition('\n')[0]
            raise DataError(
                f'{triplets} is damaged, or no file of triplets ({reason}): build it again.'
            ) from error
