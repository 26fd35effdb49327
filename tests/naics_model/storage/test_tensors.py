"""Arrays and their header come back as they were, and other people may read the file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from naics_model.errors import DataError
from naics_model.storage.tensors import read_tensors, write_tensors

ARRAYS = {'far': np.arange(6, dtype=np.uint8).reshape(2, 3), 'none': np.zeros(0, np.int64)}


def test_arrays_and_header_come_back(tmp_path: Path) -> None:
    path = tmp_path / 'some.safetensors'
    write_tensors(ARRAYS, {'codes': ['11', '111']}, path)
    header, arrays = read_tensors(path, 'anything')
    assert header == {'codes': ['11', '111']}
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype


def test_others_may_read_what_the_umask_lets_them(tmp_path: Path) -> None:
    # safetensors' own writer makes files for their owner alone.
    path = tmp_path / 'some.safetensors'
    before = os.umask(0o022)
    try:
        write_tensors(ARRAYS, {}, path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_file_that_is_missing_or_not_ours_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match='run the step that writes it first'):
        read_tensors(tmp_path / 'none.safetensors', 'a token cache')
    broken = tmp_path / 'broken.safetensors'
    broken.write_bytes(b'not tensors')
    foreign = tmp_path / 'foreign.safetensors'
    save_file(ARRAYS, foreign)
    for path in (broken, foreign):
        with pytest.raises(DataError, match='is not a token cache'):
            read_tensors(path, 'a token cache')
