"""An entry's place in an editions file, and its text."""

from __future__ import annotations

import tomllib
from types import MappingProxyType

import pytest

from naics_model.corpus.edition_entry import entry_text, with_entry
from naics_model.corpus.editions import PACKAGED_EDITIONS, Edition, Workbook, edition
from naics_model.errors import ConfigurationError

FILE = """\
# What this file is.

[sample]
title = 'bundled'

[sample.workbooks.codes]
file = 'a.xlsx'

# Of 2017.
[2017]
title = 'then'

[2017.workbooks.codes]
# A note.
file = 'b.xlsx'

# Of 2022.
[2022]
title = 'now'

[2027]
# Not yet.
expected = true
"""
ENTRY = "[{0}]\ntitle = 'new'\n\n[{0}.workbooks.codes]\nfile = 'c.xlsx'\n"


@pytest.mark.parametrize(
    ('name', 'before'), [('2012', '# Of 2017.\n'), ('2020', '# Of 2022.\n'), ('2024', '[2027]\n')]
)
def test_an_entry_goes_to_its_place_by_the_year(name: str, before: str) -> None:
    entry = ENTRY.format(name)
    assert with_entry(FILE, name, entry) == FILE.replace(before, f'{entry}\n{before}')


def test_an_entry_of_the_newest_edition_goes_to_the_end() -> None:
    entry = ENTRY.format('2032')
    assert with_entry(FILE, '2032', entry) == f'{FILE}\n{entry}'


def test_an_entry_takes_the_place_of_the_one_before() -> None:
    start, end = FILE.index('[2017]'), FILE.index('# Of 2022.')
    entry = ENTRY.format('2017')
    assert with_entry(FILE, '2017', entry) == FILE[:start] + entry + '\n' + FILE[end:]
    entry = ENTRY.format('2027')
    assert with_entry(FILE, '2027', entry) == FILE[: FILE.index('[2027]')] + entry


def test_a_file_that_is_laid_out_otherwise_is_left_to_a_person() -> None:
    odd = '2027.expected = true\n' + FILE[: FILE.index('[2027]')]
    with pytest.raises(ConfigurationError, match='put it in by hand'):
        with_entry(odd, '2027', ENTRY.format('2027'))


@pytest.mark.parametrize('name', ['2017', '2022'])
def test_a_known_edition_written_anew_says_the_same(name: str) -> None:
    known = edition(name)
    entry = tomllib.loads(entry_text(known))[name]
    was = tomllib.loads(PACKAGED_EDITIONS.read_text(encoding='utf-8'))[name]
    for book in was['workbooks'].values():
        book.pop('csv', None)
    assert entry == was


def test_any_text_may_stand_in_a_header() -> None:
    odd = ["It's", 'a "b" \\ c', 'line\nbreak', 'é–ß']
    columns = {f'c{number}': text for number, text in enumerate(odd)}
    book = Workbook('codes', 'x.xlsx', None, None, "it's", MappingProxyType(columns))
    new = Edition(
        '2027', 'Edition', False, MappingProxyType({2: 1}), MappingProxyType({'codes': book})
    )
    entry = tomllib.loads(entry_text(new))['2027']
    assert entry == {
        'title': 'Edition',
        'counts': [1],
        'workbooks': {'codes': {'file': 'x.xlsx', 'sheet': "it's", 'columns': columns}},
    }
