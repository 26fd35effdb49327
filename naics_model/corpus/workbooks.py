"""Bytes to rows: is the file a workbook, has it the published layout, and its cells as strings.

A sheet comes from an .xlsx, or from a CSV copy of it. What the cells mean is not decided here (see
text.py).
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable
from pathlib import Path

import fastexcel
import polars as pl

from naics_model.corpus.archive import CELLS_LIMIT, UNPACKED_LIMIT, readable_copy, too_large
from naics_model.corpus.editions import Workbook, shown_editions_file
from naics_model.errors import WorkbookError
from naics_model.storage.files import read_steady

CSV = '.csv'


def _renamed() -> str:
    return f'if the Census Bureau renamed it, change {shown_editions_file()}.'


def check_layout(content: bytes, workbook: Workbook, suffix: str, *, name: str) -> None:
    """Check that bytes are a whole workbook with the sheet and the columns its edition names.

    All rows are read: the headers alone would save 5 ms of the 30 that the largest workbook takes,
    and a sheet that is damaged further down would pass.

    Args:
        content: the bytes.
        workbook: what the edition says of them.
        suffix: `.csv` for a CSV copy of the sheet, else the bytes are an .xlsx.
        name: where they come from, for the message.

    Raises:
        WorkbookError: they are something else; the message says what they look like, or what is
            missing.
    """
    _table(content, workbook, suffix, name)


def read_table(path: Path, workbook: Workbook) -> pl.DataFrame:
    """Read the columns of a workbook that its edition names.

    Every cell comes as a string ('111110', never '111110.0'). fastexcel reads all four workbooks of
    an edition in 0.1 CPU-seconds where openpyxl needs 0.6 (measured on 2022).

    Args:
        path: the workbook, or a CSV copy of its sheet (`.csv`, UTF-8).
        workbook: what the edition says of it: its sheet, where the headers are, its columns.

    Returns:
        One String column for each entry of `workbook.columns`, under our names, null where a cell
        is empty; then `row` (UInt32), its number in the sheet, from 1, as a person sees it. Rows in
        sheet order, without those that are empty in all of these columns.

    Raises:
        WorkbookError: the file is missing or no workbook, lacks the sheet or a column, or the sheet
            is damaged.
        DataError: the file changed while it was read.
    """
    if not path.is_file():
        raise WorkbookError(f'{path} does not exist: fetch the {workbook.name} workbook first.')
    return _table(read_steady(path), workbook, path.suffix, str(path))


def read_sheets(path: Path) -> dict[str, pl.DataFrame]:
    """Read every sheet of an .xlsx whose layout is not known yet.

    Returns:
        Name of a sheet -> all its cells from the first row on, as strings, empty ones null.

    Raises:
        WorkbookError: the file is no workbook, or a sheet is damaged.
        DataError: the file changed while it was read.
    """
    reader = _open(read_steady(path), str(path))
    return {sheet: _cells(reader, sheet, str(path)) for sheet in reader.sheet_names}


def one_line(header: str) -> str:
    """Return a header as headers are compared: blanks and line breaks count as one blank."""
    return ' '.join(header.split())


def _table(content: bytes, workbook: Workbook, suffix: str, name: str) -> pl.DataFrame:
    if suffix == CSV:
        return _columns(_csv_cells(content, name), workbook, name)
    return _columns(
        _excel_cells(content, workbook.sheet, name), workbook, f'{name}, sheet {workbook.sheet!r},'
    )


def _columns(cells: pl.DataFrame, workbook: Workbook, place: str) -> pl.DataFrame:
    """Return the columns that the edition names.

    Args:
        cells: all cells of the sheet from its first row on, as strings, empty ones null.
    """
    headers = cells.row(workbook.header - 1) if workbook.header <= cells.height else ()
    found = [one_line(header or '') for header in headers]
    wanted = {ours: one_line(theirs) for ours, theirs in workbook.columns.items()}
    missing = [header for header in wanted.values() if header not in found]
    if missing:
        raise WorkbookError(
            f'{place} has no column {_listed(missing)} in row {workbook.header}: it has '
            f'{_listed(filter(None, found))}; {_renamed()}'
        )
    columns = [
        pl.col(cells.columns[found.index(theirs)]).alias(ours) for ours, theirs in wanted.items()
    ]
    rows = cells.with_row_index('row', offset=1).slice(workbook.header)
    return rows.select(*columns, 'row').filter(
        pl.any_horizontal(pl.col(ours).is_not_null() for ours in wanted)
    )


def _listed(names: Iterable[str]) -> str:
    return ', '.join(map(repr, names)) or 'none'


def _excel_cells(content: bytes, sheet: str, name: str) -> pl.DataFrame:
    reader = _open(content, name)
    if sheet not in reader.sheet_names:
        raise WorkbookError(
            f'{name} has no sheet {sheet!r}: its sheets are {_listed(reader.sheet_names)}; '
            f'{_renamed()}'
        )
    return _cells(reader, sheet, name)


def _open(content: bytes, name: str) -> fastexcel.ExcelReader:
    content = _checked_archive(content, name)
    # An undamaged archive is not yet a workbook: its parts may hold anything.
    try:
        return fastexcel.read_excel(content)
    except fastexcel.FastExcelError as error:
        raise WorkbookError(
            f'{name} is no readable .xlsx workbook ({_reason(error)}): fetch it again.'
        ) from None


def _cells(reader: fastexcel.ExcelReader, sheet: str, name: str) -> pl.DataFrame:
    try:
        # skip_rows: by default empty rows at the top are left out, and the others change number.
        return reader.load_sheet(sheet, header_row=None, skip_rows=0, dtypes='string').to_polars()
    except fastexcel.FastExcelError as error:
        raise WorkbookError(
            f'{name}, sheet {sheet!r}, cannot be read ({_reason(error)}): fetch it again.'
        ) from None


def _reason(error: fastexcel.FastExcelError) -> str:
    # The lines after the first only repeat what was being read.
    return str(error).partition('\n')[0].removeprefix('calamine error: ')


def _checked_archive(content: bytes, name: str) -> bytes:
    start = _start(content)
    if not start.startswith(b'PK'):
        looks = _looks_like(start) or f'it begins with {start!r}; fetch it again'
        raise WorkbookError(f'{name} is not an .xlsx workbook: {looks}.')
    return readable_copy(content, name)


def _csv_cells(content: bytes, name: str) -> pl.DataFrame:
    if looks := _looks_like(_start(content)):
        raise WorkbookError(f'{name} is no CSV copy of a workbook: {looks}.')
    if len(content) > UNPACKED_LIMIT:
        raise too_large(name, f'it has {len(content):,} bytes')
    try:
        rows = _csv_rows(content.decode('utf-8-sig'), name)
    except UnicodeDecodeError as error:
        raise WorkbookError(
            f'{name} is not UTF-8 text ({error.reason} at byte {error.start:,}): save the sheet '
            'again as "CSV UTF-8".'
        ) from None
    except csv.Error as error:
        raise WorkbookError(
            f'{name} is damaged or truncated CSV ({error}): save the sheet again as "CSV UTF-8".'
        ) from None
    width = max(map(len, rows))
    filled = [[cell or None for cell in row] + [None] * (width - len(row)) for row in rows]
    return pl.DataFrame(filled, schema=[(str(n), pl.String) for n in range(width)], orient='row')


def _csv_rows(text: str, name: str) -> list[list[str]]:
    rows: list[list[str]] = []
    width = 1
    if '\0' in text:
        raise csv.Error('it holds a NUL')
    # polars reads CSV too, but leaves out blank lines, so that the others change number.
    for row in csv.reader(io.StringIO(text, newline=''), strict=True):
        rows.append(row)
        width = max(width, len(row))
        # One wide row makes all others as wide.
        if len(rows) * width > CELLS_LIMIT:
            raise too_large(name, f'it has at least {len(rows):,} rows of {width:,} cells')
    return rows


def _start(content: bytes) -> bytes:
    # Blanks before the cut: a page from a template can begin with hundreds.
    return content.lstrip().removeprefix(codecs.BOM_UTF8).lstrip()[:16]


def _looks_like(start: bytes) -> str | None:
    """Return what bytes look like that are no table; None where nothing can be said."""
    if not start:
        return 'the file is empty; fetch it again'
    if start.startswith(b'\xd0\xcf\x11\xe0'):
        return 'it looks like an old .xls; save it as .xlsx'
    if start.startswith(b'<'):
        return (
            'it looks like a web page, perhaps an error page of the server or of a proxy; get '
            'the published workbook with a browser and put it into NAICS_SOURCE_DIR'
        )
    return None
