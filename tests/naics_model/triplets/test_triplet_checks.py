"""Wrong rows of the published triplets are found wherever they are, and shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from naics_model.checks import Check
from naics_model.errors import DataError
from naics_model.triplets.build import build_triplets
from naics_model.triplets.checks import check_triplets, known_checks

CODES = 11


@pytest.fixture
def triplets(edition: tuple[Path, Path], tmp_path: Path) -> Path:
    path = tmp_path / 'triplets.parquet'
    build_triplets(*edition, path)
    return path


def failed(path: Path) -> dict[str, Check]:
    checks = check_triplets(path, CODES)
    assert [check.name for check in checks] == [check.name for check in known_checks()]
    assert all(check.blocking for check in checks)
    return {check.name: check for check in checks if not check.passed}


def spoil(path: Path, row: dict[str, int], **changes: int | None) -> None:
    """Change the one triplet of the file that has these indices."""
    rows = pl.read_parquet(path)
    here = pl.all_horizontal(pl.col(name) == value for name, value in row.items())
    assert rows.filter(here).height == 1
    changed = rows.with_columns(
        pl.when(here).then(pl.lit(value, rows.schema[name])).otherwise(name).alias(name)
        for name, value in changes.items()
    )
    changed.write_parquet(path)


# 541511, 541512 and 541611: siblings 2.0 apart, then 6.0, which is hardness 3.
SIBLINGS = {'anchor_idx': 4, 'positive_idx': 5, 'negative_idx': 8}
# 541511, 541512 and 11: another sector.
UNRELATED = {'anchor_idx': 4, 'positive_idx': 5, 'negative_idx': 9}
# 541511, 54151 and 541512: a cross-reference.
EXCLUDED = {'anchor_idx': 4, 'positive_idx': 3, 'negative_idx': 5}


def test_what_is_built_passes(triplets: Path) -> None:
    assert failed(triplets) == {}


@pytest.mark.parametrize(
    ('row', 'changes', 'name', 'shown'),
    [
        (SIBLINGS, {'hardness': 0}, 'hardness_known', (0, 4, 12)),
        (SIBLINGS, {'hardness': 255}, 'hardness_known', (255, 4, 12)),
        (SIBLINGS, {'hardness': None}, 'hardness_known', (None, 4, 12)),
        (SIBLINGS, {'hardness': 4}, 'hardness_of_distances', (4, 4, 12)),
        (SIBLINGS, {'hardness': 2}, 'hardness_of_distances', (2, 4, 12)),
        (SIBLINGS, {'hardness': 1}, 'hardness_of_distances', (1, 4, 12)),
        (UNRELATED, {'hardness': 2}, 'hardness_of_distances', (2, 4, 20)),
        (SIBLINGS, {'negative_distance': 20}, 'hardness_of_distances', (3, 4, 20)),
        (EXCLUDED, {'hardness': 2}, 'hardness_of_distances', (2, 1, 4)),
        (SIBLINGS, {'positive_distance': 12}, 'negative_farther', (3, 12, 12)),
        (EXCLUDED, {'positive_distance': 5}, 'negative_farther', (8, 5, 4)),
        (SIBLINGS, {'positive_distance': 0, 'hardness': 2}, 'distances_possible', (2, 0, 12)),
        (SIBLINGS, {'negative_distance': 11}, 'distances_possible', (3, 4, 11)),
        (EXCLUDED, {'negative_distance': 2}, 'distances_possible', (8, 1, 2)),
        (EXCLUDED, {'negative_distance': 255}, 'distances_possible', (8, 1, 255)),
    ],
)
def test_one_wrong_row_is_found_and_shown(
    triplets: Path,
    row: dict[str, int],
    changes: dict[str, Any],
    name: str,
    shown: tuple[int | None, int, int],
) -> None:
    spoil(triplets, row, **changes)
    found = failed(triplets)
    assert list(found) == [name]
    columns = ('hardness', 'positive_distance', 'negative_distance')
    assert found[name].offending == (dict(zip(columns, shown, strict=True)) | {'triplets': 1},)
    assert found[name].sentence.startswith('1 triplets have ')
    assert found[name].sentence.endswith('; combinations of hardness and distances: 1.')


def test_all_wrong_rows_are_counted(triplets: Path) -> None:
    rows = pl.read_parquet(triplets)
    rows.with_columns(hardness=pl.lit(9, pl.UInt8)).write_parquet(triplets)
    check = failed(triplets)['hardness_known']
    assert check.sentence.startswith(f'{rows.height:,} triplets have another hardness than 1 to 8;')
    assert len(check.offending) == 5


def test_a_distance_that_is_missing_breaks_both_rules_on_it(triplets: Path) -> None:
    spoil(triplets, SIBLINGS, negative_distance=None)
    assert list(failed(triplets)) == ['distances_possible', 'negative_farther']


def test_an_index_without_a_code_is_found(triplets: Path) -> None:
    spoil(triplets, SIBLINGS, negative_idx=CODES)
    found = failed(triplets)
    assert list(found) == ['codes_known']
    assert found['codes_known'].offending == (
        {'column': 'negative_idx', 'highest': CODES, 'codes': CODES},
    )


def test_a_file_without_rows_has_none_that_is_wrong(tmp_path: Path, save_edition: Callable) -> None:
    path = tmp_path / 'triplets.parquet'
    build_triplets(*save_edition(tmp_path, ['11'], {}), path)
    found = failed(path)
    assert list(found) == ['has_rows']
    assert found['has_rows'].sentence == 'Files without a triplet: 1.'


def test_a_damaged_file_is_told_in_a_sentence(triplets: Path) -> None:
    content = bytearray(triplets.read_bytes())
    # The end of the last column, in front of the footer and its length.
    end = len(content) - 8 - int.from_bytes(content[-8:-4], 'little')
    content[end - 30 : end] = bytes(30)
    triplets.write_bytes(content)
    with pytest.raises(DataError, match=r'triplets\.parquet is damaged, or no file of triplets'):
        check_triplets(triplets, CODES)
