"""Where the bytes of a fetched workbook come from: kept as `<file>.json` beside it.

What is not one of our notes, or not of these bytes, counts as none.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from naics_model.corpus.editions import Workbook
from naics_model.corpus.workbooks import CSV
from naics_model.errors import without_passwords
from naics_model.storage.files import sha256_of, write_json

PACKAGED = 'packaged'

CORRECT = 'correct it there, or put a corrected copy into NAICS_SOURCE_DIR, and fetch it again.'
"""What to do about a workbook that contradicts itself, as the end of a sentence.

Never at the file in the source folder itself: the next run fetches over it.
"""


@dataclass(frozen=True)
class Provenance:
    """Where the bytes of a workbook come from.

    Attributes:
        path: the file.
        origin: its URL without a name and password, the path it was copied from, or 'packaged'.
        etag, last_modified: what the server said of it; None for copies.
        sha256: digest of the bytes.
        bytes: their number.
        fetched_at: when they came, ISO 8601 in UTC. An unchanged answer (304) keeps the older time.
        known: whether they are the bytes this release was tested with; None where those are not
            known.
    """

    path: Path
    origin: str
    etag: str | None
    last_modified: str | None
    sha256: str
    bytes: int
    fetched_at: str
    known: bool | None

    def came_from(self, url: str) -> bool:
        """Whether it was fetched from this address, with whatever name and password."""
        return self.origin == without_passwords(url)


# Not what follows from the place (path) or from the release that reads it (known).
_FIELDS: dict[str, type | tuple[type, ...]] = {
    'origin': str,
    'etag': (str, type(None)),
    'last_modified': (str, type(None)),
    'sha256': str,
    'bytes': int,
    'fetched_at': str,
}


def is_known(path: Path, sha256: str, workbook: Workbook) -> bool | None:
    """Say whether bytes are those that this release was tested with; None where it can't know.

    Args:
        path: where they are; a CSV copy has bytes of its own.
        sha256: their digest.
        workbook: what the edition says of them.
    """
    if workbook.sha256 is None or path.suffix == CSV:
        return None
    return sha256 == workbook.sha256


def write_provenance(provenance: Provenance) -> None:
    """Write the note beside its file."""
    fields = asdict(provenance)
    write_json({name: fields[name] for name in _FIELDS}, provenance_path(provenance.path))


def read_provenance(path: Path, workbook: Workbook) -> Provenance | None:
    """Return the provenance of a fetched file; None where one is missing or they do not match.

    Args:
        path: the file.
        workbook: what the edition says of it, today.
    """
    note = _note_beside(path)
    if note is None or not path.is_file() or note['sha256'] != sha256_of(path):
        return None
    return Provenance(path=path, known=is_known(path, note['sha256'], workbook), **note)


def described(path: Path) -> str:
    """Return a file's path for a sentence, with its origin: there a mistake in it is corrected.

    Also of a file that was changed since it came, because the next run fetches over the change.
    """
    note = _note_beside(path)
    if note is None or note['origin'] == str(path):
        return str(path)
    origin = 'the package' if note['origin'] == PACKAGED else note['origin']
    return f'{path} (fetched from {origin})'


def provenance_path(path: Path) -> Path:
    """Return where the note of a file is."""
    return path.with_name(f'{path.name}.json')


def _note_beside(path: Path) -> dict[str, Any] | None:
    """Return the fields of the note beside a file; None where there is none that is ours."""
    try:
        note = json.loads(provenance_path(path).read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(note, dict) or note.keys() != _FIELDS.keys():
        return None
    return note if all(isinstance(note[name], kind) for name, kind in _FIELDS.items()) else None
