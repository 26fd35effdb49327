"""The counts of both definitions on the real editions.

All triplets of 2022 with the strict definition are built, once, in
`tests/naics_model/curriculum/test_curriculum_of_2022.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl
import pytest

from naics_model.corpus.descriptions import build_descriptions, taxonomy_of
from naics_model.corpus.editions import edition
from naics_model.taxonomy.distances import distance_table
from naics_model.triplets.build import build_triplets, define_triplets
from naics_model.triplets.relations import database

Paths = tuple[Path, Path]


@pytest.fixture(scope='module')
def write_real(
    source_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Paths]:
    """Write descriptions and distances of a real edition; return their paths."""

    def write(name: str) -> Paths:
        folder = tmp_path_factory.mktemp(name)
        wanted = edition(name)
        books = {kind: source_dir / name / book.file for kind, book in wanted.workbooks.items()}
        table = build_descriptions(
            wanted, books['codes'], books['descriptions'], books['cross_references']
        )
        descriptions, distances = folder / 'descriptions.parquet', folder / 'distances.parquet'
        table.write_parquet(descriptions)
        distance_table(taxonomy_of(table)).write_parquet(distances)
        return descriptions, distances

    return write


@pytest.fixture(scope='module')
def real_2022(write_real: Callable[[str], Paths]) -> Paths:
    return write_real('2022')


def test_strict_counts_of_2017(write_real: Callable[[str], Paths]) -> None:
    with database() as connection:
        define_triplets(connection, *write_real('2017'), 'strict')
        counts = _by_hardness(connection)
    assert counts == {
        1: 980_929_370,
        2: 2_699_936,
        3: 2_466_757,
        4: 8_257_992,
        5: 26_996_020,
        6: 52_580_704,
        7: 62_764,
        8: 533_383,
    }
    assert sum(counts.values()) == 1_074_526_926


def test_seed_counts_of_2022(real_2022: Paths, tmp_path: Path) -> None:
    summary = build_triplets(*real_2022, tmp_path / 'triplets.parquet', mode='seed')
    assert summary.rows == 263_791_215
    assert summary.rows_by_hardness == {
        1: 246_285_450,
        2: 379_255,
        3: 394_736,
        4: 826_540,
        5: 3_608_973,
        6: 12_166_986,
        7: 4_433,
        8: 124_842,
    }
    assert summary.bytes < 20e6


def test_seed_counts_of_2022_without_cross_references(real_2022: Paths, tmp_path: Path) -> None:
    descriptions, distances = real_2022
    silent = tmp_path / 'descriptions.parquet'
    pl.read_parquet(descriptions).with_columns(
        excluded_codes=pl.lit(None, pl.List(pl.String))
    ).write_parquet(silent)
    with database() as connection:
        define_triplets(connection, silent, distances, 'seed')
        pairs = connection.execute('select count(*) from directed_pairs').fetchall()
        positives = connection.execute('select count(*) from positives').fetchall()
        counts = _by_hardness(connection)
    assert pairs == [(3_004_420,)]
    assert positives == [(272_103,)]
    assert counts == {
        1: 246_399_533,
        2: 380_492,
        3: 395_773,
        4: 827_582,
        5: 3_616_416,
        6: 12_166_986,
        7: 4_433,
    }
    assert sum(counts.values()) == 263_791_215


def _by_hardness(connection: duckdb.DuckDBPyConnection) -> dict[int, int]:
    """Count the triplets without writing them."""
    return dict(
        connection.execute('select hardness, count(*) from triplets group by hardness').fetchall()
    )
