"""Write the five workbooks of the `sample` edition from the hand-written table beside this file.

    python -m naics_model.corpus.sample.write_workbooks [--out FOLDER]

The table is one TOML file a sector with one [[code]] block a code. Only `code` (in quotes) and
`title` must be there. An industry with one national industry says nothing itself; a group need not;
`activities` are for six digits; a cross-reference begins with a verb in -ing and has no full stop.
`was`, for six digits too, lists code and title of the 2017 industries that it came from, as the
concordance prints them; a code that had the same code and title in 2017 goes without. Blank lines
part paragraphs, other line breaks are for the editor only. Everything else about the layout, its
oddities included, is derived here by the rules of the real 2022 workbooks. Reading workbooks is not
done here.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import xlsxwriter

from naics_model.errors import DataError, NaicsError
from naics_model.storage.files import atomic_write
from naics_model.taxonomy.tree import NoTreeError, Taxonomy, normalise_code, parent_of, sector_of

TABLE = Path(__file__).parent / 'table'
WORKBOOKS = Path(__file__).parent / 'workbooks'

Cell = int | str | None
Row = tuple[Cell, ...]

# The real index ends in rows without a code, for headings that name no one activity.
_POINTERS = (
    ('******', 'Bakeries -- see kind of goods and of sale '),
    ('******', 'Farms -- see crop or animal '),
    ('******', 'Repair -- see article repaired '),
)
# The real concordance has its headers in row 3, one of them on two lines.
_ABOVE_THE_PAIRS: tuple[Row, ...] = (
    ('2017 NAICS U.S. Matched to 2022 NAICS U.S. (Sample)', None, None, None),
    ('(Note:  only the pairs whose 2022 code is in the sample.)', None, None, None),
    (
        '2017 NAICS Code',
        '2017 NAICS Title\n(and specific piece of the 2017 industry that is contained in the 2022 '
        'industry)',
        '2022 NAICS Code',
        '2022 NAICS Title',
    ),
)
_SIX_DIGITS = re.compile('[1-9][0-9]{5}')
_STUB = 'Cross-References.'
_LEAD = 'Establishments primarily engaged in'


@dataclass(frozen=True)
class Entry:
    """One [[code]] block of the table; `code` in its printed form (`31-33`)."""

    code: str
    title: str
    description: str = ''
    examples: Sequence[str] = ()
    activities: Sequence[str] = ()
    cross_references: Sequence[str] = ()
    was: Sequence[Mapping[str, str]] = ()

    @property
    def cell(self) -> Cell:
        """The code as a cell: a number, but text for a range sector."""
        return int(self.code) if self.code.isdigit() else self.code


def read_entries(folder: Path = TABLE) -> list[Entry]:
    """Read the table, in the order of the manual.

    Raises:
        DataError: a block has a wrong key, a code is there twice or lacks its parent, or a text is
            missing or stands where the layout has no place for it.
    """
    entries: list[Entry] = []
    for path in sorted(folder.glob('*.toml')):
        try:
            blocks = tomllib.loads(path.read_text(encoding='utf-8')).get('code', [])
            entries += [Entry(**block) for block in blocks]
            if numbers := [entry.code for entry in entries if not isinstance(entry.code, str)]:
                raise DataError(
                    f'{path} has a code without quotes: write code = {str(numbers[0])!r}.'
                )
        except (tomllib.TOMLDecodeError, TypeError) as error:
            raise DataError(f'{path} is not a table of [[code]] blocks ({error}).') from None
    # '31-33' < '311' < '3112' < '321': the order of text is that of the manual.
    entries.sort(key=lambda entry: entry.code)
    codes = [normalise_code(entry.code) for entry in entries]
    try:
        children = Counter(map(parent_of, Taxonomy.from_codes(codes).codes))
    except NoTreeError as error:
        raise DataError(
            f'The table in {folder} is no tree: {error.problem}; correct its [[code]] blocks.'
        ) from None
    for entry, code in zip(entries, codes, strict=True):
        has_one_child = len(code) == 5 and children[code] == 1
        if has_one_child and (entry.description or entry.examples or entry.cross_references):
            raise DataError(f'Code {code} of the sample has one child: move its texts to {code}0.')
        if not (entry.description.strip() or has_one_child or len(code) == 4):
            raise DataError(f'Code {entry.code} of the sample has no description: write one.')
        for key in ('activities', 'was'):
            if getattr(entry, key) and len(code) < 6:
                raise DataError(f'Code {entry.code} of the sample has {key}: six digits only.')
        _check_predecessors(entry)
    return entries


def _check_predecessors(entry: Entry) -> None:
    """Check that `was` lists codes of six digits with their titles, each once."""
    seen: set[str] = set()
    for item in entry.was:
        match item:
            case {'code': str(code), 'title': str(title), **rest} if (
                not rest and _SIX_DIGITS.fullmatch(code) and title.strip() and code not in seen
            ):
                seen.add(code)
            case _:
                raise DataError(
                    f'Code {entry.code} of the sample has {item!r} in its was: write '
                    "{ code = 'six digits', title = 'its title' }, each code once."
                )


def sheets(entries: Sequence[Entry]) -> dict[str, tuple[str, list[Row]]]:
    """Return file name -> (sheet name, rows) of the five workbooks, header rows included."""
    only = _only_children(entries)
    codes: list[Row] = [('Seq. No.', '2022 NAICS US   Code', '2022 NAICS US Title', None, None)]
    codes.append((None,) * 5)
    descriptions: list[Row] = [('Code', 'Title', 'Description')]
    index: list[Row] = [('NAICS22', 'INDEX ITEM DESCRIPTION')]
    references: list[Row] = [('Code', 'Cross-Reference')]
    for number, entry in enumerate(entries, start=1):
        marked = _has_superscript(entry)
        # Where the superscript is missing, the real titles have a blank in its place.
        title = entry.title + ' ' * (not marked)
        # A lone blank in the last column makes readers see both empty columns, as in 2022.
        codes.append((number, entry.cell, title, None, ' ' if number == 5 else None))
        text = description_cell(entry, only.get(entry.code))
        descriptions.append((entry.cell, entry.title + 'T' * marked, text))
        index += [(entry.cell, text) for text in sorted(entry.activities, key=str.casefold)]
        references += [(entry.cell, text) for text in cross_reference_cells(entry)]
    index += _POINTERS
    return {
        'sample_Codes.xlsx': ('tbl_2022_title_description_coun', codes),
        'sample_Descriptions.xlsx': ('2022_NAICS_Descriptions', descriptions),
        'sample_Index_File.xlsx': ('2022NAICS', index),
        'sample_Cross_References.xlsx': ('2022_NAICS_Cross_References', references),
        'sample_Concordance.xlsx': ('2017 to 2022 NAICS U.S.', concordance_rows(entries)),
    }


def _only_children(entries: Sequence[Entry]) -> Mapping[str, str]:
    """Return industry -> its national industry, for those that have one."""
    children: dict[str, list[str]] = {}
    for entry in entries:
        if len(entry.code) == 6:
            children.setdefault(entry.code[:5], []).append(entry.code)
    return {parent: codes[0] for parent, codes in children.items() if len(codes) == 1}


def _has_superscript(entry: Entry) -> bool:
    """Say whether the title carries the superscript T, which the real file has as a plain letter.

    It marks what three countries agreed on. As in 2022, national industries never have it, sectors
    always, and between them neither retail trade nor the industries of group 2381.
    """
    code = normalise_code(entry.code)
    if len(code) == 2:
        return True
    return len(code) < 6 and sector_of(code) != '44' and code[:-1] != '2381'


def description_cell(entry: Entry, only_child: str | None) -> str:
    """Return the cell of the descriptions workbook, lines ended by LF.

    Args:
        only_child: the national industry of an industry that has one; its text stands for both.
    """
    if only_child is not None:
        return f'See industry description for {only_child}.'
    paragraphs = [' '.join(text.split()) for text in entry.description.strip().split('\n\n')]
    text = '\n\n'.join(paragraphs)
    if not text:
        return 'NULL'
    if len(normalise_code(entry.code)) == 2:
        text = f'The Sector as a Whole\n\n{text}'
    if entry.examples:
        text += '\n\nIllustrative Examples:\n\n' + '\n'.join(entry.examples) + '\n'
    if not entry.cross_references:
        return f'{text}\n'
    # The lead goes before a list only; a single sentence stands whole.
    return f'{text}\n\n{_STUB}' + f' {_LEAD}--' * (len(entry.cross_references) > 1)


def cross_reference_cells(entry: Entry) -> list[str]:
    """Return the sentences as items of one list, or the only one as a sentence of its own."""
    texts = entry.cross_references
    if len(texts) == 1:
        return [f'{_LEAD} {texts[0][0].lower()}{texts[0][1:]}.']
    ends = [';'] * (len(texts) - 2) + ['; and', '.']
    return [text + end for text, end in zip(texts, ends, strict=False)]


def concordance_rows(entries: Sequence[Entry]) -> list[Row]:
    """Return the rows of the concordance, by 2017 code and then by 2022 code as in the real one."""
    pairs = [
        (int(was['code']), was['title'], int(entry.code), entry.title)
        for entry in entries
        if len(entry.code) == 6
        for was in entry.was or [{'code': entry.code, 'title': entry.title}]
    ]
    return [*_ABOVE_THE_PAIRS, *sorted(pairs, key=lambda pair: (pair[0], pair[2]))]


def write_workbook(path: Path, sheet: str, rows: Sequence[Row]) -> None:
    """Write one sheet; equal rows give equal bytes, because no clock enters the file."""
    with xlsxwriter.Workbook(path, {'in_memory': True}) as workbook:
        workbook.set_properties({'created': datetime(2022, 1, 1)})
        worksheet = workbook.add_worksheet(sheet)
        for i, row in enumerate(rows):
            for j, cell in enumerate(row):
                if isinstance(cell, int):
                    worksheet.write_number(i, j, cell)
                elif cell is not None:
                    worksheet.write_string(i, j, cell)


def write_workbooks(out: Path = WORKBOOKS, table: Path = TABLE) -> list[Path]:
    """Write the five workbooks into `out` and return their paths.

    Raises:
        DataError: the table contradicts itself (see `read_entries`).
    """
    paths = []
    for file, (sheet, rows) in sheets(read_entries(table)).items():
        with atomic_write(out / file) as temporary:
            write_workbook(temporary, sheet, rows)
        paths.append(out / file)
    return paths


def main() -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(description='Write the workbooks of the sample edition.')
    parser.add_argument('--out', type=Path, default=WORKBOOKS, help='folder for the five files')
    try:
        for path in write_workbooks(parser.parse_args().out):
            print(f'Wrote {path}')
    except NaicsError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
