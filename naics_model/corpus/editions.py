"""What is known of each edition before its workbooks are opened: `editions.toml` as frozen values.

No files of an edition and no network here. How an edition comes to be known is in `new_edition.py`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dotenv import dotenv_values

from naics_model.errors import ConfigurationError
from naics_model.taxonomy.tree import LEVELS

PACKAGED_EDITIONS = Path(__file__).with_name('editions.toml')
"""The file of the editions that this release knows."""
OWN_EDITIONS = 'NAICS_EDITIONS_FILE'
"""The setting that names a file of a person's own in its place."""
PACKAGED_WORKBOOKS = Path(__file__).parent / 'sample' / 'workbooks'
"""The folder of the bundled edition's workbooks."""


@dataclass(frozen=True)
class Workbook:
    """One published workbook of an edition.

    Attributes:
        name: codes, descriptions, index, cross_references or concordance.
        file: its file name.
        url: where it is published; None for the bundled edition.
        sha256: digest of the bytes this release was tested with; None where those are not known.
        sheet: the sheet to read.
        columns: our name of each column we read -> its header in the sheet.
        header: the row of the sheet that holds the headers, counted from 1.
        csv: where a CSV copy of the sheet may stand in a folder of the user's, relative to that
            folder; None where there is none to expect.
    """

    name: str
    file: str
    url: str | None
    sha256: str | None
    sheet: str
    columns: Mapping[str, str]
    header: int = 1
    csv: str | None = None


@dataclass(frozen=True)
class Edition:
    """One edition of NAICS.

    Attributes:
        name: the partition key, such as `2022`.
        title: its name in words.
        packaged: whether its workbooks are bundled with this package.
        counts: level (2 to 6) -> number of codes.
        workbooks: name -> workbook.
    """

    name: str
    title: str
    packaged: bool
    counts: Mapping[int, int]
    workbooks: Mapping[str, Workbook]

    def workbook(self, name: str) -> Workbook:
        """Return a workbook by name.

        Raises:
            ConfigurationError: this edition has no such workbook.
        """
        try:
            return self.workbooks[name]
        except KeyError:
            raise ConfigurationError(
                f'Edition {self.name} has no workbook {name!r}: it has {", ".join(self.workbooks)}.'
            ) from None

    def differing_counts(self, found: Mapping[int, int]) -> list[dict[str, int]]:
        """Return the levels on which a list of codes has more or fewer than this edition.

        Args:
            found: level -> how many the list has; a level may be left out where it has none.

        Returns:
            level, expected and found of each such level.
        """
        return [
            {'level': level, 'expected': expected, 'found': found.get(level, 0)}
            for level, expected in self.counts.items()
            if found.get(level, 0) != expected
        ]


def editions_file() -> Path:
    """Return the file that says which editions there are: the packaged one, or a person's own.

    A line of `.env` counts as well: this is asked for while modules are being imported, before a
    command has read that file.
    """
    own = os.environ.get(OWN_EDITIONS) or dotenv_values('.env').get(OWN_EDITIONS)
    return Path(own).absolute() if own else PACKAGED_EDITIONS


def shown_editions_file() -> str:
    """Return the name of that file in a sentence: as in the repository, or a person's own path."""
    file = editions_file()
    return 'naics_model/corpus/editions.toml' if file == PACKAGED_EDITIONS else str(file)


def load_editions() -> Mapping[str, Edition]:
    """Return all editions by name, oldest first, with the bundled `sample` before them.

    Raises:
        ConfigurationError: a file of a person's own is missing, or is not as it has to be.
    """
    return _editions(editions_file())


def expected_editions() -> Mapping[str, Mapping[str, str]]:
    """Return the editions not yet published: name -> workbook -> the address it is expected at."""
    return MappingProxyType(
        {
            name: {key: fields['url'] for key, fields in entry['workbooks'].items()}
            for name, entry in _entries(editions_file()).items()
            if entry.get('expected')
        }
    )


def names_in(file: Path) -> tuple[str, ...]:
    """Return the names in an editions file, of expected editions as well."""
    return tuple(_entries(file))


def forget_editions() -> None:
    """Have the file read again: it was changed by this very process."""
    _entries.cache_clear()
    _editions.cache_clear()


@cache
def _entries(file: Path) -> Mapping[str, dict[str, Any]]:
    try:
        return MappingProxyType(tomllib.loads(file.read_text(encoding='utf-8')))
    except (OSError, ValueError) as error:
        reason = getattr(error, 'strerror', None) or str(error)
        raise ConfigurationError(
            f'The editions file {file} cannot be read ({reason}): begin with a copy of '
            f'{PACKAGED_EDITIONS}, or leave out {OWN_EDITIONS}.'
        ) from None


@cache
def _editions(file: Path) -> Mapping[str, Edition]:
    editions = {}
    for name, entry in _entries(file).items():
        try:
            if 'counts' in entry:
                editions[name] = _edition(name, entry)
            elif not entry.get('expected'):
                raise KeyError('counts')
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigurationError(
                f'Edition {name} in {file} is not complete or not well-formed ({error}): the '
                f'editions in {PACKAGED_EDITIONS} show what an entry has.'
            ) from None
    if not editions:
        raise ConfigurationError(f'{file} has no edition: copy {PACKAGED_EDITIONS} to begin with.')
    return MappingProxyType(editions)


def edition(name: str) -> Edition:
    """Return one edition.

    Raises:
        ConfigurationError: it is not in `editions.toml`.
    """
    editions = load_editions()
    if name in (expected := expected_editions()):
        raise ConfigurationError(
            f'Edition {name} is not known yet: its workbooks are expected at '
            f'{expected[name]["codes"]} and beside it; when they are there, get them, and run '
            f'naics editions add {name} --from FOLDER (docs/edition_runbook.md).'
        )
    if name not in editions:
        raise ConfigurationError(
            f'There is no edition {name!r}: choose one of {", ".join(editions)}, or add it '
            '(docs/edition_runbook.md).'
        )
    return editions[name]


def edition_before(name: str) -> str | None:
    """Return the edition that an edition's concordance leads from; None where it has none.

    None of the bundled one, too: it is a part of an edition, and so would be what it came from.
    """
    current = edition(name)
    if current.packaged or 'concordance' not in current.workbooks:
        return None
    published = [other for other, known in load_editions().items() if not known.packaged]
    place = published.index(name)
    return published[place - 1] if place else None


def _edition(name: str, entry: dict[str, Any]) -> Edition:
    workbooks = {
        key: Workbook(
            name=key,
            file=fields['file'],
            url=fields.get('url'),
            sha256=fields.get('sha256'),
            sheet=fields['sheet'],
            columns=MappingProxyType(fields['columns']),
            header=fields.get('header', 1),
            csv=fields.get('csv'),
        )
        for key, fields in entry['workbooks'].items()
    }
    return Edition(
        name=name,
        title=entry['title'],
        packaged=entry.get('packaged', False),
        counts=MappingProxyType(dict(zip(LEVELS, entry['counts'], strict=True))),
        workbooks=MappingProxyType(workbooks),
    )
