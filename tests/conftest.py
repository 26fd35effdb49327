"""What several test rooms share: the folder of real workbooks, skipped in words if missing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Before torch is loaded: the tensors of tests are so small that a second thread only costs.
os.environ.setdefault('OMP_NUM_THREADS', '1')


@pytest.fixture(scope='session')
def source_dir() -> Path:
    """The folder of real Census workbooks, laid out as `<edition>/<file>`."""
    folder = os.environ.get('NAICS_SOURCE_DIR')
    if not folder:
        pytest.skip(
            'needs the real Census workbooks: '
            'set NAICS_SOURCE_DIR to a folder laid out as <edition>/<file>'
        )
    path = Path(folder).absolute()
    if not (path / '2022').is_dir():
        pytest.skip(
            f'needs the real Census workbooks: NAICS_SOURCE_DIR={folder} has no folder 2022'
        )
    return path
