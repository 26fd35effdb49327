"""Which phrases a ranking may know."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from naics_model.errors import DataError
from naics_model.fusion.known import read_known
from naics_model.storage.files import write_parquet

PHRASES = pl.DataFrame(
    {
        'text': ['corn', 'crops', 'wheat', 'maize', 'corn', 'rice'],
        'code': ['111150', '11', '111140', '111150', '111140', '111160'],
        'split': ['train', 'train', 'train', 'validation', 'train', 'train'],
    }
)


def test_phrases_of_candidates_are_read_by_their_split(tmp_path: Path) -> None:
    write_parquet(PHRASES, tmp_path / 'phrases.parquet')
    known = read_known(tmp_path / 'phrases.parquet', ['111140', '111150'])
    # Neither the sector nor a code that is no candidate.
    assert known.train.texts == ('corn', 'wheat', 'corn')
    assert known.train.owners.tolist() == [1, 0, 0]
    assert known.train.owners.dtype == np.int64
    assert known.validation.texts == ('maize',)
    assert known.validation.owners.tolist() == [1]
    assert known.texts == ['corn', 'wheat', 'maize']


def test_phrases_of_no_candidate_are_refused(tmp_path: Path) -> None:
    write_parquet(PHRASES, tmp_path / 'phrases.parquet')
    with pytest.raises(DataError, match='has no phrase of a six-digit code: build it again'):
        read_known(tmp_path / 'phrases.parquet', ['999999'])
    with pytest.raises(DataError, match='does not exist'):
        read_known(tmp_path / 'gone.parquet', ['111140'])
