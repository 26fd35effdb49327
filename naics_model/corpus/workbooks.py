"""Bytes to rows: is the file a workbook, has it the published layout, and its cells as strings.

What the cells mean is not decided here (see text.py).
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import fastexcel
import polars as pl

from naics_model.corpus.editions import Workbook
from naics_model.errors import WorkbookError

_OLD_EXCEL = b'\xd0\xcf\x11\xe0'
_RENAMED = 'If the Census Bureau renamed it, change naics_model/corpus/editions.toml.'


def check_is_workbook(path: Path, *, name: str | None = None) -> None:
    """Check that a file is a whole .xlsx: an undamaged zip archive with a workbook in it.

    Args:
        path: the file.
        name: what to call it in the message where `path` is a temporary name.

    Raises:
        WorkbookError: it is something else; the message says what it looks like.
    """
    name = name or str(path)
    with path.open('rb') as file:
        start = file.read(512).lstrip()
    if not start.startswith(b'PK'):
        raise WorkbookError(f'{name} is not an .xlsx workbook: {_looks_like(start)}.')
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            members = archive.namelist()
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise WorkbookError(
            f'{name} is a damaged or truncated .xlsx workbook ({error}): fetch it again.'
        ) from None
    if damaged is not None:
        raise WorkbookError(
            f'{name} is a damaged .xlsx workbook (in its part {damaged}): fetch it again.'
        )
    if 'xl/workbook.xml' not in members:
        raise WorkbookError(
            f'{name} is a zip archive without xl/workbook.xml, so no .xlsx workbook.'
        )


def _looks_like(start: bytes) -> str:
    if not start:
        return 'the file is empty'
    if start.startswith(_OLD_EXCEL):
        return 'it looks like an old .xls; save it as .xlsx'
    if start.lower().startswith((b'<!doctype html', b'<html')):
        return 'it looks like an HTML page, perhaps an error page of the server or of a proxy'
    return f'it begins with {start[:16]!r}'


def read_table(path: Path, workbook: Workbook) -> pl.DataFrame:
    """Read the columns of a workbook that its edition names.

    Every cell comes as a string ('111110', never '111110.0'). fastexcel reads all four workbooks of
    an edition in 0.1 CPU-seconds where openpyxl needs 0.6 (measured on 2022).

    Returns:
        One String column for each entry of `workbook.columns`, under our names, rows in sheet order
        without the wholly empty ones.

    Raises:
        WorkbookError: the file is missing or no workbook, or lacks the sheet or a column.
    """
    if not path.is_file():
        raise WorkbookError(f'{path} does not exist: fetch the {workbook.name} workbook first.')
    check_is_workbook(path)
    reader = fastexcel.read_excel(path)
    if workbook.sheet not in reader.sheet_names:
        raise WorkbookError(
            f'{path} has no sheet {workbook.sheet!r}: its sheets are '
            f'{", ".join(map(repr, reader.sheet_names))}. {_RENAMED}'
        )
    columns = reader.load_sheet(workbook.sheet, n_rows=0, dtypes='string').available_columns()
    # Some headers are empty; fastexcel generates names for those.
    header = [column.name for column in columns if column.column_name_from == 'looked_up']
    missing = [name for name in workbook.columns.values() if name not in header]
    if missing:
        found = ', '.join(map(repr, header)) or 'none'
        raise WorkbookError(
            f'{path}, sheet {workbook.sheet!r}, has no column {", ".join(map(repr, missing))}: '
            f'it has {found}. {_RENAMED}'
        )
    wanted = list(workbook.columns.values())
    sheet = reader.load_sheet(workbook.sheet, use_columns=wanted, dtypes='string')
    frame = sheet.to_polars().select(wanted).rename({v: k for k, v in workbook.columns.items()})
    return frame.filter(~pl.all_horizontal(pl.all().is_null()))
