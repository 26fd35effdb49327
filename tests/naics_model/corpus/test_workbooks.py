"""Rows come as strings; what is no workbook, or not the published layout, is refused in words."""

from __future__ import annotations

import dataclasses
import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import openpyxl
import polars as pl
import pytest

from naics_model.corpus import workbooks
from naics_model.corpus.editions import edition
from naics_model.corpus.workbooks import check_layout, read_table
from naics_model.errors import DataError, WorkbookError

CODES = edition('2022').workbook('codes')
CONCORDANCE = edition('2022').workbook('concordance')
HEADER = ('Seq. No.', '2022 NAICS US   Code', '2022 NAICS US Title', None)
Save = Callable[[Path, str, list[tuple[object, ...]]], None]


@pytest.fixture
def book(tmp_path: Path, save_workbook: Save) -> Path:
    path = tmp_path / 'codes.xlsx'
    rows = [HEADER, (None,) * 4, (1, 11, 'Agriculture', None), (2, 111110.0, 'Soybeans ', ' ')]
    save_workbook(path, CODES.sheet, [*rows, (3, '31-33', None, None)])
    return path


def test_codes_come_as_digits_and_blank_rows_are_dropped(book: Path) -> None:
    table = read_table(book, CODES)
    assert table.schema == {'code': pl.String, 'title': pl.String, 'row': pl.UInt32}
    assert table.rows() == [
        ('11', 'Agriculture', 3),
        ('111110', 'Soybeans ', 4),
        ('31-33', None, 5),
    ]


def test_columns_are_found_by_header_wherever_they_stand(
    tmp_path: Path, save_workbook: Save
) -> None:
    path = tmp_path / 'moved.xlsx'
    save_workbook(path, CODES.sheet, [HEADER[::-1], (None, 'Agriculture', 11, 1)])
    assert read_table(path, CODES).rows() == [('11', 'Agriculture', 2)]


def test_headers_stand_where_the_edition_says_and_may_be_broken_into_lines(
    tmp_path: Path, save_workbook: Save
) -> None:
    path = tmp_path / 'codes.xlsx'
    header = ('2022 NAICS\n US Code ', '2022\u00a0NAICS\r\nUS Title')
    rows: list[tuple[object, ...]] = [(), ('A note', None), (), header, (), (11, 'Agriculture')]
    save_workbook(path, CODES.sheet, rows)
    fourth = dataclasses.replace(CODES, header=4)
    assert read_table(path, fourth).rows() == [('11', 'Agriculture', 6)]
    with pytest.raises(WorkbookError, match=r"has no column .* in row 2: it has 'A note'; if the"):
        read_table(path, dataclasses.replace(CODES, header=2))
    with pytest.raises(WorkbookError, match=r'in row 7: it has none; if the'):
        read_table(path, dataclasses.replace(CODES, header=7))


def test_of_two_columns_of_one_name_the_first_is_read(tmp_path: Path, save_workbook: Save) -> None:
    path = tmp_path / 'codes.xlsx'
    header = ('2022 NAICS US Code', '2022 NAICS US Title', '2022 NAICS US  Code')
    save_workbook(path, CODES.sheet, [header, (11, 'Agriculture', 12)])
    assert read_table(path, CODES).rows() == [('11', 'Agriculture', 2)]


@pytest.mark.parametrize('name', ['2017', '2022'])
def test_every_cell_and_row_number_is_what_openpyxl_finds(name: str, source_dir: Path) -> None:
    for book in edition(name).workbooks.values():
        path = source_dir / name / book.file
        if book.csv is not None and not path.is_file():
            continue
        sheet = openpyxl.load_workbook(path, read_only=True)[book.sheet]
        cells = {(c.row, c.column): str(c.value) for r in sheet for c in r if c.value is not None}
        places = {cells[at]: at[1] for at in cells if at[0] == book.header}
        table = read_table(path, book)
        assert table.height > 2_000
        for ours, theirs in book.columns.items():
            expected = {
                row: text
                for (row, column), text in cells.items()
                if column == places[theirs] and row > book.header
            }
            assert dict(table.select('row', ours).drop_nulls().iter_rows()) == expected
        assert table['row'].is_sorted()


def test_the_blank_second_row_of_the_codes_counts(source_dir: Path) -> None:
    table = read_table(source_dir / '2022' / CODES.file, CODES)
    assert table.row(0) == ('11', 'Agriculture, Forestry, Fishing and Hunting', 3)
    assert table['row'].to_list() == list(range(3, 2_128))


def test_a_renamed_sheet_is_reported_with_the_sheets_there_are(
    tmp_path: Path, save_workbook: Save
) -> None:
    path = tmp_path / 'codes.xlsx'
    save_workbook(path, 'Tabelle1', [HEADER])
    with pytest.raises(WorkbookError) as caught:
        read_table(path, CODES)
    assert str(caught.value) == (
        f"{path} has no sheet 'tbl_2022_title_description_coun': its sheets are 'Tabelle1'; if the "
        'Census Bureau renamed it, change naics_model/corpus/editions.toml.'
    )


def test_renamed_columns_are_reported_with_the_columns_there_are(
    tmp_path: Path, save_workbook: Save
) -> None:
    path = tmp_path / 'codes.xlsx'
    save_workbook(path, CODES.sheet, [('Seq. No.', None, 'NAICS Code', 'Title')])
    with pytest.raises(WorkbookError) as caught:
        read_table(path, CODES)
    assert str(caught.value) == (
        f"{path}, sheet 'tbl_2022_title_description_coun', has no column '2022 NAICS US Code', "
        "'2022 NAICS US Title' in row 1: it has 'Seq. No.', 'NAICS Code', 'Title'; if the Census "
        'Bureau renamed it, change naics_model/corpus/editions.toml.'
    )


def test_an_empty_sheet_has_no_column(tmp_path: Path, save_workbook: Save) -> None:
    path = tmp_path / 'codes.xlsx'
    save_workbook(path, CODES.sheet, [])
    with pytest.raises(WorkbookError, match='it has none'):
        read_table(path, CODES)


def test_a_missing_file_says_to_fetch_it(tmp_path: Path) -> None:
    with pytest.raises(WorkbookError, match=r'gone\.xlsx does not exist: fetch the codes workbook'):
        read_table(tmp_path / 'gone.xlsx', CODES)


def test_a_workbook_that_changes_while_it_is_read_is_refused(
    book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Reader(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            monkeypatch.undo()
            content = super().read(size)
            with book.open('ab') as file:
                file.write(b'more')
            return content

    monkeypatch.setattr(Path, 'open', lambda path, *args, **kwargs: Reader(path))
    with pytest.raises(DataError, match=rf'^{book} changed while it was read: wait until'):
        read_table(book, CODES)


def test_the_bytes_that_were_checked_are_the_ones_that_are_read(
    book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_and_replace(path: Path) -> bytes:
        content = path.read_bytes()
        path.write_bytes(b'other bytes')
        return content

    monkeypatch.setattr(workbooks, 'read_steady', read_and_replace)
    assert read_table(book, CODES).height == 3


@pytest.mark.parametrize(
    ('content', 'sentence'),
    [
        (b'\r\n<!DOCTYPE html><html><body>Access denied</body></html>', 'looks like a web page'),
        (b'<HTML><head>', 'looks like a web page'),
        (b'<HEAD><TITLE>Blocked</TITLE></HEAD>', 'looks like a web page'),
        (b'<!-- served by proxy 3 -->\n<html>', 'looks like a web page'),
        (b'<?xml version="1.0"?><!DOCTYPE html><html/>', 'looks like a web page'),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', 'like a web page'),
        (b'\r\n\xef\xbb\xbf \n<head>', 'looks like a web page'),
        (b'\n' * 600 + b'<html>', 'looks like a web page'),
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
        read_table(book, CODES)


def test_a_workbook_with_a_flipped_byte_is_refused(book: Path) -> None:
    with zipfile.ZipFile(book) as archive:
        member = archive.getinfo('xl/worksheets/sheet1.xml')
    content = bytearray(book.read_bytes())
    content[member.header_offset + 30 + len(member.filename) + member.compress_size // 2] ^= 0xFF
    book.write_bytes(content)
    with pytest.raises(WorkbookError, match='damaged'):
        read_table(book, CODES)


@pytest.mark.parametrize(
    ('part', 'sentence'),
    [
        (
            'xl/workbook.xml',
            r'codes\.xlsx is a damaged .* \(xl/workbook\.xml: .*\): fetch it again\.$',
        ),
        (
            'xl/worksheets/sheet1.xml',
            r'codes\.xlsx is a damaged .* \(xl/worksheets/sheet1\.xml: .*\): fetch it again\.$',
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
        # bzip2, which no workbook is packed with; and a part that begins beyond the end.
        (10, 12, r'is encrypted or packed .*compression method 12'),
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
    with pytest.raises(WorkbookError, match=sentence):
        read_table(book, CODES)


def test_another_zip_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'codes.xlsx'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('readme.txt', 'hello')
    with pytest.raises(WorkbookError) as caught:
        read_table(path, CODES)
    assert str(caught.value) == (
        f'{path} is a zip archive without xl/workbook.xml, so no .xlsx workbook: put the published '
        'workbook itself into NAICS_SOURCE_DIR, or fetch it again.'
    )
    with pytest.raises(WorkbookError, match=r'^https://example\.org/x is a zip'):
        check_layout(path.read_bytes(), CODES, '.xlsx', name='https://example.org/x')


HEADER_LINES = (
    'A heading,,,,\n'
    '"(A note, of two\nlines)",,,,\n'
    '2017 NAICS Code,"2017 NAICS Title\n(and specific piece of the 2017 industry that is contained '
    'in the 2022 industry)",2022 NAICS Code,2022 NAICS Title,\n'
)


@pytest.mark.parametrize('line_end', ['\n', '\r\n'])
@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig'])
def test_a_csv_copy_reads_as_the_sheet_does(tmp_path: Path, line_end: str, encoding: str) -> None:
    path = tmp_path / 'concordance.csv'
    rows = '011110,"Soy, ""dried""",111110,Café,\n,,,,\n\n9,"Two\nlines",,\n,,,,a note beside it\n'
    path.write_bytes((HEADER_LINES + rows).replace('\n', line_end).encode(encoding))
    table = read_table(path, CONCORDANCE)
    assert table.schema == {**dict.fromkeys(CONCORDANCE.columns, pl.String), 'row': pl.UInt32}
    assert table.rows() == [
        ('011110', 'Soy, "dried"', '111110', 'Café', 4),
        ('9', f'Two{line_end}lines', None, None, 7),
    ]


def test_the_mark_of_utf_8_is_no_part_of_the_first_header(tmp_path: Path) -> None:
    path = tmp_path / 'codes.csv'
    path.write_text('2022 NAICS US Code,2022 NAICS US Title\n11,Farms', encoding='utf-8-sig')
    assert read_table(path, CODES).rows() == [('11', 'Farms', 2)]


def test_the_csv_copy_at_hand_is_what_polars_finds(source_dir: Path) -> None:
    path = source_dir / str(CONCORDANCE.csv)
    expected = pl.read_csv(path, has_header=False, infer_schema=False, skip_lines=4)
    table = read_table(path, CONCORDANCE)
    assert table.drop('row').rows() == expected[:, :4].rows()
    assert table['row'].to_list() == list(range(4, 1_154))


@pytest.mark.parametrize(
    ('content', 'sentence'),
    [
        (b'', 'is no CSV copy of a workbook: the file is empty; fetch it again.'),
        (b'\xef\xbb\xbf\r\n', 'is no CSV copy of a workbook: the file is empty; fetch it again.'),
        (
            b'\xef\xbb\xbf<!DOCTYPE html><html></html>',
            'is no CSV copy of a workbook: it looks like a web page, perhaps an error page of '
            'the server or of a proxy; get the published workbook with a browser and put it into '
            'NAICS_SOURCE_DIR.',
        ),
        (
            HEADER_LINES.encode() + b'111110,Caf\xe9,111110,Soybeans\n',
            'is not UTF-8 text (invalid continuation byte at byte '
            f'{len(HEADER_LINES) + 10}): save the sheet again as "CSV UTF-8".',
        ),
        (
            HEADER_LINES.encode('utf-16'),
            'is not UTF-8 text (invalid start byte at byte 0): save the sheet again as '
            '"CSV UTF-8".',
        ),
        (
            HEADER_LINES.encode() + b'111110,"Soybean',
            'is damaged or truncated CSV (unexpected end of data): save the sheet again as '
            '"CSV UTF-8".',
        ),
        (
            b'A heading\n\n2017 NAICS Code,,Title\n',
            "has no column '2017 NAICS Title (and specific piece of the 2017 industry that is "
            "contained in the 2022 industry)', '2022 NAICS Code', '2022 NAICS Title' in row 3: it "
            "has '2017 NAICS Code', 'Title'; if the Census Bureau renamed it, change "
            'naics_model/corpus/editions.toml.',
        ),
    ],
)
def test_what_is_no_csv_copy_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / 'concordance.csv'
    path.write_bytes(content)
    with pytest.raises(WorkbookError) as caught:
        read_table(path, CONCORDANCE)
    assert str(caught.value) == f'{path} {sentence}'
