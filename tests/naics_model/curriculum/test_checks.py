"""Sampled items against the published triplets: whole, and with one row of the file changed."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from naics_model.curriculum.checks import ITEMS, check_sampled_items
from naics_model.curriculum.sampler import TripletSampler
from naics_model.curriculum.stage import load_stage
from naics_model.dataset.steps import steps_of
from naics_model.encoder.backbones import MINILM
from naics_model.errors import DataError
from naics_model.storage.layout import EditionFolder
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


def test_sampled_items_are_rows_of_the_triplets(
    sample: EditionFolder, index: RelationIndex
) -> None:
    check = check_sampled_items(index, sample.triplets, STAGES)
    assert check.passed
    assert check.blocking
    assert '100,000' in check.guarantee


def test_a_row_of_another_hardness_is_found_and_shown(
    sample: EditionFolder, index: RelationIndex, tmp_path: Path
) -> None:
    rows = pl.read_parquet(sample.triplets)
    drawn = TripletSampler(index, STAGES[1], seed=0).draw(ITEMS // 2)
    first = int(drawn.anchor[0]), int(drawn.positive[0]), int(drawn.negatives[0, 0])
    hardness = int(drawn.hardness[0, 0])
    assert hardness > 1
    this = pl.all_horizontal(
        pl.col(name) == value for name, value in zip(rows.columns[:3], first, strict=True)
    )
    changed = tmp_path / 'triplets.parquet'
    rows.with_columns(
        hardness=pl.when(this).then(1).otherwise('hardness').cast(pl.UInt8)
    ).write_parquet(changed)
    check = check_sampled_items(index, changed, STAGES)
    assert not check.passed
    assert check.sentence.endswith(': 1.')
    codes = [index.codes[code] for code in first]
    (shown,) = check.offending
    assert list(shown.values()) == [*codes, hardness]


def test_missing_triplets_are_named(index: RelationIndex, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'gone\.parquet does not exist: run the step'):
        check_sampled_items(index, tmp_path / 'gone.parquet', STAGES)
