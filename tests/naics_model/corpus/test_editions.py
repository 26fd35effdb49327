"""What editions.toml promises to every other room."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from naics_model.cli import main
from naics_model.corpus.editions import (
    PACKAGED_EDITIONS,
    PACKAGED_WORKBOOKS,
    edition,
    editions_file,
    expected_editions,
    load_editions,
)
from naics_model.corpus.manual import read_codes
from naics_model.errors import ConfigurationError, DataError

EVERY_TABLE = {'codes', 'descriptions', 'index', 'cross_references'}


def test_editions_are_listed_oldest_first_after_the_bundled_one() -> None:
    names = list(load_editions())
    assert names[0] == 'sample'
    assert names[1:] == sorted(names[1:])
    assert {'2017', '2022'} <= set(names)


@pytest.mark.parametrize('name', list(load_editions()))
def test_every_edition_is_complete(name: str) -> None:
    wanted = edition(name)
    assert wanted.name == name
    assert wanted.title
    assert set(wanted.workbooks) >= EVERY_TABLE
    assert sorted(wanted.counts) == [2, 3, 4, 5, 6]
    assert all(count > 0 for count in wanted.counts.values())
    for key in EVERY_TABLE:
        book = wanted.workbook(key)
        assert book.sheet
        assert set(book.columns) == ({'code', 'title'} if key == 'codes' else {'code', 'text'})
        assert book.file.endswith('.xlsx')


@pytest.mark.parametrize('name', list(load_editions()))
def test_every_workbook_has_a_sheet_and_two_columns_and_no_two_share_a_file(name: str) -> None:
    books = edition(name).workbooks
    for key, book in books.items():
        assert book.name == key
        assert book.sheet
        assert len(book.columns) >= 2
        assert len(set(book.columns.values())) == len(book.columns)
        assert book.header >= 1
        assert book.csv is None or book.csv.endswith(f'/{book.file.removesuffix(".xlsx")}.csv')
    assert len({book.file for book in books.values()}) == len(books)


@pytest.mark.parametrize('name', list(load_editions()))
def test_workbooks_are_bundled_or_have_an_official_url(name: str) -> None:
    wanted = edition(name)
    for book in wanted.workbooks.values():
        if wanted.packaged:
            assert book.url is None
        else:
            assert book.url is not None
            assert book.url.startswith('https://www.census.gov/naics/')
            assert book.url.endswith(book.file.replace(' ', '%20'))
        assert book.sha256 is None or len(book.sha256) == 64


def test_an_edition_is_expected_where_the_naming_of_2022_leads() -> None:
    published = {name: book.url or '' for name, book in edition('2022').workbooks.items()}
    assert published['concordance'].endswith('/2017_to_2022_NAICS.xlsx')
    for name, addresses in expected_editions().items():
        before = str(int(name) - 5)
        assert name not in load_editions()
        assert addresses == {
            book: url.replace('2022', name).replace('2017', before)
            for book, url in published.items()
        }


def test_an_expected_edition_says_where_it_will_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / 'own.toml'
    text = PACKAGED_EDITIONS.read_text(encoding='utf-8').partition('[2027]')[0]
    codes = "[2097.workbooks.codes]\nurl = 'https://www.census.gov/2097.xlsx'\nfile = '2097.xlsx'\n"
    own.write_text(f'{text}[2097]\nexpected = true\n{codes}', encoding='utf-8')
    monkeypatch.setenv('NAICS_EDITIONS_FILE', str(own))
    with pytest.raises(ConfigurationError) as caught:
        edition('2097')
    assert str(caught.value) == (
        'Edition 2097 is not known yet: its workbooks are expected at '
        'https://www.census.gov/2097.xlsx and beside it; when they are there, get them, and run '
        'naics editions add 2097 --from FOLDER (docs/edition_runbook.md).'
    )


def test_counts_are_those_of_the_published_editions() -> None:
    assert sum(edition('2022').counts.values()) == 2_125
    assert sum(edition('2017').counts.values()) == 2_196


def test_an_unknown_edition_or_workbook_names_the_known_ones() -> None:
    with pytest.raises(
        ConfigurationError, match="no edition '2032': choose one of sample, 2017, 2022"
    ):
        edition('2032')
    with pytest.raises(
        ConfigurationError, match="no workbook 'prices': it has codes, descriptions"
    ):
        edition('2022').workbook('prices')


def test_a_file_of_one_s_own_takes_the_place_of_the_packaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / 'own.toml'
    text = PACKAGED_EDITIONS.read_text(encoding='utf-8')
    own.write_text(text.replace("'North American", "'My North American"), encoding='utf-8')
    monkeypatch.setenv('NAICS_EDITIONS_FILE', str(own))
    assert edition('2022').title.startswith('My North American')
    # And in what a person is told to change.
    with pytest.raises(DataError, match=f'change `counts` in {own}'):
        read_codes(edition('2022'), PACKAGED_WORKBOOKS / edition('sample').workbook('codes').file)


def test_a_file_of_one_s_own_may_be_named_in_the_folder_s_env_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv('NAICS_EDITIONS_FILE', raising=False)
    monkeypatch.chdir(tmp_path)
    assert editions_file() == PACKAGED_EDITIONS
    (tmp_path / '.env').write_text('NAICS_EDITIONS_FILE=own.toml\n')
    assert editions_file() == tmp_path / 'own.toml'


@pytest.mark.parametrize(
    ('text', 'sentence'),
    [
        (None, r'own\.toml cannot be read \(No such file or directory\): begin with a copy of .*'),
        ('[2022', r'own\.toml cannot be read \(.*at end of document\)'),
        ('[2022]\ntitle = "x"\ncounts = [1]', 'Edition 2022 in .*own.toml is not complete'),
        ('[2022]\ntitle = "x"', "Edition 2022 in .* is not complete or not well-formed .'counts'."),
        ('x = 1', 'Edition x in .* is not complete or not well-formed'),
        ('', 'own.toml has no edition'),
    ],
)
def test_a_mistake_in_it_is_one_sentence(
    text: str | None,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = tmp_path / 'own.toml'
    if text is not None:
        own.write_text(text)
    monkeypatch.setenv('NAICS_EDITIONS_FILE', str(own))
    assert main(['data', '--through', 'relations']) == 1
    assert re.search(f'^Error: .*{sentence}', capsys.readouterr().err)
