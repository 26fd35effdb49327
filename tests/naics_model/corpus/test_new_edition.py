"""`naics editions add`: an entry made from the workbooks alone, and what is asked of these."""

from __future__ import annotations

import dataclasses
import re
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import openpyxl
import pytest

from naics_model.cli import main
from naics_model.corpus import editions
from naics_model.corpus.editions import (
    PACKAGED_EDITIONS,
    PACKAGED_WORKBOOKS,
    edition,
    expected_editions,
    load_editions,
)
from naics_model.corpus.new_edition import find_edition
from naics_model.corpus.workbooks import one_line
from naics_model.errors import ConfigurationError, WorkbookError
from naics_model.storage.layout import EditionFolder

PUBLISHED_AS = {
    'sample_Codes.xlsx': '2-6 digit_2027_Codes.xlsx',
    'sample_Descriptions.xlsx': '2027_NAICS_Descriptions.xlsx',
    'sample_Index_File.xlsx': '2027_NAICS_Index_File.xlsx',
    'sample_Cross_References.xlsx': '2027_NAICS_Cross_References.xlsx',
    'sample_Concordance.xlsx': '2022_to_2027_NAICS.xlsx',
}
EXPECTED = """\
[2027]
# Not yet.
title = 'The next edition'
expected = true

""" + '\n'.join(
    f"[2027.workbooks.{kind}]\nurl = 'https://www.census.gov/{quote(file)}'\nfile = '{file}'\n"
    for kind, file in zip(
        ('codes', 'descriptions', 'index', 'cross_references', 'concordance'),
        PUBLISHED_AS.values(),
        strict=True,
    )
)


def moved(text: str) -> str:
    """A header, or the name of a sheet, five years on."""
    later = {'2017': '2022', '2022': '2027'}
    return re.sub('2017|2022', lambda year: later[year[0]], text).replace('NAICS22', 'NAICS27')


@pytest.fixture(scope='session')
def next_edition(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled workbooks as the Bureau may publish those of 2027; do not write into it."""
    folder = tmp_path_factory.mktemp('workbooks') / '2027'
    folder.mkdir()
    for ours, theirs in PUBLISHED_AS.items():
        book = openpyxl.load_workbook(PACKAGED_WORKBOOKS / ours)
        sheet = book.active
        sheet.title = moved(sheet.title)
        for row in sheet.iter_rows(max_row=3):
            for cell in row:
                cell.value = moved(cell.value) if isinstance(cell.value, str) else cell.value
        book.create_sheet('Notes')
        book.save(folder / theirs)
    return folder


@pytest.fixture
def workbooks(next_edition: Path, tmp_path: Path) -> Path:
    """The same, to write into."""
    return Path(shutil.copytree(next_edition, tmp_path / '2027'))


@pytest.fixture
def own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An editions file of this test's own: up to 2022 as the packaged one, and 2027 is expected."""
    file = tmp_path / 'own.toml'
    text = PACKAGED_EDITIONS.read_text(encoding='utf-8')
    file.write_text(text.partition('[2027]')[0] + EXPECTED, encoding='utf-8')
    monkeypatch.setenv('NAICS_EDITIONS_FILE', str(file))
    monkeypatch.delenv('NAICS_SOURCE_DIR', raising=False)
    monkeypatch.delenv('NAICS_DATA_DIR', raising=False)
    monkeypatch.chdir(tmp_path)
    return file


def run(*arguments: str | Path) -> int:
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as ended:
        return int(ended.code or 0)


def without(name: str, text: str) -> str:
    """The text of an editions file without an edition."""
    start = text.index(f'[{name}]')
    end = re.compile(rf'^\[(?!{name}\b)', re.M).search(text, start)
    assert end
    return text[:start] + text[end.start() :]


def test_2017_added_from_its_files_is_2017_as_it_is_known(source_dir: Path, own_file: Path) -> None:
    known, text = edition('2017'), own_file.read_text(encoding='utf-8')
    own_file.write_text(without('2017', text), encoding='utf-8')
    editions.forget_editions()
    assert '2017' not in load_editions()
    address = 'https://www.census.gov/naics/2017NAICS'
    assert run('editions', 'add', '2017', '--from', source_dir / '2017', '--url-base', address) == 0

    assert list(load_editions()) == ['sample', '2017', '2022']
    added = edition('2017')
    assert (added.title, added.counts, added.packaged) == (known.title, known.counts, False)
    assert list(added.workbooks) == list(known.workbooks)
    for name, book in known.workbooks.items():
        # Of two workbooks only a re-saved copy is at hand: the published digest is not known.
        digest = book.sha256 or added.workbooks[name].sha256
        columns = {ours: one_line(theirs) for ours, theirs in book.columns.items()}
        assert added.workbooks[name] == dataclasses.replace(book, sha256=digest, columns=columns)
    # The rest of the file is as it was.
    assert {k: v for k, v in tomllib.loads(own_file.read_text()).items() if k != '2017'} == {
        k: v for k, v in tomllib.loads(text).items() if k != '2017'
    }

    # So far every workbook has been read.
    done = run('data', '-e', '2017', '--through', 'activities', '--source-dir', source_dir)
    assert done == 0
    assert EditionFolder(Path('data').absolute(), '2017').activities.is_file()


def test_an_expected_edition_is_completed_in_its_place(
    next_edition: Path, own_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = expected_editions()['2027']
    before = own_file.read_text(encoding='utf-8')
    assert run('editions', 'add', '2027', '--from', next_edition, '--dry-run') == 0
    shown = capsys.readouterr().out
    assert own_file.read_text(encoding='utf-8') == before
    assert run('editions', 'add', '2027', '--from', next_edition) == 0

    after = own_file.read_text(encoding='utf-8')
    start = before.index('[2027]')
    assert after[:start] == before[:start]
    assert after[start:] in shown
    added, model = edition('2027'), edition('sample')
    assert added.title == 'North American Industry Classification System, United States, 2027'
    assert added.counts == model.counts
    assert {name: book.url for name, book in added.workbooks.items()} == expected
    for name, book in model.workbooks.items():
        found = added.workbooks[name]
        assert (found.sheet, found.header) == (moved(book.sheet), book.header)
        assert found.columns == {ours: one_line(moved(text)) for ours, text in book.columns.items()}
    assert not expected_editions()

    done = run('data', '-e', '2027', '--through', 'relations', '--source-dir', next_edition.parent)
    assert done == 0


def test_without_a_concordance_and_an_address_a_person_is_told_so(
    workbooks: Path, own_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Of other years than those of this edition and the one before it.
    concordance = workbooks / '2022_to_2027_NAICS.xlsx'
    book = openpyxl.load_workbook(concordance)
    for cell in book.active[3]:
        cell.value = cell.value.replace('2022', '2017')
    book.save(concordance)
    (workbooks / '2027_NAICS_Descriptions.xlsx').rename(workbooks / 'descriptions (1).xlsx')
    assert run('editions', 'add', '2027', '--from', workbooks) == 0
    said = ' '.join(capsys.readouterr().out.split())
    assert f'There is no concordance of 2027 in {workbooks}' in said
    assert 'No address is known of descriptions (' in said
    assert edition('2027').workbook('descriptions').url is None
    assert 'concordance' not in edition('2027').workbooks


def test_of_two_workbooks_the_one_counts_that_is_named_as_before(
    workbooks: Path, own_file: Path
) -> None:
    index = workbooks / '2027_NAICS_Index_File.xlsx'
    shutil.copy(index, workbooks / '2027_NAICS_Index_File.earlier.xlsx')
    assert find_edition('2027', workbooks).workbook('index').file == index.name
    index.rename(workbooks / 'index.xlsx')
    with pytest.raises(WorkbookError) as caught:
        find_edition('2027', workbooks)
    assert str(caught.value) == (
        f'More than one sheet in {workbooks} may be the index workbook of edition 2027 '
        "(2027_NAICS_Index_File.earlier.xlsx, sheet '2027NAICS'; index.xlsx, sheet '2027NAICS'): "
        'leave only the right one there.'
    )


def remove_index(folder: Path) -> None:
    (folder / '2027_NAICS_Index_File.xlsx').unlink()


def remove_all(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def damage_index(folder: Path) -> None:
    path = folder / '2027_NAICS_Index_File.xlsx'
    path.write_bytes(path.read_bytes()[:-2000])


def repeat_a_column(folder: Path) -> None:
    path = folder / '2-6 digit_2027_Codes.xlsx'
    book = openpyxl.load_workbook(path)
    book.active.cell(1, 5).value = '2027 NAICS US Title'
    book.save(path)


@pytest.mark.parametrize(
    ('mistake', 'sentence'),
    [
        (remove_all, 'has no .xlsx workbook: put those of edition 2027 there.'),
        (
            remove_index,
            "has the columns of a workbook of edition 2027 (index: 'NAICS27' and 'INDEX ITEM "
            "DESCRIPTION'); its sheets are 2-6 digit_2027_Codes.xlsx: "
            "'tbl_2027_title_description_coun', ",
        ),
        (damage_index, '2027_NAICS_Index_File.xlsx is a damaged or truncated .xlsx workbook'),
        (repeat_a_column, "has the column '2027 NAICS US Title' more than once in row 1: write"),
    ],
)
def test_what_is_wrong_with_the_workbooks_is_one_sentence(
    mistake: Callable[[Path], None],
    sentence: str,
    workbooks: Path,
    own_file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mistake(workbooks)
    before = own_file.read_text()
    assert run('editions', 'add', '2027', '--from', workbooks) == 1
    said = capsys.readouterr().err
    assert said.startswith('Error: ')
    assert sentence in said
    assert said.count('\n') == 1
    assert own_file.read_text() == before


@pytest.mark.parametrize(
    ('name', 'sentence'),
    [
        ('next', "'next' is no edition: name it by its year"),
        ('../2027', 'is no edition: name it by its year'),
        ('2022', 'Edition 2022 is known already'),
    ],
)
def test_an_edition_is_a_year_that_is_not_known(
    name: str, sentence: str, next_edition: Path, own_file: Path
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(sentence)):
        find_edition(name, next_edition)


def test_a_file_that_may_not_be_written_is_to_be_copied(
    next_edition: Path,
    own_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # /proc takes no files, whoever asks.
    monkeypatch.setattr('naics_model.upkeep.cli.editions_file', lambda: Path('/proc/own.toml'))
    monkeypatch.setattr(
        'naics_model.corpus.edition_entry.Path.read_text', lambda *_, **__: own_file.open().read()
    )
    assert run('editions', 'add', '2027', '--from', next_edition) == 1
    said = capsys.readouterr().err
    assert said.startswith('Error: /proc/own.toml could not be written (')
    assert said.endswith('and name that with NAICS_EDITIONS_FILE.\n')
