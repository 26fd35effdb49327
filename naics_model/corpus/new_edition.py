"""A new edition, found in its workbooks: which file is which, where columns are, how many codes.

What the editions before looked like tells what to look for: their headers, sheets and file names,
with the year replaced. Only looks; the entry is written by `edition_entry.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote, unquote

from naics_model.corpus.editions import (
    Edition,
    Workbook,
    editions_file,
    expected_editions,
    load_editions,
)
from naics_model.corpus.manual import count_levels, printed_codes
from naics_model.corpus.workbooks import one_line, read_sheets
from naics_model.errors import ConfigurationError, WorkbookError
from naics_model.storage.files import sha256_of
from naics_model.taxonomy.tree import LEVELS

NEEDED = ('codes', 'descriptions', 'index', 'cross_references')
"""The workbooks that an edition can not do without."""
CONCORDANCE = 'concordance'
_YEAR = re.compile('[12][0-9]{3}')
# Notes may stand above the headers: two rows in the concordance of 2022.
_ROWS_OF_HEADERS = 20
_BY_HAND = 'write the entry by hand (docs/edition_runbook.md)'


@dataclass(frozen=True)
class _Years:
    """The years of an edition and of the one before it, as they stand in names."""

    of: str
    before: str | None

    def key(self, name: str) -> str:
        """Return a header, or the name of a sheet or a file, so that those of two editions can be
        compared: without its years, marks and blanks.

        What is in brackets is left out: the concordance explains its columns there.
        """
        text = self._replaced(re.sub(r'\([^()]*\)', '', name.casefold()), '{y}', '{yy}', '{b}')
        return re.sub('[^a-z0-9{}]', '', text)

    def moved(self, name: str, to: _Years) -> str:
        """Return what a name of this edition would be in another one."""
        return self._replaced(name, to.of, to.of[2:], to.before or '')

    def _replaced(self, name: str, year: str, short: str, before: str) -> str:
        years = {self.of: year} | ({self.before: before} if self.before else {})
        text = re.sub('|'.join(years), lambda found: years[found[0]], name)
        return re.sub(rf'(?i)(?<=naics){self.of[2:]}(?![0-9])', short, text)


@dataclass(frozen=True)
class _Known:
    """How a workbook of an edition before looked."""

    years: _Years
    book: Workbook

    @cached_property
    def columns(self) -> dict[str, str]:
        """Our name of each column -> the key of its header."""
        return {ours: self.years.key(theirs) for ours, theirs in self.book.columns.items()}

    @cached_property
    def names(self) -> tuple[str, str]:
        """The keys of file and sheet."""
        return self.years.key(Path(self.book.file).stem), self.years.key(self.book.sheet)

    def in_words(self, years: _Years) -> str:
        """Return which columns the workbook of another edition is expected to have."""
        headers = (one_line(self.years.moved(each, years)) for each in self.book.columns.values())
        return ' and '.join(map(repr, headers))


@dataclass(frozen=True)
class _Place:
    """Where the columns of a workbook were found, and how like an edition before its names are."""

    path: Path
    sheet: str
    header: int
    columns: Mapping[str, str]
    likeness: tuple[bool, ...]

    def __str__(self) -> str:
        return f'{self.path.name}, sheet {self.sheet!r}'


def find_edition(
    name: str, folder: Path, *, title: str | None = None, url_base: str | None = None
) -> Edition:
    """Look at the workbooks in a folder, and say what an edition's entry has to say of them.

    Where several sheets have a workbook's columns, the one counts whose file, then whose sheet, is
    named as in an edition before.

    Args:
        name: the edition's year.
        folder: the workbooks, named as they are to be named in the edition's source folder.
        title: its name in words; by default as those before are named.
        url_base: the address of the folder that they are published in; a concordance is published
            in `concordances` beside it. By default the addresses at which the edition is expected,
            of files that are named so.

    Returns:
        The edition; without a concordance if the folder has none.

    Raises:
        ConfigurationError: the name is no year, the edition is known already, or none before it is.
        WorkbookError: a workbook is missing, found twice, or none.
        DataError: the codes are no tree.
    """
    published = [known for known in load_editions().values() if not known.packaged]
    if not _YEAR.fullmatch(name):
        raise ConfigurationError(f'{name!r} is no edition: name it by its year, such as 2027.')
    if name in load_editions():
        raise ConfigurationError(
            f'Edition {name} is known already: naics editions list shows all. A corrected workbook '
            'needs no new entry (docs/edition_runbook.md).'
        )
    if not published:
        raise ConfigurationError(
            f'{editions_file()} has no published edition to go by: {_BY_HAND}.'
        )
    newest = published[-1]
    before = max((known.name for known in published if known.name < name), default=None)
    places = _find(_known_layouts(published), folder, _Years(name, before))
    expected = expected_editions().get(name, {})
    books = {
        kind: replace(
            _workbook(kind, place), url=_address(kind, place.path.name, url_base, expected)
        )
        for kind, place in places.items()
    }
    levels = count_levels(printed_codes(books['codes'], folder / books['codes'].file))
    return Edition(
        name=name,
        title=title or newest.title.replace(newest.name, name),
        packaged=False,
        counts=MappingProxyType({level: levels.get(level, 0) for level in LEVELS}),
        workbooks=MappingProxyType(books),
    )


def _known_layouts(published: Sequence[Edition]) -> dict[str, list[_Known]]:
    """Return how each workbook looked in the editions before, newest first."""
    layouts: dict[str, list[_Known]] = {kind: [] for kind in (*NEEDED, CONCORDANCE)}
    names = [None, *(known.name for known in published)]
    for before, known in reversed(list(zip(names, published, strict=False))):
        years = _Years(known.name, before)
        for kind, book in known.workbooks.items():
            layouts[kind].append(_Known(years, book))
    return layouts


def _find(
    layouts: Mapping[str, Sequence[_Known]], folder: Path, years: _Years
) -> dict[str, _Place]:
    """Return where each workbook of an edition is; without a concordance if there is none."""
    # A file that a spreadsheet program has open has a companion that begins so.
    files = [path for path in sorted(folder.glob('*.xlsx')) if not path.name.startswith('~$')]
    if not files:
        raise WorkbookError(
            f'{folder} has no .xlsx workbook: put those of edition {years.of} there.'
        )
    found: dict[str, list[_Place]] = {kind: [] for kind in layouts}
    sheets = []
    for path in files:
        for sheet, cells in read_sheets(path).items():
            rows = [
                [one_line(cell or '') for cell in row]
                for row in cells.head(_ROWS_OF_HEADERS).iter_rows()
            ]
            sheets.append(f'{path.name}: {sheet!r}')
            for kind, known in layouts.items():
                place = _place(path, sheet, rows, known, years)
                if place:
                    found[kind].append(place)
    chosen = {kind: _only(kind, places, years.of) for kind, places in found.items() if places}
    missing = [kind for kind in NEEDED if kind not in chosen]
    if missing:
        wanted = '; '.join(f'{kind}: {layouts[kind][0].in_words(years)}' for kind in missing)
        raise WorkbookError(
            f'No sheet in {folder} has the columns of a workbook of edition {years.of} ({wanted}); '
            f'its sheets are {", ".join(sheets)}: put the workbook there, or, if the Bureau has '
            f'renamed columns, {_BY_HAND}.'
        )
    return chosen


def _place(
    path: Path, sheet: str, rows: Sequence[Sequence[str]], layouts: Sequence[_Known], years: _Years
) -> _Place | None:
    """Return where a sheet has the columns of a workbook; None where it has not all of them.

    Args:
        path: the file.
        sheet: the name of the sheet.
        rows: its first rows.
        layouts: how the workbook looked in the editions before.
        years: what stands for years in its names.

    Raises:
        WorkbookError: a column stands twice.
    """
    names = years.key(path.stem), years.key(sheet)
    for number, row in enumerate(rows, start=1):
        keys = [years.key(cell) for cell in row]
        for layout in layouts:
            if not set(layout.columns.values()) <= set(keys):
                continue
            twice = [key for key in layout.columns.values() if keys.count(key) > 1]
            if twice:
                raise WorkbookError(
                    f'{path}, sheet {sheet!r}, has the column {row[keys.index(twice[0])]!r} more '
                    f'than once in row {number}: {_BY_HAND}.'
                )
            columns = {ours: row[keys.index(key)] for ours, key in layout.columns.items()}
            likeness = tuple(
                any(name == known.names[which] for known in layouts)
                for which, name in enumerate(names)
            )
            return _Place(path, sheet, number, columns, likeness)
    return None


def _only(kind: str, places: Sequence[_Place], name: str) -> _Place:
    """Return the one place that is most like the editions before.

    Raises:
        WorkbookError: there are two.
    """
    best = max(place.likeness for place in places)
    likest = [place for place in places if place.likeness == best]
    if len(likest) > 1:
        raise WorkbookError(
            f'More than one sheet in {places[0].path.parent} may be the {kind} workbook of edition '
            f'{name} ({"; ".join(map(str, likest))}): leave only the right one there.'
        )
    return likest[0]


def _workbook(kind: str, place: _Place) -> Workbook:
    return Workbook(
        name=kind,
        file=place.path.name,
        url=None,
        sha256=sha256_of(place.path),
        sheet=place.sheet,
        columns=MappingProxyType(dict(place.columns)),
        header=place.header,
    )


def _address(kind: str, file: str, url_base: str | None, expected: Mapping[str, str]) -> str | None:
    """Return where a file is published; None where that is not known."""
    if url_base is not None:
        base = url_base.rstrip('/')
        if kind == CONCORDANCE:
            base = f'{base.rpartition("/")[0]}/concordances'
        return f'{base}/{quote(file)}'
    address = expected.get(kind)
    # Under another name it may have come from anywhere.
    return address if address and unquote(address.rpartition('/')[2]) == file else None
