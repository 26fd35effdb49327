"""The SQL tables of pairs and exclusions, loaded and checked, which this room's products share.

What belongs here: opening the in-memory database and refusing input that breaks its guarantees.
What a triplet is stands in `sql/triplets.sql`.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from naics_model.errors import ConfigurationError, DataError

if TYPE_CHECKING:
    # Imported where it is used: every process of the graph reads this room, and most open no
    # database.
    import duckdb

_SQL = Path(__file__).parent / 'sql'
# Indices are 16-bit, and the samplers keep 65,535 free.
_MOST_CODES = 65_535


def sql_text(name: str) -> str:
    """Return the text of `sql/<name>.sql`."""
    return (_SQL / f'{name}.sql').read_text(encoding='utf-8')


def as_name(path: Path | str) -> str:
    """Return a path for DuckDB to read, to which [brackets], * and ? are a pattern otherwise."""
    return glob.escape(str(path))


@contextmanager
def database(
    threads: int | None = None, memory_limit: str = '1GB'
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an in-memory database that never spills to disk, and close it after the block.

    Args:
        threads: DuckDB's threads; all cores where None.
        memory_limit: in DuckDB's words, such as '1GB'.

    Raises:
        ConfigurationError: the memory limit is too low for what the block asks.
    """
    import duckdb

    with duckdb.connect() as connection:
        connection.execute('set memory_limit = ?', [memory_limit])
        connection.execute("set temp_directory = ''")
        # Its bar would go into whatever stdout is, and its guesses are far off.
        connection.execute('set enable_progress_bar = false')
        if threads is not None:
            connection.execute('set threads = ?', [threads])
        try:
            yield connection
        except duckdb.OutOfMemoryException as error:
            raise ConfigurationError(
                f'DuckDB needs more memory than {memory_limit} here: raise memory_limit, or lower '
                'threads, each of which holds a part of what is written.'
            ) from error


def load_relations(
    connection: duckdb.DuckDBPyConnection, descriptions: Path, distances: Path
) -> int:
    """Make the tables `codes`, `exclusions` and `pairs` (see `sql/relations.sql`), and check them.

    Args:
        connection: an in-memory database.
        descriptions: Parquet with index, code, title, level, excluded_codes.
        distances: Parquet with idx_i, idx_j, distance; each unordered pair once.

    Returns:
        The number of codes, n.

    Raises:
        DataError: a file or a column is missing, or the two files do not describe one taxonomy.
    """
    for path in (descriptions, distances):
        if not path.is_file():
            raise DataError(f'{path} does not exist: run the step that writes it first.')
    import duckdb

    connection.execute('set variable descriptions = ?', [as_name(descriptions)])
    connection.execute('set variable distances = ?', [as_name(distances)])
    try:
        connection.execute(sql_text('relations'))
    except (duckdb.BinderException, duckdb.ConversionException, duckdb.InvalidInputException) as e:
        reason = str(e).splitlines()[0]
        raise DataError(
            f'{descriptions} and {distances} do not have the expected columns and types: {reason}'
        ) from e
    return _check(connection, descriptions, distances)


def _check(connection: duckdb.DuckDBPyConnection, descriptions: Path, distances: Path) -> int:
    n, distinct, last = _one(
        connection, 'select count(*), count(distinct idx), max(idx) from codes'
    )
    if not (0 < n <= _MOST_CODES and n == distinct and last == n - 1):
        raise DataError(
            f'{descriptions} must number its codes 0, 1, 2 … without a gap, at most '
            f'{_MOST_CODES:,} of them; it has {n:,} rows with {distinct:,} different numbers.'
        )
    unknown = _one(
        connection,
        """select count(*), min(code || ' names ' || target_code) from exclusions
        where target_idx is null or target_idx = code_idx""",
    )
    if unknown[0]:
        raise DataError(
            f'The excluded codes of {descriptions} must be other codes of the edition, but '
            f'{unknown[1]} ({unknown[0]:,} such cases): build the descriptions again.'
        )
    rows, pairs, wrong = _one(
        connection,
        """select
            count(*),
            count(distinct code_idx::uinteger * 65536 + other_idx)
                filter (code_idx < $n and other_idx < $n),
            count(*) filter (code_idx = other_idx or half_distance not between 1 and 20)
        from pairs""",
        {'n': n},
    )
    if not rows == pairs == n * (n - 1) or wrong:
        raise DataError(
            f'{distances} must have each of the {n * (n - 1) // 2:,} pairs of the {n:,} codes in '
            f'{descriptions} once, 0.5 to 10 apart; it has {rows // 2:,} rows: build it again.'
        )
    return int(n)


def _one(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: dict[str, int] | None = None
) -> tuple:
    # fetchall, because DuckDB keeps a connection busy until a result is read to its end.
    return connection.execute(query, parameters).fetchall()[0]
