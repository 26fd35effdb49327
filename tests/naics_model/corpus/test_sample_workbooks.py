"""The bundled sample: what its table says, in the real layout, in our own words."""

from __future__ import annotations

import csv
import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import fastexcel
import openpyxl
import pytest

from naics_model.corpus.editions import edition
from naics_model.corpus.sample.write_workbooks import (
    WORKBOOKS,
    Entry,
    concordance_rows,
    cross_reference_cells,
    description_cell,
    main,
    read_entries,
    write_workbooks,
)
from naics_model.errors import DataError
from naics_model.taxonomy.tree import normalise_code

REAL_FILES = {
    'sample_Codes.xlsx': '2-6 digit_2022_Codes.xlsx',
    'sample_Descriptions.xlsx': '2022_NAICS_Descriptions.xlsx',
    'sample_Index_File.xlsx': '2022_NAICS_Index_File.xlsx',
    'sample_Cross_References.xlsx': '2022_NAICS_Cross_References.xlsx',
}
# The real concordance is compared with its CSV copy.
CONCORDANCE = 'sample_Concordance.xlsx'
FILES = (*REAL_FILES, CONCORDANCE)
SECTOR = """
[[code]]
code = '31-33'
title = 'Manufacturing'
description = 'Plants make things.'
"""


def cells(path: Path) -> tuple[str, list[tuple[Any, ...]]]:
    sheet = openpyxl.load_workbook(path).worksheets[0]
    return sheet.title, list(sheet.iter_rows(values_only=True))


def rows_of(file: str) -> dict[str, tuple[Any, ...]]:
    """The rows of a packaged workbook that has one row a code, by printed code."""
    place = 1 if 'Codes' in file else 0
    return {str(row[place]): row for row in cells(WORKBOOKS / file)[1][1:] if row[place]}


@pytest.mark.parametrize('file', FILES)
def test_packaged_workbooks_are_what_the_script_writes(file: str, tmp_path: Path) -> None:
    write_workbooks(tmp_path)
    assert cells(tmp_path / file) == cells(WORKBOOKS / file), 'run make sample'


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    # The packaged bytes may differ from these: compressors differ between machines.
    for once, again in zip(
        write_workbooks(tmp_path / 'once'), write_workbooks(tmp_path / 'again'), strict=True
    ):
        assert once.read_bytes() == again.read_bytes()


@pytest.mark.parametrize('file', FILES)
def test_two_readers_find_the_same_cells(file: str) -> None:
    sheet, rows = cells(WORKBOOKS / file)
    frame = fastexcel.read_excel(WORKBOOKS / file).load_sheet(
        sheet, header_row=None, dtypes='string'
    )
    as_text = [tuple(None if cell is None else str(cell) for cell in row) for row in rows]
    assert [row for row in frame.to_polars().rows() if any(row)] == [r for r in as_text if any(r)]


@pytest.mark.parametrize('file', REAL_FILES)
def test_sheet_names_headers_and_cell_types_are_the_real_ones(file: str, source_dir: Path) -> None:
    sheet, rows = cells(WORKBOOKS / file)
    real_sheet, real_rows = cells(source_dir / '2022' / REAL_FILES[file])
    assert (sheet, rows[0]) == (real_sheet, real_rows[0])
    # Row 2 of the codes is blank; below it, numbers and texts stand in the same columns.
    assert [list(map(type, row)) for row in rows[1:3]] == [
        list(map(type, row)) for row in real_rows[1:3]
    ]
    assert type(rows[-1][0]) is type(real_rows[-1][0])


def test_concordance_has_the_sheet_headers_and_cell_types_of_the_real_one(
    source_dir: Path,
) -> None:
    real = edition('2022').workbook('concordance')
    assert real.csv is not None
    path = source_dir / real.csv
    if not path.is_file():
        pytest.skip(f'needs the CSV copy of the concordance: {path}')
    with path.open(encoding='utf-8-sig', newline='') as lines:
        real_rows = list(csv.reader(lines))
    sheet, rows = cells(WORKBOOKS / CONCORDANCE)
    assert sheet == real.sheet
    assert list(rows[2]) == real_rows[2][:4]
    assert [row[1:] for row in rows[:2]] == [(None,) * 3] * 2
    assert {tuple(map(type, row)) for row in rows[3:]} == {(int, str, int, str)}


def test_every_code_and_title_is_a_real_one(source_dir: Path) -> None:
    real = cells(source_dir / '2022' / REAL_FILES['sample_Codes.xlsx'])[1]
    real_titles = {row[1]: row[2].strip() for row in real if isinstance(row[0], int)}
    sample = cells(WORKBOOKS / 'sample_Codes.xlsx')[1]
    assert [row for row in sample[2:] if real_titles.get(row[1]) != row[2].strip()] == []
    named = {
        (int(code), text)
        for text in (row[1] for row in cells(WORKBOOKS / 'sample_Cross_References.xlsx')[1])
        for code in re.findall(r'(?<![\d-])\d{3,6}\b', text)
    }
    wrong = [(code, text) for code, text in named if f'{code}, {real_titles[code]}' not in text]
    assert wrong == []


def test_marks_pointers_and_silent_groups_are_on_codes_that_have_them_in_2022(
    source_dir: Path,
) -> None:
    real = {
        str(row[0]): row
        for row in cells(source_dir / '2022' / REAL_FILES['sample_Descriptions.xlsx'])[1]
    }
    for code, row in rows_of('sample_Descriptions.xlsx').items():
        assert row[1] == real[code][1].strip()
        if row[2] == 'NULL':
            assert real[code][2] == 'NULL'
        if row[2].startswith('See industry description'):
            assert row[2] == real[code][2].strip()


def test_texts_are_our_own_words(source_dir: Path) -> None:
    def runs(text: str, length: int = 7) -> set[str]:
        words = re.findall(r'\w+', text.lower())
        return {' '.join(words[i : i + length]) for i in range(len(words) - length + 1)}

    folder = source_dir / '2022'
    printed = [
        # Behind `--` stand the codes and titles, which are facts.
        row[-1].split('--')[0]
        for file in REAL_FILES
        if 'Codes' not in file
        for row in cells(folder / REAL_FILES[file])[1][1:]
    ]
    theirs = set().union(*map(runs, printed))
    ours = {
        entry.code: {
            *runs(entry.description),
            *(run for text in entry.examples for run in runs(text)),
            *(run for text in entry.activities for run in runs(text)),
            *(run for text in entry.cross_references for run in runs(text.split('--')[0])),
        }
        for entry in read_entries()
    }
    assert {code: sorted(found & theirs) for code, found in ours.items() if found & theirs} == {}


def test_sample_has_the_shapes_that_the_code_must_cope_with() -> None:
    codes = [normalise_code(entry.code) for entry in read_entries()]
    assert Counter(map(len, codes)) == {2: 7, 3: 24, 4: 42, 5: 61, 6: 101}
    assert {'31', '32', '33', '44', '45'} <= {code[:2] for code in codes if len(code) == 6}
    assert sum('-' in entry.code for entry in read_entries()) == 2
    national = Counter(code[:5] for code in codes if len(code) == 6)
    assert set(national.values()) == {1, 2, 3, 4}
    assert sum(count == 1 for count in national.values()) == 35
    cells_of = [row[2] for row in rows_of('sample_Descriptions.xlsx').values()]
    assert sum(cell.startswith('See industry description') for cell in cells_of) == 35
    assert sum('Illustrative Examples:' in cell for cell in cells_of) == 46
    assert sum('Cross-References.' in cell for cell in cells_of) == 107
    assert 'NULL' in cells_of


def test_activities_are_plenty_distinct_and_seldom_verbatim() -> None:
    entries = read_entries()
    assert [e.code for e in entries if len(e.code) == 6 and not e.activities] == [
        '112130',
        '541120',
    ]
    pairs = [(entry, text) for entry in entries for text in entry.activities]
    assert len(pairs) == 699
    assert len({text.casefold() for _, text in pairs}) == len(pairs)
    verbatim = [
        text
        for entry, text in pairs
        if text.casefold()
        in '\n'.join([' '.join(entry.description.split()), *entry.examples]).casefold()
    ]
    assert 0.04 < len(verbatim) / len(pairs) < 0.08
    rows = cells(WORKBOOKS / 'sample_Index_File.xlsx')[1]
    assert [row[0] for row in rows[-4:]] == [722515, '******', '******', '******']


def test_cross_references_name_the_titles_of_the_codes_in_the_sample() -> None:
    entries = read_entries()
    titles = {entry.code: entry.title for entry in entries}
    named = Counter[int]()
    for entry in entries:
        for text in entry.cross_references:
            found = [n for n in re.findall(r'\d{2}-\d{2}|\d{2,6}', text) if n in titles]
            assert entry.code not in found
            assert all(f'{number}, {titles[number]}' in text for number in found), text
            named[len(found)] += 1
    assert named == {0: 38, 1: 117, 2: 6}


def test_sector_cell_has_heading_paragraphs_and_final_line_end() -> None:
    entry = Entry('44-45', 'Retail Trade', 'Shops\nsell.\n\nNot by\nthe ton.\n')
    expected = 'The Sector as a Whole\n\nShops sell.\n\nNot by the ton.\n'
    assert description_cell(entry, None) == expected


def test_examples_and_stub_stand_as_in_the_real_cells() -> None:
    one = Entry('541512', 'T', 'Text.', ['First', 'Second'], cross_references=['Selling--x'])
    expected = 'Text.\n\nIllustrative Examples:\n\nFirst\nSecond\n\n\nCross-References.'
    assert description_cell(one, None) == expected
    two = Entry('541512', 'T', 'Text.', cross_references=['Selling--x', 'Buying--y'])
    expected = 'Text.\n\nCross-References. Establishments primarily engaged in--'
    assert description_cell(two, None) == expected


def test_industry_with_one_child_points_to_it_and_silent_group_is_null() -> None:
    assert description_cell(Entry('11111', 'T'), '111110') == 'See industry description for 111110.'
    assert description_cell(Entry('5415', 'T'), None) == 'NULL'


@pytest.mark.parametrize(
    ('texts', 'expected'),
    [
        ([], []),
        (['Baking--x'], ['Establishments primarily engaged in baking--x.']),
        (['Baking--x', 'Selling--y'], ['Baking--x; and', 'Selling--y.']),
        (['A--x', 'B--y', 'C--z'], ['A--x;', 'B--y; and', 'C--z.']),
    ],
)
def test_cross_references_are_punctuated_as_one_list(texts: list[str], expected: list[str]) -> None:
    assert cross_reference_cells(Entry('1', 'T', cross_references=texts)) == expected


def test_concordance_lists_predecessors_or_the_code_itself_by_old_code() -> None:
    entries = [
        Entry('4451', 'Grocers'),
        Entry(
            '445131',
            'Corner Shops',
            was=[
                {'code': '445120', 'title': 'Corner Stores'},
                {'code': '454110', 'title': 'Mail Order - Corner'},
            ],
        ),
        Entry('445132', 'Machines', was=[{'code': '454110', 'title': 'Mail Order - Machines'}]),
        Entry('445110', 'Grocers'),
    ]
    assert concordance_rows(entries)[3:] == [
        (445110, 'Grocers', 445110, 'Grocers'),
        (445120, 'Corner Stores', 445131, 'Corner Shops'),
        (454110, 'Mail Order - Corner', 445131, 'Corner Shops'),
        (454110, 'Mail Order - Machines', 445132, 'Machines'),
    ]


@pytest.mark.parametrize(
    'was',
    [
        "[{ code = 311111, title = 'T' }]",
        "[{ code = '31111', title = 'T' }]",
        "[{ code = '311111', title = ' ' }]",
        "[{ code = '311111', title = 1 }]",
        "[{ code = '311111' }]",
        "[{ code = '311111', title = 'T', share = 1 }]",
        "[{ code = '311111', title = 'T' }, { code = '311111', title = 'U' }]",
        "['311111']",
        "{ code = '311111', title = 'T' }",
    ],
)
def test_predecessor_without_code_and_title_is_refused(was: str, tmp_path: Path) -> None:
    codes = ('31-33', '311', '3111', '31111', '311111')
    texts = ['Text.', 'Text.', '', '', 'Text.']
    blocks = [
        f"[[code]]\ncode = '{code}'\ntitle = 'T'\ndescription = '{text}'\n"
        for code, text in zip(codes, texts, strict=True)
    ]
    path = tmp_path / '31-33.toml'
    path.write_text(''.join(blocks) + "was = [{ code = '311110', title = 'T' }]", encoding='utf-8')
    assert [len(entry.was) for entry in read_entries(tmp_path)] == [0, 0, 0, 0, 1]
    path.write_text(''.join(blocks) + f'was = {was}', encoding='utf-8')
    with pytest.raises(DataError, match=r'^Code 311111 of the sample has .* in its was: write'):
        read_entries(tmp_path)


@pytest.mark.parametrize(
    ('blocks', 'message'),
    [
        (SECTOR + SECTOR, 'no tree: code 31 must be unique'),
        (SECTOR + "[[code]]\ncode = '3211'\ntitle = 'T'\n", 'no parent: 321'),
        (SECTOR + "[[code]]\ncode = '321'\ntitle = 'T'\n", '321 of the sample has no description'),
        (SECTOR + "activities = ['Making']\n", 'has activities: six digits only'),
        (SECTOR + "was = [{ code = '311111', title = 'T' }]\n", 'has was: six digits only'),
        (SECTOR + "colour = 'red'\n", 'colour'),
        ("[[code]]\ncode = 31\ntitle = 'T'\n", "write code = '31'"),
        ('[[code]\n', r'31-33\.toml is not a table'),
    ],
)
def test_inconsistent_table_is_refused_in_a_sentence(
    blocks: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / '31-33.toml').write_text(blocks, encoding='utf-8')
    with pytest.raises(DataError, match=message):
        read_entries(tmp_path)


def test_text_of_an_industry_with_one_child_would_be_lost_and_is_refused(tmp_path: Path) -> None:
    blocks = (
        f"[[code]]\ncode = '{code}'\ntitle = 'T'\ndescription = 'Text.'\n"
        for code in ('62', '624', '6244', '62441', '624410')
    )
    (tmp_path / '62.toml').write_text('\n'.join(blocks), encoding='utf-8')
    with pytest.raises(DataError, match='move its texts to 624410'):
        read_entries(tmp_path)


def test_industry_with_several_children_must_be_described(tmp_path: Path) -> None:
    table = tomllib.loads(SECTOR)['code']
    table += [
        {'code': code, 'title': 'T', 'description': 'Text.'}
        for code in ('321', '32111', '321113', '321114')
    ]
    table.append({'code': '3211', 'title': 'T'})
    table[2]['description'] = ''
    blocks = (
        '[[code]]\n' + '\n'.join(f"{key} = '{value}'" for key, value in block.items())
        for block in table
    )
    (tmp_path / 'table.toml').write_text('\n\n'.join(blocks), encoding='utf-8')
    with pytest.raises(DataError, match='32111 of the sample has no description'):
        read_entries(tmp_path)


def test_command_writes_five_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr('sys.argv', ['write_workbooks', '--out', str(tmp_path / 'new')])
    assert main() == 0
    assert sorted(path.name for path in (tmp_path / 'new').iterdir()) == sorted(FILES)
    assert capsys.readouterr().out.count('Wrote') == 5
