"""The table of texts: small workbooks worked by hand, every guarantee broken once, exact counts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import pytest

from naics_model.checks import Check
from naics_model.corpus.descriptions import (
    TABLE,
    build_descriptions,
    check_descriptions,
    taxonomy_of,
)
from naics_model.corpus.download import fetch_workbook
from naics_model.corpus.editions import PACKAGED_WORKBOOKS, edition
from naics_model.errors import DataError, WorkbookError
from naics_model.taxonomy.tree import NoTreeError, normalise_code

Frames = tuple[pl.DataFrame, pl.DataFrame]


def row(frame: pl.DataFrame, code: str) -> dict[str, Any]:
    return frame.row(by_predicate=pl.col('code') == code, named=True)


def failed(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks if not check.passed}


def test_small_workbooks_give_the_published_schema_in_workbook_order(small: Any) -> None:
    frame = small.build()
    assert frame.schema == TABLE.schema
    assert frame['index'].to_list() == list(range(12))
    codes = '11 111 1111 11111 111110 31 311 336 3361 33611 336110 33612'
    assert frame['code'].to_list() == codes.split()
    assert frame['level'].to_list() == [2, 3, 4, 5, 6, 2, 3, 3, 4, 5, 6, 5]
    assert failed(check_descriptions(frame, small.edition)) == {}
    assert taxonomy_of(frame).codes == tuple(frame['code'])


def test_titles_come_stripped_from_the_codes_workbook(small: Any) -> None:
    frame = small.build()
    assert row(frame, '11')['title'] == 'Agriculture'
    assert frame['title'][2:5].to_list() == ['Soybean Farming'] * 3


def test_a_range_sector_keeps_its_printed_form_beside_its_code(small: Any) -> None:
    frame = small.build()
    sector = row(frame, '31')
    assert (sector['printed_code'], sector['level'], sector['parent']) == ('31-33', 2, None)
    assert row(frame, '336')['parent'] == '31'
    assert row(frame, '33612')['parent'] == '3361'


def test_descriptions_are_cleaned_and_pointers_followed(small: Any) -> None:
    frame = small.build()
    assert row(frame, '11')['description'] == 'The sector grows crops.'
    assert row(frame, '31')['description'] == 'It makes things:\na'
    assert row(frame, '11111')['description'] == 'This industry grows soybeans.'


def test_an_undescribed_group_is_its_only_industry_or_names_its_industries(small: Any) -> None:
    frame = small.build()
    # By way of the pointer of 11111.
    assert row(frame, '1111')['description'] == 'This industry grows soybeans.'
    assert row(frame, '3361')['description'] == (
        'This group comprises: Car Manufacturing; Truck Manufacturing.'
    )


def test_examples_and_exclusions_stay_where_they_are_printed(small: Any) -> None:
    frame = small.build()
    assert row(frame, '336110')['examples'] == 'Electric cars\nSports cars'
    assert frame['examples'].null_count() == 11
    assert row(frame, '336110')['excluded'] == (
        'Growing for 10 years--are classified in Industry 111110, Soybean Farming.\n'
        'Making cars--are classified in 336110 itself or in Sector 31-33.\n'
        'Making trucks--are classified in 33612 and 33612, Truck Manufacturing.'
    )
    assert row(frame, '336110')['excluded_codes'] == ['111110', '31', '33612']
    assert row(frame, '111110')['excluded_codes'] == ['311']
    assert frame['excluded'].null_count() == frame['excluded_codes'].null_count() == 10


def test_sentences_without_a_valid_target_leave_no_empty_list(small: Any) -> None:
    small.cross_references = [('Code', 'Cross-Reference'), (111110, 'See other sectors.')]
    frame = small.build()
    assert row(frame, '111110')['excluded'] == 'See other sectors.'
    assert row(frame, '111110')['excluded_codes'] is None


CORRECT = 'correct it there, or put a corrected copy into NAICS_SOURCE_DIR, and fetch it again.'
ONE_EDITION = 'fetch all workbooks of one edition.'


@pytest.mark.parametrize(
    ('workbook', 'extra', 'sentence'),
    [
        (
            'codes',
            (13, 336110, 'Car Manufacturing', None),
            f', rows 13, 15: code 336110 must be unique, but stands 2 times; {CORRECT}',
        ),
        (
            'codes',
            (13, '31', 'Manufacturing', None),
            f', rows 8, 15: code 31 must be unique, but stands 2 times; {CORRECT}',
        ),
        (
            'codes',
            (13, 337110, 'Tables', None),
            f', row 15: code 337110 has no parent: 33711 is not in the list; {CORRECT}',
        ),
        (
            'codes',
            (13, 'Total', 'All', None),
            f", row 15: 'Total' is no code of 2 to 6 digits; {CORRECT}",
        ),
        (
            'codes',
            (13, None, 'All', None),
            f', row 15: an empty cell is no code of 2 to 6 digits; {CORRECT}',
        ),
        (
            'descriptions',
            (111, 'Crop Production', 'Again.'),
            f', rows 3, 14: all describe code 111; {CORRECT}',
        ),
        (
            'descriptions',
            (5417, 'Research', 'New.'),
            f", row 14: '5417' is no code of the codes workbook; {ONE_EDITION}",
        ),
        (
            'cross_references',
            (5417, 'Not here.'),
            f", row 7: '5417' is no code of the codes workbook; {ONE_EDITION}",
        ),
        (
            'cross_references',
            (None, 'Not here.'),
            f', row 7: an empty cell is no code of the codes workbook; {CORRECT}',
        ),
        (
            'descriptions',
            (None, 'Research', 'New.'),
            f', row 14: an empty cell is no code of the codes workbook; {CORRECT}',
        ),
    ],
)
def test_workbooks_that_contradict_each_other_are_refused_with_file_row_and_remedy(
    small: Any, workbook: str, extra: tuple[object, ...], sentence: str
) -> None:
    getattr(small, workbook).append(extra)
    assert refusal(small) == f'{small.path(workbook)}{sentence}'


def refusal(small: Any) -> str:
    with pytest.raises(DataError) as refused:
        small.build()
    return str(refused.value)


@pytest.mark.parametrize(
    ('workbook', 'extra', 'row'),
    [
        ('codes', (13, 336110, 'Car Manufacturing', None), ', rows 13, 15: code 336110'),
        ('descriptions', (111, 'Crop Production', 'Again.'), ', rows 3, 14: all describe'),
        ('descriptions', None, ' has no row for 33612, which'),
        ('cross_references', (5417, 'Not here.'), ", row 7: '5417' is no code"),
    ],
)
def test_a_mistake_is_placed_where_the_workbook_was_fetched_from(
    small: Any, tmp_path: Path, workbook: str, extra: tuple[object, ...] | None, row: str
) -> None:
    # The next run fetches over what is corrected in the source folder.
    rows = getattr(small, workbook)
    if extra:
        rows.append(extra)
    else:
        rows.pop()
    small.write()
    out = tmp_path / 'out'
    books = ('codes', 'descriptions', 'cross_references')
    origins = {name: tmp_path / '2022' / small.path(name).name for name in books}
    for name, origin in origins.items():
        origin.parent.mkdir(exist_ok=True)
        small.path(name).rename(origin)
        fetch_workbook(small.edition, name, out, source_dir=tmp_path)
    fetched = [out / origin.name for origin in origins.values()]
    with pytest.raises(DataError) as refused:
        build_descriptions(small.edition, *fetched)
    file, origin = out / origins[workbook].name, origins[workbook]
    assert str(refused.value).startswith(f'{file} (fetched from {origin}){row}')


def test_the_row_is_that_of_the_sheet_where_rows_are_empty(small: Any) -> None:
    small.codes[4:4] = [(None, None, None, None)] * 3
    del small.codes[3]
    assert refusal(small) == (
        f'{small.path("codes")}, row 7: code 1111 has no parent: 111 is not in the list; {CORRECT}'
    )


def test_codes_without_a_description_row_are_refused(small: Any) -> None:
    del small.descriptions[2]
    assert refusal(small) == (
        f'{small.path("descriptions")} has no row for 111, which the codes workbook lists; '
        f'{ONE_EDITION}'
    )
    del small.descriptions[1:8]
    assert refusal(small) == (
        f'{small.path("descriptions")} has no row for 11, 111, 1111, 11111, 111110 and 3 more, '
        f'which the codes workbook lists; {ONE_EDITION}'
    )


@pytest.mark.parametrize(
    ('change', 'levels'),
    [
        (lambda codes: codes[:2], [(2, 2, 0), (3, 3, 0), (4, 2, 0), (5, 3, 0), (6, 2, 0)]),
        (lambda codes: codes[:-1], [(5, 3, 2)]),
        (lambda codes: [*codes, (13, 33613, 'Bus Manufacturing', None)], [(5, 3, 4)]),
    ],
)
def test_more_or_fewer_codes_than_the_edition_has_are_refused_where_they_stand(
    small: Any, change: Any, levels: list[tuple[int, int, int]]
) -> None:
    small.codes = change(small.codes)
    found = '; '.join(f'level {n}, expected {e}, found {f}' for n, e, f in levels)
    # Not the descriptions workbook, which has other codes now.
    assert refusal(small) == (
        f'{small.path("codes")} has not as many codes as edition 2022 ({found}): fetch the '
        'published one, or, if the Bureau changed the number of codes, change `counts` in '
        'naics_model/corpus/editions.toml.'
    )


def test_pointers_that_lead_nowhere_or_in_a_circle_are_refused(small: Any) -> None:
    pointing = small.descriptions
    pointing[4] = (11111, 'Soybean Farming', 'See industry description for 541511.')
    assert refusal(small) == (
        f'{small.path("descriptions")}, row 5: the description of 11111 points to 541511, which '
        f'has none of its own; {CORRECT}'
    )
    pointing[4] = (11111, 'Soybean Farming', 'See industry description for 111110.')
    pointing[5] = (111110, 'Soybean Farming', 'See industry description for 111110.')
    # Row 6 points to itself.
    assert refusal(small) == (
        f'{small.path("descriptions")}, row 6: the description of 111110 points to 111110, which '
        f'has none of its own; {CORRECT}'
    )


def test_a_workbook_of_another_layout_is_refused(small: Any) -> None:
    small.cross_references[0] = ('Code', 'CrossReference')
    with pytest.raises(WorkbookError, match="no column 'Cross-Reference'"):
        small.build()


def test_an_undescribed_leaf_is_left_empty_for_the_check_to_find(small: Any) -> None:
    small.descriptions[12] = (33612, 'Truck Manufacturing', 'NULL')
    check = failed(check_descriptions(small.build(), small.edition))['no_empty_text']
    assert check.blocking
    assert check.offending == ({'code': '33612', 'column': 'description', 'text': ''},)


def with_cell(frame: pl.DataFrame, code: str, column: str, value: Any) -> pl.DataFrame:
    changed = pl.when(pl.col('code') == code).then(pl.lit(value, dtype=TABLE.schema[column]))
    return frame.with_columns(changed.otherwise(column).alias(column))


@pytest.mark.parametrize(
    ('name', 'code', 'column', 'value'),
    [
        ('no_nulls', '33612', 'printed_code', None),
        ('indices_in_order', '33612', 'index', 12),
        ('indices_in_order', '11', 'index', 1),
        ('codes_unique', '33612', 'code', '33611'),
        ('parents_present', '33612', 'parent', '3369'),
        ('parents_present', '33612', 'parent', '336'),
        ('parents_present', '33612', 'parent', None),
        ('codes_tell_the_tree', '33612', 'level', 4),
        ('codes_tell_the_tree', '33612', 'parent', '336'),
        # A code of the right level, and there; but another one.
        ('codes_tell_the_tree', '311', 'parent', '11'),
        ('codes_tell_the_tree', '31', 'parent', '11'),
        ('codes_tell_the_tree', '31', 'code', '3x'),
        ('no_empty_text', '33612', 'title', None),
        ('no_empty_text', '33612', 'title', ' '),
        ('no_empty_text', '336110', 'examples', ''),
        ('no_markup', '33612', 'description', 'Trucks<br/>and vans'),
        ('no_markup', '33612', 'title', 'Trucks &amp; vans'),
        ('no_stubs', '33612', 'description', 'See industry description for 336120.'),
        ('no_stubs', '33612', 'description', 'See industry descriptions for 336110.'),
        ('no_stubs', '33612', 'description', 'Trucks. (See industry description of 336120.)'),
        ('no_stubs', '33612', 'description', 'Trucks.\n\nCross-references. Establishments'),
        ('no_stubs', '33612', 'description', 'Trucks.\nIllustrative Examples:\nVans'),
        ('no_stubs', '33612', 'description', 'The Sector as a Whole\nTrucks'),
        ('no_stubs', '33612', 'description', 'NULL'),
        ('no_stray_t', '33612', 'title', 'Truck ManufacturingT'),
        ('excluded_codes_valid', '336110', 'excluded_codes', ['111110', '999999']),
        ('excluded_codes_valid', '336110', 'excluded_codes', ['336110']),
        ('excluded_codes_valid', '336110', 'excluded_codes', ['111110', None]),
    ],
)
def test_each_broken_guarantee_blocks_and_shows_the_code(
    small: Any, name: str, code: str, column: str, value: Any
) -> None:
    broken = with_cell(small.build(), code, column, value)
    found = failed(check_descriptions(broken, small.edition))
    assert found[name].blocking
    if name == 'no_nulls':
        assert found[name].offending == ({'column': column, 'row': 11},)
    else:
        shown = code if column != 'code' else value
        assert shown in {offending['code'] for offending in found[name].offending}


def test_a_table_in_another_order_is_found(small: Any) -> None:
    assert set(failed(check_descriptions(small.build().reverse(), small.edition))) == {
        'indices_in_order'
    }


@pytest.mark.parametrize('column', TABLE.schema)
@pytest.mark.parametrize('rows', [[0], [10], range(12)])
def test_a_null_is_found_or_allowed_and_never_a_crash(
    small: Any, column: str, rows: Sequence[int]
) -> None:
    frame = small.build()
    here = pl.int_range(pl.len()).is_in(list(rows))
    nulls = pl.when(here).then(None).otherwise(column).alias(column)
    checks = check_descriptions(frame.with_columns(nulls), small.edition)
    assert [check.name for check in checks] == [
        check.name for check in check_descriptions(frame, small.edition)
    ]
    allowed = {'examples', 'excluded', 'excluded_codes', 'parent'}
    assert ('no_nulls' in failed(checks)) is (column not in allowed)


@pytest.mark.parametrize(('exclusions', 'passes'), [(0, False), (1, False), (2, True)])
def test_a_table_with_hardly_an_exclusion_is_stopped(
    small: Any, exclusions: int, passes: bool
) -> None:
    # As of a workbook that was cut down to its header: nothing in it contradicts anything.
    del small.cross_references[1 + exclusions :]
    found = failed(check_descriptions(small.build(), small.edition))
    assert set(found) == (set() if passes else {'codes_with_exclusions'})
    if not passes:
        check = found['codes_with_exclusions']
        assert check.blocking
        assert check.sentence == (f'{exclusions} of 12 codes have exclusions (at least 10 % must).')


def test_checks_have_their_names_before_there_is_a_row(small: Any) -> None:
    checks = check_descriptions(pl.DataFrame(schema=TABLE.schema), small.edition)
    built = check_descriptions(small.build(), small.edition)
    assert [(check.name, check.blocking, check.guarantee) for check in checks] == [
        (check.name, True, check.guarantee) for check in built
    ]


def test_codes_that_are_no_tree_are_refused_in_words(small: Any) -> None:
    with pytest.raises(NoTreeError, match='an empty cell is no code of 2 to 6 digits'):
        taxonomy_of(with_cell(small.build(), '33612', 'code', None))


def test_wrong_counts_block_with_expected_and_found(small: Any) -> None:
    frame = small.build().filter(pl.col('level') < 6)
    check = failed(check_descriptions(frame, small.edition))['counts_per_level']
    assert check.blocking
    assert check.offending == ({'level': 6, 'expected': 2, 'found': 0},)
    assert check.sentence == (
        'The number of codes differs from edition 2022 on some levels; if the Bureau changed it, '
        'change `counts` in naics_model/corpus/editions.toml.'
    )


def test_at_most_five_offending_rows_are_shown(small: Any) -> None:
    frame = small.build().with_columns(title=pl.lit(''))
    check = failed(check_descriptions(frame, small.edition))['no_empty_text']
    assert len(check.offending) == 5
    assert check.sentence == 'Titles, descriptions, examples or exclusions are empty: 12.'


def test_the_bundled_edition_passes_every_check() -> None:
    sample = edition('sample')
    paths = [
        PACKAGED_WORKBOOKS / sample.workbook(name).file
        for name in ('codes', 'descriptions', 'cross_references')
    ]
    frame = build_descriptions(sample, *paths)
    assert failed(check_descriptions(frame, sample)) == {}


def test_2022_in_numbers(real_2022: Frames) -> None:
    frame, _ = real_2022
    assert failed(check_descriptions(frame, edition('2022'))) == {}
    assert frame.height == 2_125
    assert frame['examples'].count() == 381
    assert frame['excluded'].count() == 1_095
    assert frame['excluded'].str.split('\n').list.len().sum() == 4_601
    assert frame['excluded_codes'].list.len().sum() == 4_539
    assert frame['description'].str.starts_with('This group comprises: ').sum() == 14
    parents = frame.select(parent='code', parent_title='title')
    same = frame.join(parents, on='parent').filter(pl.col('title') == pl.col('parent_title'))
    assert same.height == 693


def test_2017_in_numbers(real_2017: Frames) -> None:
    frame, _ = real_2017
    assert failed(check_descriptions(frame, edition('2017'))) == {}
    assert frame.height == 2_196
    assert frame['examples'].count() == 392
    assert frame['excluded'].str.split('\n').list.len().sum() == 4_225
    assert frame['excluded_codes'].list.len().sum() == 4_154
    assert frame['description'].str.starts_with('This group comprises: ').sum() == 16


# Of the raw workbooks, so that a corrected release is noticed.
TRAPS = {
    '2022': {
        'titles that end in a blank': 1_111,
        'titles with a stray T': 799,
        'pointers to another code': 522,
        'lists of examples': 381,
        'stubs': 1_091,
        'stubs with a small r': 4,
        'empty cells spelled NULL': 154,
        'texts with markup': 1,
        'index rows of ******': 25,
        'cross-references': 4_601,
        'codes with cross-references': 1_095,
        'cross-references that name a code': 4_533,
    },
    '2017': {
        'titles that end in a blank': 1_182,
        'titles with a stray T': 807,
        'pointers to another code': 530,
        'lists of examples': 392,
        'stubs': 1_126,
        'stubs with a small r': 4,
        'empty cells spelled NULL': 155,
        'texts with markup': 1,
        'index rows of ******': 25,
        'cross-references': 4_225,
        'codes with cross-references': 1_130,
        'cross-references that name a code': 4_157,
    },
}


@pytest.mark.parametrize('name', list(TRAPS))
def test_the_traps_of_the_real_workbooks_are_still_there(source_dir: Path, name: str) -> None:
    books = {
        kind: openpyxl.load_workbook(source_dir / name / book.file, read_only=True).active
        for kind, book in edition(name).workbooks.items()
        if kind != 'concordance'
    }
    header, blank, *rows = books['codes'].iter_rows(max_col=3, values_only=True)
    assert header[1] == f'{name} NAICS US   Code'
    assert not any(blank)
    rows = [row for row in rows if row[1] is not None]
    assert [code for _, code, _ in rows if type(code) is not int] == ['31-33', '44-45', '48-49']
    printed = [title for _, _, title in rows]
    codes = {normalise_code(str(code)) for _, code, _ in rows}

    _, *rows = books['descriptions'].iter_rows(max_col=3, values_only=True)
    texts = [str(text) for _, _, text in rows]
    named = zip([title for _, title, _ in rows], printed, strict=True)
    _, *references = books['cross_references'].iter_rows(max_col=2, values_only=True)
    references = [(str(code), text) for code, text in references if text]
    index = [str(code).strip() for code, *_ in books['index'].iter_rows(values_only=True)]
    found = {
        'titles that end in a blank': sum(title != title.strip() for title in printed),
        'titles with a stray T': sum(a.strip() == b.strip() + 'T' for a, b in named),
        'pointers to another code': sum(t.startswith('See industry descr') for t in texts),
        'lists of examples': sum('Illustrative Examples:' in text for text in texts),
        'stubs': sum('Cross-References.' in text for text in texts),
        'stubs with a small r': sum('Cross-references.' in text for text in texts),
        'empty cells spelled NULL': texts.count('NULL'),
        'texts with markup': sum('<' in text for text in texts),
        'index rows of ******': index.count('******'),
        'cross-references': len(references),
        'codes with cross-references': len({code for code, _ in references}),
        'cross-references that name a code': sum(
            any(normalise_code(number) in codes for number in re.findall(r'[\d-]+', text))
            for _, text in references
        ),
    }
    assert found == TRAPS[name]
