"""Bytes to rows: is the file a workbook, has it the published layout, and its cells as strings.

What the cells mean is not decided here (see text.py).
"""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib
from pathlib import Path

import fastexcel
import polars as pl

from naics_model.corpus.editions import Workbook
from naics_model.errors import WorkbookError

_OLD_EXCEL = b'\xd0\xcf\x11\xe0'
_RENAMED = 'If the Census Bureau renamed it, change naics_model/corpus/editions.toml.'
# What zipfile raises on bad bytes: wrong offsets are a ValueError, a bad bzip2 part an OSError.
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, OSError)


def check_is_workbook(path: Path, *, name: str | None = None) -> None:
    """Check that a file is a whole .xlsx: an undamaged zip archive with a workbook that opens.

    Args:
        path: the file.
        name: what to call it in the message where `path` is a temporary name.

    Raises:
        WorkbookError: it is something else; the message says what it looks like.
    """
    _open(path, name or str(path))


def _open(path: Path, name: str) -> fastexcel.ExcelReader:
    _check_archive(path, name)
    # An undamaged archive is not yet a workbook: its parts may hold anything.
    try:
        return fastexcel.read_excel(path)
    except fastexcel.FastExcelError as error:
        raise WorkbookError(
            f'{name} is no readable .xlsx workbook ({_reason(error)}): fetch it again.'
        ) from None


def _check_archive(path: Path, name: str) -> None:
    # From memory, so that an OSError below is of the content and never of the disk.
    content = path.read_bytes()
    start = content[:512].lstrip()
    if not start.startswith(b'PK'):
        raise WorkbookError(f'{name} is not an .xlsx workbook: {_looks_like(start)}.')
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            damaged = archive.testzip()
            members = archive.namelist()
    except RuntimeError as error:
        # Encrypted parts; NotImplementedError, a subclass, for stronger ways to pack or lock them.
        raise WorkbookError(
            f'{name} is an .xlsx workbook that is encrypted or packed in an unknown way ({error}): '
            'save it again as .xlsx, without a password.'
        ) from None
    except _DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise WorkbookError(
            f'{name} is a damaged or truncated .xlsx workbook ({reason}): fetch it again.'
        ) from None
    if damaged is not None:
        raise WorkbookError(
            f'{name} is a damaged .xlsx workbook (in its part {damaged!r}): fetch it again.'
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
        WorkbookError: the file is missing or no workbook, lacks the sheet or a column, or the sheet
            is damaged.
    """
    if not path.is_file():
        raise WorkbookError(f'{path} does not exist: fetch the {workbook.name} workbook first.')
    reader = _open(path, str(path))
    if workbook.sheet not in reader.sheet_names:
        raise WorkbookError(
            f'{path} has no sheet {workbook.sheet!r}: its sheets are '
            f'{", ".join(map(repr, reader.sheet_names)) or "none"}. {_RENAMED}'
        )
    try:
        return _columns(reader, path, workbook)
    except fastexcel.FastExcelError as error:
        raise WorkbookError(
            f'{path}, sheet {workbook.sheet!r}, cannot be read ({_reason(error)}): fetch it again.'
        ) from None


def _reason(error: fastexcel.FastExcelError) -> str:
    # The lines after the first only repeat what was being read.
    return str(error).partition('\n')[0].removeprefix('calamine error: ')


def _columns(reader: fastexcel.ExcelReader, path: Path, workbook: Workbook) -> pl.DataFrame:
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
