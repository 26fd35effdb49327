"""What the workbooks print of each code, with the places where they contradict each other.

Codes with titles, descriptions taken apart, cross-references; pointers followed. No table of ours
and no checks: those are in descriptions.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from naics_model.corpus.editions import Edition, Workbook, shown_editions_file
from naics_model.corpus.provenance import CORRECT, described
from naics_model.corpus.text import DescriptionParts, cross_reference_sentence, take_apart, tidy
from naics_model.corpus.workbooks import read_table
from naics_model.errors import DataError
from naics_model.taxonomy.tree import NoTreeError, Taxonomy, normalise_code, parent_of, shown

_ONE_EDITION = 'fetch all workbooks of one edition.'


@dataclass(frozen=True)
class PrintedCodes:
    """The codes workbook, in its order.

    Attributes:
        taxonomy: the codes.
        printed: each code as it is printed, such as 31-33.
        titles: of each code.
    """

    taxonomy: Taxonomy
    printed: list[str]
    titles: list[str]


@dataclass(frozen=True)
class PrintedDescriptions:
    """The descriptions workbook.

    Attributes:
        path: where it is.
        parts: code -> its description, taken apart.
        rows: code -> the row of the sheet, from 1.
    """

    path: Path
    parts: dict[str, DescriptionParts]
    rows: dict[str, int]


def read_codes(edition: Edition, path: Path) -> PrintedCodes:
    """Read the codes workbook.

    Args:
        edition: says which sheet and columns it has.
        path: the workbook.

    Raises:
        WorkbookError: the file is no workbook or has another layout.
        DataError: its codes are no tree, or not as many on each level as the edition has.
    """
    codes = printed_codes(edition.workbook('codes'), path)
    # Here, because otherwise the descriptions workbook is blamed for what this one lacks.
    if wrong := edition.differing_counts(count_levels(codes)):
        levels = '; '.join(
            f'level {n["level"]}, expected {n["expected"]:,}, found {n["found"]:,}' for n in wrong
        )
        raise DataError(
            f'{described(path)} has not as many codes as edition {edition.name} ({levels}): fetch '
            'the published one, or, if the Bureau changed the number of codes, change `counts` in '
            f'{shown_editions_file()}.'
        )
    return codes


def printed_codes(workbook: Workbook, path: Path) -> PrintedCodes:
    """Read a codes workbook, however many codes it has.

    Args:
        workbook: says which sheet and columns it has.
        path: where it is.

    Raises:
        WorkbookError: the file is no workbook or has another layout.
        DataError: its codes are no tree.
    """
    table = read_table(path, workbook)
    printed = [tidy(code or '') for code in table['code']]
    try:
        taxonomy = Taxonomy.from_codes([normalise_code(code) for code in printed])
    except NoTreeError as error:
        place = _place(path, [table['row'][position] for position in error.positions])
        raise DataError(f'{place}: {error.problem}; {CORRECT}') from None
    return PrintedCodes(taxonomy, printed, [tidy(title or '') for title in table['title']])


def count_levels(codes: PrintedCodes) -> dict[int, int]:
    """Return how many codes each level has."""
    return dict(Counter(codes.taxonomy.levels.tolist()))


def read_descriptions(edition: Edition, path: Path, taxonomy: Taxonomy) -> PrintedDescriptions:
    """Read the descriptions workbook.

    Args:
        edition: says which sheet and columns it has.
        path: the workbook.
        taxonomy: the codes that it must describe, each once, and no others.

    Raises:
        WorkbookError: the file is no workbook or has another layout.
        DataError: it describes other codes.
    """
    table = read_table(path, edition.workbook('descriptions'))
    codes = [normalise_code(code or '') for code in table['code']]
    rows: dict[str, list[int]] = {}
    for code, row in zip(codes, table['row'], strict=True):
        rows.setdefault(code, []).append(row)
    _same_codes(path, rows, taxonomy)
    parts = dict(zip(codes, map(take_apart, table['text']), strict=True))
    return PrintedDescriptions(path, parts, {code: row for code, (row,) in rows.items()})


def read_cross_references(edition: Edition, path: Path, taxonomy: Taxonomy) -> dict[str, list[str]]:
    """Read the cross-references workbook.

    Args:
        edition: says which sheet and columns it has.
        path: the workbook.
        taxonomy: the codes of the edition.

    Returns:
        code -> its sentences, each once, in order; a code without any is not there.

    Raises:
        WorkbookError: the file is no workbook or has another layout.
        DataError: a row is of another code.
    """
    rows = read_table(path, edition.workbook('cross_references'))
    sentences: dict[str, list[str]] = {}
    for printed, cell, row in rows.select('code', 'text', 'row').iter_rows():
        code = normalise_code(printed or '')
        if code not in taxonomy.index:
            raise _unlisted(path, row, code)
        sentence = cross_reference_sentence(cell or '')
        if sentence and sentence not in sentences.setdefault(code, []):
            sentences[code].append(sentence)
    return sentences


def resolve(descriptions: PrintedDescriptions, codes: PrintedCodes) -> dict[str, str]:
    """Return the description of every code: pointers followed, empty industry groups filled.

    A pointer takes the description only: examples and exclusions stay with the code under which
    they are printed, so that they are counted once.

    The Bureau leaves 154 industry groups (2022) undescribed. 140 of them have one industry: the
    group is that industry, and its text is theirs. The other 14 are what their industries are, so
    these are named. (2017: 155 = 139 + 16.) An undescribed code with no children stays empty, for
    the check to find.

    Args:
        descriptions: as read.
        codes: of the same edition.

    Raises:
        DataError: a pointer leads nowhere, or in a circle.
    """
    parts, taxonomy = descriptions.parts, codes.taxonomy
    titles = dict(zip(taxonomy.codes, codes.titles, strict=True))
    children: dict[str, list[str]] = {}
    for code in taxonomy.codes:
        if (parent := parent_of(code)) is not None:
            children.setdefault(parent, []).append(code)

    def text_of(code: str, asked_by: tuple[str, ...] = ()) -> str:
        target = parts[code].points_to
        if target is not None:
            if target not in parts or target in asked_by:
                raise DataError(
                    f'{_place(descriptions.path, [descriptions.rows[code]])}: the description of '
                    f'{code} points to {target}, which has none of its own; {CORRECT}'
                )
            return text_of(target, (*asked_by, code))
        if parts[code].description:
            return parts[code].description
        match children.get(code, []):
            case []:
                return ''
            case [only]:
                return text_of(only, (*asked_by, code))
            case several:
                return f'This group comprises: {"; ".join(titles[child] for child in several)}.'

    return {code: text_of(code) for code in taxonomy.codes}


def _same_codes(path: Path, rows: dict[str, list[int]], taxonomy: Taxonomy) -> None:
    """Check that each code of the edition has one row, and no other code has one."""
    for code, numbers in rows.items():
        if code not in taxonomy.index:
            raise _unlisted(path, numbers[0], code)
        if len(numbers) > 1:
            raise DataError(f'{_place(path, numbers)}: all describe code {code}; {CORRECT}')
    missing = [code for code in taxonomy.codes if code not in rows]
    if missing:
        more = f' and {len(missing) - 5} more' if len(missing) > 5 else ''
        raise DataError(
            f'{described(path)} has no row for {", ".join(missing[:5])}{more}, which the codes '
            f'workbook lists; {_ONE_EDITION}'
        )


def _place(path: Path, rows: Sequence[int]) -> str:
    """Return where some rows of a sheet are, as a person finds them in Excel."""
    return f'{described(path)}, row{"s" if len(rows) > 1 else ""} {", ".join(map(str, rows))}'


def _unlisted(path: Path, row: int, code: str) -> DataError:
    remedy = _ONE_EDITION if code else CORRECT
    return DataError(
        f'{_place(path, [row])}: {shown(code)} is no code of the codes workbook; {remedy}'
    )
