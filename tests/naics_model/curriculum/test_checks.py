"""Sampled items against the published triplets: whole, and with one row of the file changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from naics_model.checks import Check
from naics_model.curriculum import checks
from naics_model.curriculum.checks import ITEMS, check_relation_index, known_checks
from naics_model.curriculum.sampler import TripletSampler
from naics_model.curriculum.stage import load_stage
from naics_model.dataset.steps import steps_of
from naics_model.encoder.backbones import MINILM
from naics_model.errors import DataError
from naics_model.storage.layout import EditionFolder
from naics_model.triplets.lookup import absent_rows
from naics_model.triplets.relation_index import RelationIndex

STAGES = [load_stage(name) for name in ('01_stage_easy', '03_stage_hard')]


@pytest.fixture(scope='module')
def sample(tmp_path_factory: pytest.TempPathFactory) -> EditionFolder:
    folder = EditionFolder(tmp_path_factory.mktemp('data'), 'sample')
    for step in steps_of(folder, None, MINILM):
        step.run(lambda line: None)
        if step.name == 'relation_index':
            break
    return folder


@pytest.fixture(scope='module')
def index(sample: EditionFolder) -> RelationIndex:
    return RelationIndex.load(sample.relation_index)


def failed(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks if not check.passed}


def test_what_was_built_passes(sample: EditionFolder, index: RelationIndex) -> None:
    checks = check_relation_index(index, sample.triplets, STAGES)
    assert [check.name for check in checks] == [check.name for check in known_checks()]
    assert all(check.passed and check.blocking for check in checks)


def test_a_row_that_is_not_there_is_found_and_shown(
    sample: EditionFolder, index: RelationIndex, tmp_path: Path
) -> None:
    rows = pl.read_parquet(sample.triplets)
    drawn = TripletSampler(index, STAGES[1], seed=0).draw(ITEMS // 2)
    first = int(drawn.anchor[0]), int(drawn.positive[0]), int(drawn.negatives[0, -1])
    hardness = int(drawn.hardness[0, -1])
    this = pl.all_horizontal(
        pl.col(name) == value for name, value in zip(rows.columns[:3], first, strict=True)
    )
    # Its anchor, positive and hardness stand in other rows, too.
    assert rows.filter(*(pl.col(rows.columns[i]) == first[i] for i in (0, 1))).height > 1
    rows.filter(~this).write_parquet(tmp_path / 'triplets.parquet')
    found = failed(check_relation_index(index, tmp_path / 'triplets.parquet', STAGES))
    assert found['sampled_items_are_rows'].sentence.endswith('of their hardness: 1.')
    (shown,) = found['sampled_items_are_rows'].offending
    assert list(shown.values()) == [*(index.codes[code] for code in first), hardness]
    (shown,) = found['same_counts'].offending
    assert shown['hardness'] == hardness
    assert shown['relations'] == shown['published'] + 1


@pytest.mark.parametrize('column', ['hardness', 'positive_distance', 'negative_distance'])
def test_a_wrong_value_in_a_row_is_found(
    sample: EditionFolder, index: RelationIndex, tmp_path: Path, column: str
) -> None:
    wrong = pl.lit(7, pl.UInt8) if column == 'hardness' else pl.lit(99, pl.UInt8)
    rows = pl.read_parquet(sample.triplets).with_columns(wrong.alias(column))
    rows.write_parquet(tmp_path / 'triplets.parquet')
    found = failed(check_relation_index(index, tmp_path / 'triplets.parquet', STAGES))
    assert 'sampled_items_are_rows' in found


def test_a_hundred_thousand_items_of_all_stages_are_looked_up(
    sample: EditionFolder, index: RelationIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, np.ndarray]] = []

    def record(triplets: Path, rows: dict[str, np.ndarray]) -> pl.DataFrame:
        asked.append(rows)
        return absent_rows(triplets, rows)

    monkeypatch.setattr(checks, 'absent_rows', record)
    check_relation_index(index, sample.triplets, STAGES)
    (rows,) = asked
    batches = [TripletSampler(index, stage, seed=0).draw(ITEMS // 2) for stage in STAGES]
    negatives = np.concatenate([batch.negatives.ravel() for batch in batches])
    np.testing.assert_array_equal(rows['negative_idx'], negatives)
    assert len(negatives) == 16 * ITEMS


@pytest.mark.parametrize(
    'spoil',
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b'x' * 1000),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        lambda path: pl.read_parquet(path).rename({'hardness': 'h'}).write_parquet(path),
    ],
)
def test_triplets_that_cannot_be_read_get_one_sentence(
    sample: EditionFolder, index: RelationIndex, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    path = tmp_path / 'triplets.parquet'
    path.write_bytes(sample.triplets.read_bytes())
    spoil(path)
    with pytest.raises(DataError, match=r'triplets\.parquet (does not exist|is damaged, or no)'):
        check_relation_index(index, path, STAGES)
