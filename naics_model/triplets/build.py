"""Writing `triplets.parquet`: every (anchor, positive, negative) of an edition with its hardness.

What belongs here: running the query of `sql/triplets.sql`, and the summary of what it wrote. The
definition itself is in the SQL, and `hardness.py` has the same definition for arrays. Seed mode,
`sql/seed_triplets.sql`, is an older definition with known counts, for tests and benchmarks; nothing
that is published is made with it.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import polars as pl

from naics_model.errors import DataError
from naics_model.storage.files import atomic_write
from naics_model.storage.tables import Column, Table
from naics_model.triplets.lookup import count_by_hardness
from naics_model.triplets.relations import as_name, database, load_relations, sql_text

if TYPE_CHECKING:
    import duckdb

TABLE = Table(
    name='triplets',
    row='one ordered (anchor, positive, negative), in no promised order.',
    columns=(
        Column('anchor_idx', pl.UInt16(), 'Index of the anchor, as in descriptions.'),
        Column('positive_idx', pl.UInt16(), 'Index of the positive: another code of its sector.'),
        Column(
            'negative_idx',
            pl.UInt16(),
            'Index of the negative: a code farther from the anchor than the positive, and neither '
            'above nor below it.',
        ),
        Column(
            'hardness',
            pl.UInt8(),
            '1 (another sector) to 7 (hardly farther than the positive) by how much farther the '
            'negative is; 8 if a cross-reference of the anchor or the positive names it.',
        ),
        Column('positive_distance', pl.UInt8(), 'Anchor to positive, in half units: 4 is 2.0.'),
        Column('negative_distance', pl.UInt8(), 'Anchor to negative, in half units.'),
    ),
)

Mode = Literal['strict', 'seed']
# The mode -> the SQL that defines it.
_DEFINITIONS: dict[Mode, str] = {'strict': 'triplets', 'seed': 'seed_triplets'}

# Dictionaries cost CPU and size here, because values repeat in runs, which zstd folds by itself at
# its fastest level. Row groups of a million rows would take a quarter off the file, but each asks
# the system for its memory anew (measured on a fifth of 2022: 11.8 CPU-seconds, 11.1 so).
_COPY = """
copy (from triplets) to $out (
    format parquet, compression zstd, compression_level 1, dictionary_size_limit 1,
    row_group_size 262144, kv_metadata {digest: $digest}
)
"""

_PROGRESS_SECONDS = 5


@dataclass(frozen=True)
class TripletSummary:
    """What a build wrote.

    Attributes:
        rows: number of triplets.
        rows_by_hardness: number of triplets of each hardness, 1 to 8, counted in the written file.
        bytes: size of the file.
        cpu_seconds: processor time of the build, all threads.
        seconds: wall-clock time of the build.
        digest: identity of the content (see `build_triplets`), also in the file's metadata.
        examples: one triplet per hardness in words, hardest first, all of one anchor.
    """

    rows: int
    rows_by_hardness: dict[int, int]
    bytes: int
    cpu_seconds: float
    seconds: float
    digest: str
    examples: tuple[str, ...]


def build_triplets(
    descriptions: Path,
    distances: Path,
    out: Path,
    *,
    mode: Mode = 'strict',
    threads: int | None = None,
    memory_limit: str = '1GB',
    progress: Callable[[str], None] | None = None,
) -> TripletSummary:
    """Write all triplets of an edition as one Parquet file, atomically.

    The columns are those of `TABLE`.

    Rows are in no promised order, because threads finish their parts in any order, and so two
    builds differ in their bytes. The `digest` is therefore not of the bytes: it is the sha256 of
    what the rows are a pure function of, which are the distance of each pair, the exclusions, and
    the SQL of the mode without its comments. It costs 0.1 CPU-seconds on 2022. A sum of one hash
    per row, which would say the same, costs 5 while writing, 23 from the file, and changes with
    DuckDB's version.

    Args:
        descriptions: Parquet with index, code, title, level, excluded_codes.
        distances: Parquet with idx_i, idx_j, distance; each unordered pair once.
        out: the file to write.
        mode: 'strict' is the project's definition; 'seed', an older one with known counts, is
            for tests and benchmarks only.
        threads: DuckDB's threads; all cores where None.
        memory_limit: DuckDB's memory limit; 2022 needs about half a gigabyte with two threads.
        progress: told in words how far the writing is, every few seconds.

    Raises:
        DataError: the input is missing, contradicts itself, or the file does not hold every row.
        ConfigurationError: the memory limit is too low.
    """
    start, cpu_start = time.perf_counter(), time.process_time()
    with database(threads, memory_limit) as connection:
        define_triplets(connection, descriptions, distances, mode)
        # The order of parts does not matter, and keeping it would hold parts back in memory.
        connection.execute('set preserve_insertion_order = false')
        digest = _digest(connection, mode)
        with atomic_write(out) as temporary:
            written = _write(connection, temporary, digest, progress)
            counts = count_by_hardness(connection, temporary)
            if sum(counts.values()) != written:
                raise DataError(
                    f'{out} held {sum(counts.values()):,} of {written:,} triplets after writing '
                    'and was not kept: the disk may be full or failing.'
                )
        examples = _examples(connection)
    return TripletSummary(
        rows=written,
        rows_by_hardness=counts,
        bytes=out.stat().st_size,
        cpu_seconds=time.process_time() - cpu_start,
        seconds=time.perf_counter() - start,
        digest=digest,
        examples=examples,
    )


def define_triplets(
    connection: duckdb.DuckDBPyConnection, descriptions: Path, distances: Path, mode: Mode
) -> None:
    """Make the view `triplets`, with the columns of `TABLE`; no triplet is made until it is read.

    Counting its rows takes less than half the time of writing them.

    Args:
        connection: an in-memory database.
        descriptions, distances, mode: as in `build_triplets`.

    Raises:
        DataError: the input is missing or contradicts itself.
    """
    n = load_relations(connection, descriptions, distances)
    connection.execute('set variable last_idx = ?::usmallint', [n - 1])
    connection.execute(sql_text(_DEFINITIONS[mode]))


def open_published_view(
    descriptions: Path | str, triplets: Path | str
) -> duckdb.DuckDBPyConnection:
    """Open a database whose view `published_triplets` shows the triplets with their codes.

    A condition on anchor_code or positive_code reads only the parts of the file that can have such
    rows, 0.5 of 20 MB for one anchor of 2022; one on negative_code alone reads it all.
    """
    import duckdb

    connection = duckdb.connect()
    connection.execute('set variable descriptions = ?', [as_name(descriptions)])
    connection.execute('set variable triplets = ?', [as_name(triplets)])
    connection.execute(sql_text('published_view'))
    return connection


def _write(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    digest: str,
    progress: Callable[[str], None] | None,
) -> int:
    """Write the triplets to `path` and return their number, telling `progress` how large it is."""
    import duckdb

    start = time.perf_counter()
    parameters = {'out': str(path), 'digest': digest}
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(lambda: connection.execute(_COPY, parameters).fetchall())
        try:
            # The size so far, because DuckDB's own percentage counts rows read, and a join that
            # makes 200 rows of each stays at 0 % for half of the time.
            while not wait([running], timeout=_PROGRESS_SECONDS).done:
                if progress is not None:
                    size = path.stat().st_size / 1e6 if path.exists() else 0
                    progress(f'Triplets: {size:.1f} MB after {time.perf_counter() - start:.0f} s')
            return int(running.result()[0][0])
        except duckdb.IOException as error:
            raise _as_of_the_system(error) from error
        except BaseException:
            # Ctrl-C lands in this thread: without this the pool would wait for the whole query.
            connection.interrupt()
            raise


def _as_of_the_system(error: duckdb.IOException) -> OSError:
    """Return what the system told DuckDB as Python's own writers tell it: a full disk, for one."""
    said = str(error).partition('\n')[0]
    number = re.search(r'"errno":"(\d+)"', said)
    return OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(said)


def _digest(connection: duckdb.DuckDBPyConnection, mode: Mode) -> str:
    digest = hashlib.sha256()
    for name in ('relations', _DEFINITIONS[mode]):
        without_comments = re.sub(r'--[^\n]*', '', sql_text(name))
        digest.update(' '.join(without_comments.split()).encode())
    queries = [
        """select code_idx, other_idx, half_distance from pairs
        where code_idx < other_idx order by code_idx, other_idx""",
        'select code_idx, target_idx from exclusions order by code_idx, target_idx',
    ]
    if mode == 'seed':
        # The direction of a pair follows from the digits, which the distances do not have.
        queries.append('select code::uinteger as number from codes order by idx')
    for query in queries:
        for column in connection.execute(query).fetchnumpy().values():
            digest.update(f'{column.dtype.str}{len(column)}'.encode())
            digest.update(column.tobytes())
    return digest.hexdigest()


def _examples(connection: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    rows = connection.execute(sql_text('examples')).fetchall()
    return tuple(
        f'hardness {hardness}: {anchor} is {near:g} from {positive} and {far:g} from {negative}'
        for hardness, anchor, positive, negative, near, far in rows
    )
