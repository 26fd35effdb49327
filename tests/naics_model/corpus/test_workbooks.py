"""Rows come as strings; what is no workbook, or not the published layout, is refused in words."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from naics_model.corpus.editions import edition
from naics_model.corpus.workbooks import check_is_workbook, read_table
from naics_model.errors import WorkbookError

CODES = edition('2022').workbook('codes')
HEADER = ('Seq. No.', '2022 NAICS US   Code', '2022 NAICS US Title', None)
Save = Callable[[Path, str, list[tuple[object, ...]]], None]


@pytest.fixture
def book(tmp_path: Path, save_workbook: Save) -> Path:
    path = tmp_path / 'codes.xlsx'
    rows = [HEADER, (None,) * 4, (1, 11, 'Agriculture', None), (2, 111110.0, 'Soybeans ', ' ')]
    save_workbook(path, str(CODES.sheet), [*rows, (3, '31-33', None, None)])
    return path


def test_codes_come_as_digits_and_blank_rows_are_dropped(book: Path) -> None:
    table = read_table(book, CODES)
    assert table.columns == ['code', 'title']
    assert table.rows() == [('11', 'Agriculture'), ('111110', 'Soybeans '), ('31-33', None)]


def test_columns_are_found_by_header_wherever_they_stand(
    tmp_path: Path, save_workbook: Save
) -> None:
    path = tmp_path / 'moved.xlsx'
    save_workbook(path, str(CODES.sheet), [HEADER[::-1], (None, 'Agriculture', 11, 1)])
    assert read_table(path, CODES).rows() == [('11', 'Agriculture')]


def test_a_renamed_sheet_is_reported_with_the_sheets_there_are(
    tmp_path: Path, save_workbook: Save
) -> None:
    path = tmp_path / 'codes.xlsx'
    save_workbook(path, 'Tabelle1', [HEADER])
    with pytest.raises(WorkbookError, match=r"no sheet 'tbl_2022.*its sheets are 'Tabelle1'"):
        read_table(path, CODES)


def test_a_renamed_column_is_reported_with_the_columns_there_are(
    tmp_path: Path, save_workbook: Save
) -> None:
    path = tmp_path / 'codes.xlsx'
    save_workbook(path, str(CODES.sheet), [('Seq. No.', '2022 NAICS US Code', 'Title')])
    expected = (
        r"codes\.xlsx, sheet 'tbl_2022_title_description_coun', has no column "
        r"'2022 NAICS US   Code', '2022 NAICS US Title': it has 'Seq\. No\.', "
        r"'2022 NAICS US Code', 'Title'\. .*editions\.toml"
    )
    with pytest.raises(WorkbookError, match=expected):
        read_table(path, CODES)


def test_an_empty_sheet_has_no_column(tmp_path: Path, save_workbook: Save) -> None:
    path = tmp_path / 'codes.xlsx'
    save_workbook(path, str(CODES.sheet), [])
    with pytest.raises(WorkbookError, match='it has none'):
        read_table(path, CODES)


def test_a_missing_file_says_to_fetch_it(tmp_path: Path) -> None:
    with pytest.raises(WorkbookError, match=r'gone\.xlsx does not exist: fetch the codes workbook'):
        read_table(tmp_path / 'gone.xlsx', CODES)


@pytest.mark.parametrize(
    ('content', 'sentence'),
    [
        (b'\r\n<!DOCTYPE html><html><body>Access denied</body></html>', 'looks like an HTML page'),
        (b'<HTML><head>', 'looks like an HTML page'),
        (b'\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1' + bytes(600), 'looks like an old .xls'),
        (b'', 'the file is empty'),
        (b'Code,Title\n11,Agriculture\n', "begins with b'Code,Title"),
        (b'PK\x03\x04 and then nothing of a zip archive', 'damaged or truncated'),
    ],
)
def test_what_is_no_workbook_says_what_it_looks_like(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    path = tmp_path / 'codes.xlsx'
    path.write_bytes(content)
    with pytest.raises(WorkbookError, match=sentence):
        read_table(path, CODES)


def test_a_truncated_workbook_is_refused(book: Path) -> None:
    book.write_bytes(book.read_bytes()[:-100])
    with pytest.raises(WorkbookError, match=r'damaged or truncated .* fetch it again'):
        check_is_workbook(book)


def test_a_workbook_with_a_flipped_byte_is_refused(book: Path) -> None:
    with zipfile.ZipFile(book) as archive:
        member = archive.getinfo('xl/worksheets/sheet1.xml')
    content = bytearray(book.read_bytes())
    content[member.header_offset + 30 + len(member.filename) + member.compress_size // 2] ^= 0xFF
    book.write_bytes(content)
    with pytest.raises(WorkbookError, match='damaged'):
        check_is_workbook(book)


@pytest.mark.parametrize(
    ('part', 'sentence'),
    [
        ('xl/workbook.xml', r'codes\.xlsx is no readable .* \(Xlsx error: .*\): fetch it again\.$'),
        (
            'xl/worksheets/sheet1.xml',
            r"sheet 'tbl_2022.*', cannot be read \(Xlsx error: .*\): fetch it again\.$",
        ),
    ],
)
def test_a_whole_archive_with_a_broken_part_is_refused(
    book: Path, part: str, sentence: str
) -> None:
    with zipfile.ZipFile(book) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts[part] = parts[part][: len(parts[part]) * 2 // 3]
    with zipfile.ZipFile(book, 'w') as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(WorkbookError, match=sentence) as caught:
        read_table(book, CODES)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('at', 'value', 'sentence'),
    [
        (8, 0x01, r'is encrypted or packed .*password required .*without a password\.$'),
        (8, 0x41, r'is encrypted or packed .*strong encryption'),
        (10, 99, r'is encrypted or packed .*compression method'),
        # Read as bzip2, and as beginning beyond the end.
        (10, 12, r'damaged'),
        (42, 0x7FFF, r'damaged'),
    ],
)
def test_a_part_that_is_locked_or_misdescribed_is_refused(
    book: Path, at: int, value: int, sentence: str
) -> None:
    content = bytearray(book.read_bytes())
    entry = content.index(b'PK\x01\x02')
    local = struct.unpack_from('<I', content, entry + 42)[0]
    struct.pack_into('<H', content, entry + at, value)
    if at == 10:
        struct.pack_into('<H', content, local + 8, value)
    book.write_bytes(content)
    for read in (check_is_workbook, lambda path: read_table(path, CODES)):
        with pytest.raises(WorkbookError, match=sentence):
            read(book)


def test_another_zip_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'codes.xlsx'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('readme.txt', 'hello')
    with pytest.raises(WorkbookError, match=r'without xl/workbook\.xml'):
        check_is_workbook(path)
    with pytest.raises(WorkbookError, match=r'^https://example\.org/x is a zip'):
        check_is_workbook(path, name='https://example.org/x')
