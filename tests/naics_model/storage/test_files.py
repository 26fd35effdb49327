"""Writing never loses the good file; reading a missing or changing one says what to do."""

from __future__ import annotations

import hashlib
import io
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from naics_model.errors import DataError, StorageError
from naics_model.storage.files import (
    atomic_write,
    read_json,
    read_parquet,
    read_steady,
    scan_parquet,
    sha256_of,
    write_bytes,
    write_json,
    write_parquet,
)
from naics_model.storage.layout import EditionFolder, default_data_dir


def test_writes_into_a_folder_that_did_not_exist(tmp_path: Path) -> None:
    path = tmp_path / 'deep' / 'er' / 'file.txt'
    with atomic_write(path) as temporary:
        temporary.write_text('new')
    assert path.read_text() == 'new'


def test_temporary_name_is_in_the_same_folder_and_keeps_the_suffix(tmp_path: Path) -> None:
    with atomic_write(tmp_path / 'table.parquet') as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == '.parquet'
        temporary.write_bytes(b'')


def test_an_error_keeps_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / 'file.txt'
    path.write_text('old')

    def fail_halfway() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text('half of the ne')
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    assert path.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_process_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / 'file.txt'
    path.write_text('old')
    script = (
        'import os, signal, sys; from pathlib import Path\n'
        'from naics_model.storage.files import atomic_write\n'
        'with atomic_write(Path(sys.argv[1])) as temporary:\n'
        "    temporary.write_text('half of the ne')\n"
        '    os.kill(os.getpid(), signal.SIGKILL)\n'
    )
    root = Path(__file__).parents[3]
    ended = subprocess.run(
        [sys.executable, '-c', script, str(path)],
        env={**os.environ, 'PYTHONPATH': str(root)},
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    assert path.read_text() == 'old'


def test_what_a_killed_process_left_is_removed_a_day_later(tmp_path: Path) -> None:
    path = tmp_path / 'triplets.parquet'
    old, young, other = (
        tmp_path / f'.{stem}.{mark}.partial.parquet'
        for stem, mark in (('triplets', 'aa'), ('triplets', 'bb'), ('distances', 'cc'))
    )
    for left in (old, young, other):
        left.write_bytes(b'part')
    for left in (old, other):
        os.utime(left, (0, 0))
    write_bytes(b'whole', path)
    assert sorted(tmp_path.iterdir()) == sorted([path, young, other])


def test_a_block_that_writes_nothing_is_an_error_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / 'file.txt'
    path.write_text('old')
    with pytest.raises(StorageError, match='No such file'), atomic_write(path):
        pass
    assert path.read_text() == 'old'


@pytest.fixture
def almost_full() -> Iterator[None]:
    """As on a full disk, no file can grow past 20,000 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    heard = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, heard)


@pytest.mark.usefixtures('almost_full')
@pytest.mark.parametrize(
    'write',
    [
        lambda path: write_json(['x' * 30_000], path),
        lambda path: write_bytes(bytes(30_000), path),
        lambda path: write_parquet(
            pl.DataFrame({'n': np.random.default_rng(0).random(9_000)}), path
        ),
    ],
)
def test_a_full_disk_is_told_in_a_sentence_and_the_old_file_stays(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    path = tmp_path / 'file'
    path.write_text('old')
    with pytest.raises(StorageError, match=r'file could not be written \(.*File too large'):
        write(path)
    assert path.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_none_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    with pytest.raises(StorageError, match=r'could not be written \(.*: free space or permissions'):
        write_json({}, tmp_path / 'file' / 'layer' / 'x.json')


def append(path: Path) -> None:
    with path.open('ab') as file:
        file.write(b'more')


def overwrite(path: Path) -> None:
    before = path.stat()
    path.write_bytes(bytes(before.st_size))
    # Set by hand: a clock may not tick between two writes.
    os.utime(path, ns=(0, before.st_mtime_ns + 1))


def replace(path: Path) -> None:
    before, new = path.stat(), path.with_name('new')
    new.write_bytes(bytes(before.st_size))
    os.utime(new, ns=(0, before.st_mtime_ns))
    new.replace(path)


@pytest.mark.parametrize('change', [append, overwrite, replace, Path.unlink])
def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    path = tmp_path / 'codes.xlsx'
    path.write_bytes(b'naics' * 1000)
    assert read_steady(path) == b'naics' * 1000

    class Reader(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            monkeypatch.undo()
            first = super().read(1000)
            change(path)
            return first + super().read(size)

    monkeypatch.setattr(Path, 'open', lambda path, *args, **kwargs: Reader(path))
    with pytest.raises(DataError) as caught:
        read_steady(path)
    assert str(caught.value) == (
        f'{path} changed while it was read: wait until the program that writes it is done, or '
        'close it there, then run again.'
    )


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / 'bytes'
    path.write_bytes(b'naics' * 100_000)
    assert sha256_of(path) == hashlib.sha256(b'naics' * 100_000).hexdigest()


def test_equal_frames_give_equal_bytes(tmp_path: Path) -> None:
    for name in ('a.parquet', 'b.parquet'):
        write_parquet(pl.DataFrame({'code': ['11', '111'], 'level': [2, 3]}), tmp_path / name)
    assert sha256_of(tmp_path / 'a.parquet') == sha256_of(tmp_path / 'b.parquet')
    assert read_parquet(tmp_path / 'a.parquet')['code'].to_list() == ['11', '111']


def test_a_name_with_brackets_is_no_pattern(tmp_path: Path) -> None:
    for name in ('b[o]', 'bo', 'b?', 'b*'):
        write_parquet(pl.DataFrame({'folder': [name]}), tmp_path / name / 'codes.parquet')
    for name in ('b[o]', 'b?', 'b*'):
        path = tmp_path / name / 'codes.parquet'
        assert read_parquet(path)['folder'].to_list() == [name]
        assert scan_parquet(path).collect()['folder'].to_list() == [name]


def test_json_comes_back_as_it_went(tmp_path: Path) -> None:
    value = {'title': 'Men’s apparel', 'counts': [1, 2], 'none': None}
    write_json(value, tmp_path / 'value.json')
    assert read_json(tmp_path / 'value.json') == value
    assert 'Men’s' in (tmp_path / 'value.json').read_text(encoding='utf-8')


def test_reading_what_is_missing_or_broken_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'gone\.parquet does not exist: run the step'):
        read_parquet(tmp_path / 'gone.parquet')
    write_parquet(pl.DataFrame({'code': ['11']}), tmp_path / 'half.parquet')
    whole = (tmp_path / 'half.parquet').read_bytes()
    (tmp_path / 'half.parquet').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r'half\.parquet is damaged \(.*\): run the step that'):
        read_parquet(tmp_path / 'half.parquet')
    with pytest.raises(DataError, match=r'gone\.json does not exist: run the step'):
        read_json(tmp_path / 'gone.json')
    (tmp_path / 'half.json').write_text('{"metrics": ')
    with pytest.raises(DataError, match=r'half\.json is not JSON .* run its step again'):
        read_json(tmp_path / 'half.json')


def test_every_file_of_an_edition_is_inside_its_folder_and_no_two_share_a_path() -> None:
    folder = EditionFolder(Path('/data'), '2022')
    properties = [
        name for name, value in vars(EditionFolder).items() if isinstance(value, property)
    ]
    paths = [getattr(folder, name) for name in properties] + [folder.stage('stage_1_easy')]
    assert len(set(paths)) == len(paths) > 10
    assert all(path.is_relative_to('/data/2022') for path in paths)
    assert folder.descriptions == Path('/data/2022/corpus/descriptions.parquet')


def test_data_folder_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv('NAICS_DATA_DIR', str(tmp_path / 'elsewhere'))
    assert default_data_dir() == tmp_path / 'elsewhere'
    monkeypatch.delenv('NAICS_DATA_DIR')
    monkeypatch.chdir(tmp_path)
    assert default_data_dir() == tmp_path / 'data'
