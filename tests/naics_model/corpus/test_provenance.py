"""Where a file came from, by the note beside it; a note that is not ours is none."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from naics_model.corpus.editions import edition
from naics_model.corpus.provenance import (
    Provenance,
    described,
    read_provenance,
    write_provenance,
)
from naics_model.storage.files import sha256_of

INDEX = edition('2022').workbook('index')
URL = 'https://example.org/index.xlsx'


@pytest.fixture
def fetched(tmp_path: Path) -> Provenance:
    """A file with its note."""
    path = tmp_path / 'index.xlsx'
    path.write_bytes(b'bytes')
    provenance = Provenance(
        path=path,
        origin=URL,
        etag='"one"',
        last_modified=None,
        sha256=sha256_of(path),
        bytes=5,
        fetched_at='2022-02-04T15:00:00+00:00',
        known=False,
    )
    write_provenance(provenance)
    return provenance


def note_of(fetched: Provenance) -> Path:
    return fetched.path.with_name('index.xlsx.json')


def test_what_was_written_is_read(fetched: Provenance) -> None:
    assert read_provenance(fetched.path, INDEX) == fetched
    # Of bytes that are in the source folder, not of where that folder is.
    moved = fetched.path.parent / 'moved'
    moved.mkdir()
    fetched.path.rename(moved / fetched.path.name)
    note_of(fetched).rename(moved / note_of(fetched).name)
    again = read_provenance(moved / fetched.path.name, INDEX)
    assert again == dataclasses.replace(fetched, path=moved / fetched.path.name)


def test_whether_the_bytes_are_known_is_not_taken_from_the_note(fetched: Provenance) -> None:
    tested = dataclasses.replace(INDEX, sha256=fetched.sha256)
    untested = dataclasses.replace(INDEX, sha256=None)
    found = [read_provenance(fetched.path, book) for book in (tested, INDEX, untested)]
    assert [None if one is None else one.known for one in found] == [True, False, None]


@pytest.mark.parametrize('gone', ['index.xlsx', 'index.xlsx.json'])
def test_without_file_or_note_there_is_no_provenance(fetched: Provenance, gone: str) -> None:
    fetched.path.with_name(gone).unlink()
    assert read_provenance(fetched.path, INDEX) is None


def foreign(**changed: Any) -> dict[str, Any]:
    fields = {
        'origin': URL,
        'etag': None,
        'last_modified': None,
        'sha256': '277089d91c0bdf4f2e6862ba7e4a07605119431f5d13f726dd352b06f1b206a9',
        'bytes': 5,
        'fetched_at': '2022-02-04T15:00:00+00:00',
    }
    return {**fields, **changed}


def test_the_note_that_the_foreign_ones_differ_from_is_ours(fetched: Provenance) -> None:
    note_of(fetched).write_text(json.dumps(foreign()), encoding='utf-8')
    assert read_provenance(fetched.path, INDEX) is not None
    assert described(fetched.path) == f'{fetched.path} (fetched from {URL})'


@pytest.mark.parametrize(
    'note',
    [
        b'',
        b'{}',
        b'[]',
        b'123',
        b'{"origin": ',
        b'\xff\xfe',
        b'[' * 100_000,
        json.dumps(foreign(known=True)).encode(),
        json.dumps({k: v for k, v in foreign().items() if k != 'etag'}).encode(),
        json.dumps(foreign(etag=1)).encode(),
        json.dumps(foreign(origin=None)).encode(),
        json.dumps(foreign(bytes='5')).encode(),
    ],
)
def test_a_note_that_is_not_ours_is_none(fetched: Provenance, note: bytes) -> None:
    note_of(fetched).write_bytes(note)
    assert read_provenance(fetched.path, INDEX) is None
    assert described(fetched.path) == str(fetched.path)


def test_a_note_that_cannot_be_read_is_none(fetched: Provenance) -> None:
    note_of(fetched).unlink()
    note_of(fetched).mkdir()
    assert read_provenance(fetched.path, INDEX) is None
    assert described(fetched.path) == str(fetched.path)


def test_a_file_is_described_with_its_origin(fetched: Provenance) -> None:
    path = fetched.path
    assert described(path) == f'{path} (fetched from {URL})'
    # Also after a change by hand, which the next run fetches over.
    path.write_bytes(b'changed')
    assert read_provenance(path, INDEX) is None
    assert described(path) == f'{path} (fetched from {URL})'


@pytest.mark.parametrize(
    ('origin', 'where'),
    [
        ('/mine/2022/index.xlsx', ' (fetched from /mine/2022/index.xlsx)'),
        ('packaged', ' (fetched from the package)'),
        ('PATH', ''),
    ],
)
def test_an_origin_in_words(fetched: Provenance, origin: str, where: str) -> None:
    origin = origin.replace('PATH', str(fetched.path))
    write_provenance(dataclasses.replace(fetched, origin=origin))
    assert described(fetched.path) == f'{fetched.path}{where}'


def test_a_file_of_no_known_origin_is_its_path(tmp_path: Path) -> None:
    assert described(tmp_path / 'mine.xlsx') == str(tmp_path / 'mine.xlsx')
