"""A few kilobytes that describe a terabyte are refused in a sentence, within memory and time."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import openpyxl
import pytest

from naics_model.corpus import archive
from naics_model.corpus.archive import readable_copy
from naics_model.corpus.editions import edition
from naics_model.corpus.workbooks import check_layout, read_table
from naics_model.errors import WorkbookError

ROOT = Path(__file__).parents[3]
CONCORDANCE = edition('2022').workbook('concordance')
SHEET = 'xl/worksheets/sheet1.xml'
SHARED = 'xl/sharedStrings.xml'
XMLNS = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
# What a step of the graph takes for all workbooks of an edition, and more.
MEMORY = 2 * 2**30
SECONDS = 240
READ = """
import json, resource, sys
from pathlib import Path
from naics_model.corpus.editions import edition
from naics_model.corpus.workbooks import read_table
from naics_model.errors import WorkbookError

memory, *paths = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
for path in map(Path, paths):
    try:
        said = str(read_table(path, edition('2022').workbook('concordance')).height)
    except WorkbookError as error:
        said = str(error)
    print(json.dumps([path.name, said]), flush=True)
"""


def sheet(rows: str, before: str = '') -> str:
    return f'{before}<worksheet {XMLNS}><sheetData>{rows}</sheetData></worksheet>'


def shared(texts: str, attributes: str = '', before: str = '') -> str:
    return f'{before}<sst {XMLNS} {attributes}>{texts}</sst>'


def book(parts: Mapping[str, str | bytes], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A workbook of one sheet with some parts in place of its own, packed."""
    plain, changed = io.BytesIO(), io.BytesIO()
    small = openpyxl.Workbook()
    small.active.append(('Code', 'Title'))
    small.save(plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(changed, 'w', packing) as new:
        for name in old.namelist():
            if name not in parts:
                new.writestr(name, old.read(name))
        for name, content in parts.items():
            new.writestr(name, content)
    return changed.getvalue()


def laughs() -> str:
    """Ten entities, each ten times the one before."""
    names = 'abcdefghijk'
    lines = [f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in itertools.pairwise(names)]
    return f'<!DOCTYPE x [<!ENTITY a "ha">{"".join(lines)}]>'


SAID = sheet('').encode().ljust(1024)
"""A sheet of a kilobyte."""


def misstated(packed: bytes, size: int, crc: int) -> bytes:
    """A sheet of these packed bytes, with what the archive says of them unpacked."""
    content = bytearray(book({SHEET: packed}, zipfile.ZIP_STORED))
    with zipfile.ZipFile(io.BytesIO(content)) as whole:
        local = whole.getinfo(SHEET).header_offset + 8
    directory = content.rindex(b'PK\x01\x02', 0, content.rindex(SHEET.encode())) + 10
    for at in (local, directory):
        content[at : at + 2] = zipfile.ZIP_DEFLATED.to_bytes(2, 'little')
        content[at + 6 : at + 10] = crc.to_bytes(4, 'little')
        content[at + 14 : at + 18] = size.to_bytes(4, 'little')
    return bytes(content)


def deflated(start: bytes, blanks: int = 0) -> bytes:
    """These bytes and so many million blanks after them, which are never unpacked here."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    # What follows a full flush does not lean on what came before it, so it can be said again.
    first = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    million = packer.compress(b' ' * 1_000_000) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + million * blanks + packer.flush()


def understated() -> bytes:
    """A sheet that says that it unpacks to its first kilobyte, with the sum of just that."""
    return misstated(deflated(SAID, blanks=1_500), len(SAID), zlib.crc32(SAID))


def text(words: str) -> str:
    return sheet(f'<row r="1"><c r="A1" t="inlineStr"><is><t>{words}</t></is></c></row>')


def used(times: int) -> str:
    """Cells that name the first of the shared texts."""
    return sheet('<row>' + '<c t="s"><v>0</v></c>' * times + '</row>')


def bombs() -> dict[str, bytes]:
    """By file name."""
    far = '<row><c r="A1"/></row><row><c r="XFD1048576"><v>1</v></c></row>'
    unplaced = f'<row>{"<c><v>1</v></c>" * 1_500}</row>{"<row/>" * 1_500}<row><c/></row>'
    external = '<!DOCTYPE x [<!ENTITY k SYSTEM "file:///etc/passwd">]>'
    sheets = {
        'laughs': laughs() + text('&k;'),
        'secret': external + text('&k;'),
        'corner': sheet(far),
        'row': sheet('<row r="4000000000"><c><v>1</v></c></row>'),
        'column': sheet('<row><c r="ZZZZZZ1"><v>1</v></c></row>'),
        'digits': sheet(f'<row><c r="A{"9" * 9_999}"><v>1</v></c></row>'),
        'unplaced': sheet(unplaced),
        'prefixed': '<x:worksheet xmlns:x="u"><x:c r="XFD1048576"/></x:worksheet>',
        'nested': '<a>' * 1_000_000,
        'zeros': ' ' * 40_000_000,
    }
    texts = {
        'laughs-shared': shared('<si><t>&k;</t></si>', before=laughs()),
        'counted': shared('<si><t>a</t></si>', 'uniqueCount="4000000000"'),
    }
    long = f'<si><t>{"x" * 1_000_000}</t></si>'
    return {
        **{f'{name}.xlsx': book({SHEET: xml}) for name, xml in sheets.items()},
        **{f'{name}.xlsx': book({SHARED: xml}) for name, xml in texts.items()},
        'repeated.xlsx': book({SHARED: shared(long), SHEET: used(10_000)}),
        'beside.xlsx': book({'xl/media/picture.bin': bytes(40_000_000)}),
        'parts.xlsx': book({f'xl/{n}.xml': '<a/>' for n in range(2_000)}),
        'understated.xlsx': understated(),
        'lines.csv': b'Code' + b'\n' * 3_000_000,
        'wide.csv': b',' * 3_000 + b'\n,' * 3_000,
        'field.csv': b'"' + b'x' * 10_000_000,
        'nul.csv': b'Code,Title\n11,Far\0ms\n',
        'long.csv': b'Code,Title\n' * 4_000_000,
    }


TOO_LARGE = 'is larger than any NAICS workbook'
ENTITIES = 'declares entities in its part'


@pytest.fixture(scope='module')
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a process with little memory and time says to each."""
    folder = tmp_path_factory.mktemp('bombs')
    for name, content in bombs().items():
        (folder / name).write_bytes(content)
    ended = subprocess.run(
        [sys.executable, '-c', READ, str(MEMORY), *map(str, sorted(folder.iterdir()))],
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'POLARS_MAX_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    return {Path(name).name: said for name, said in map(json.loads, ended.stdout.splitlines())}


@pytest.mark.parametrize(
    ('name', 'sentence'),
    [
        ('zeros.xlsx', rf'{TOO_LARGE} \(it unpacks to 40,\d+,\d+ bytes in 9 parts\)'),
        ('beside.xlsx', rf'{TOO_LARGE} \(it unpacks to 40,'),
        ('understated.xlsx', r'has no sheet|has no column'),
        ('laughs.xlsx', ENTITIES),
        ('laughs-shared.xlsx', ENTITIES),
        ('secret.xlsx', ENTITIES),
        ('corner.xlsx', rf'{TOO_LARGE} \({SHEET} has 1,048,576 rows of 16,384 cells\)'),
        ('row.xlsx', rf'{TOO_LARGE} \({SHEET} counts to 4000000000\)'),
        ('column.xlsx', rf'{TOO_LARGE} \({SHEET} has 1 rows of 2,000,001 cells\)'),
        ('digits.xlsx', rf'{TOO_LARGE} \({SHEET} counts to 9{{20}}\)'),
        ('unplaced.xlsx', rf'{TOO_LARGE} \({SHEET} has 1,502 rows of 1,500 cells\)'),
        ('counted.xlsx', rf'{TOO_LARGE} \({SHARED} counts to 4000000000\)'),
        ('repeated.xlsx', rf'{TOO_LARGE} \(10,000 cells may each name a text of 1,000,000 char'),
        ('prefixed.xlsx', rf'{TOO_LARGE} \({SHEET} has 1,048,576 rows'),
        ('nested.xlsx', rf'{TOO_LARGE} \({SHEET} is nested 101 deep\)'),
        ('parts.xlsx', rf'{TOO_LARGE} \(it unpacks to .* bytes in 2,009 parts\)'),
        ('lines.csv', rf'{TOO_LARGE} \(it has at least 2,000,001 rows of 1 cells\)'),
        ('wide.csv', rf'{TOO_LARGE} \(it has at least 667 rows of 3,001 cells\)'),
        ('field.csv', r'is damaged or truncated CSV \(field larger than field limit'),
        ('nul.csv', r'is damaged or truncated CSV \(it holds a NUL\)'),
        ('long.csv', rf'{TOO_LARGE} \(it has 44,000,000 bytes\)'),
    ],
)
def test_what_would_cost_memory_or_time_without_end_is_refused(
    answers: dict[str, str], name: str, sentence: str
) -> None:
    assert re.search(rf'{name}.* {sentence}', answers[name]), answers[name]
    assert '\n' not in answers[name]


def test_the_reader_sees_only_what_was_looked_at() -> None:
    content = book({'xl/media/picture.bin': b'\x00', '../../outside.xml': '<a/>'})
    with zipfile.ZipFile(io.BytesIO(readable_copy(content, 'x'))) as copy:
        assert 'xl/media/picture.bin' not in copy.namelist()
        assert copy.read('xl/workbook.xml')
        assert {entry.compress_type for entry in copy.infolist()} == {zipfile.ZIP_STORED}
    with zipfile.ZipFile(io.BytesIO(readable_copy(understated(), 'x'))) as copy:
        assert len(copy.read(SHEET)) == 1024


@pytest.mark.parametrize(
    ('size', 'crc'),
    [
        pytest.param(1024, zlib.crc32(SAID + b' ' * 1_000_000), id='the sum of more'),
        pytest.param(1000, zlib.crc32(SAID), id='less than the sum is of'),
        pytest.param(0, zlib.crc32(SAID), id='said to be empty'),
    ],
)
def test_a_part_that_is_not_what_the_archive_says_is_refused(size: int, crc: int) -> None:
    content = misstated(deflated(SAID, blanks=1), size, crc)
    with pytest.raises(WorkbookError, match=r'^x is a damaged .*Bad CRC-32 .*: fetch it again\.$'):
        readable_copy(content, 'x')


def test_a_part_that_is_there_twice_is_refused() -> None:
    content = io.BytesIO(book({}))
    with zipfile.ZipFile(content, 'a') as twice, pytest.warns(UserWarning, match='Duplicate'):
        twice.writestr(SHEET, sheet(''))
    with pytest.raises(WorkbookError, match=r'damaged .*sheet1\.xml is there twice'):
        readable_copy(content.getvalue(), 'x')


def test_cells_are_counted_where_the_reader_puts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = '<row><c/><c/></row><row r="5"><c/><c r="D9"/><c/></row><row><c/></row>'
    content = book({SHEET: sheet(rows)})
    # Five columns, because the last but one follows D; nine rows.
    monkeypatch.setattr(archive, 'CELLS_LIMIT', 45)
    readable_copy(content, 'x')
    monkeypatch.setattr(archive, 'CELLS_LIMIT', 44)
    with pytest.raises(WorkbookError, match='has 9 rows of 5 cells'):
        readable_copy(content, 'x')


def test_real_workbooks_are_far_below_every_limit(
    source_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ('UNPACKED_LIMIT', 'CELLS_LIMIT', 'TEXT_LIMIT', 'PARTS_LIMIT'):
        monkeypatch.setattr(archive, limit, getattr(archive, limit) // 5)
    for name in ('2017', '2022'):
        for kind in ('codes', 'descriptions', 'index', 'cross_references'):
            wanted = edition(name).workbook(kind)
            content = (source_dir / name / wanted.file).read_bytes()
            check_layout(content, wanted, '.xlsx', name=kind)


def test_a_concordance_of_its_full_width_is_read(tmp_path: Path) -> None:
    path = tmp_path / 'x.csv'
    path.write_bytes(b'\n\n' + b','.join(f'"{h}"'.encode() for h in CONCORDANCE.columns.values()))
    assert read_table(path, CONCORDANCE).height == 0
