"""The concordance: every pair of the workbook and no other row, and what became of the codes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from naics_model.checks import Check
from naics_model.corpus.concordance import (
    TABLE,
    build_concordance,
    check_concordance,
    count_changes,
)
from naics_model.corpus.descriptions import TABLE as DESCRIPTIONS
from naics_model.corpus.descriptions import build_descriptions
from naics_model.corpus.download import fetch_workbook
from naics_model.corpus.editions import PACKAGED_WORKBOOKS, edition
from naics_model.errors import DataError

Frames = tuple[pl.DataFrame, pl.DataFrame]
BOOK = edition('2022').workbook('concordance')
ABOVE = [
    ('2017 NAICS U.S. Matched to 2022 NAICS U.S. (Full Concordance)',),
    ('(Note: codes in bold or italics have a meaning.)',),
    (
        '2017 NAICS Code',
        '2017 NAICS Title\n(and specific piece of the 2017 industry that is contained in the 2022 '
        'industry)',
        '2022 NAICS Code',
        '2022 NAICS Title',
    ),
]
# One industry of every fate: kept, retitled, renumbered, two merged, and one split three ways, of
# which a piece joins the two.
PAIRS = [
    ('111110', 'Soybean Farming', '111110', 'Soybean Farming'),
    ('111120', 'Bean Farming', '111120', 'Dry Bean Farming'),
    ('111130', 'Corn Farming', '111150', 'Corn Farming'),
    ('112111', 'Cattle Ranching', '112110', 'Cattle Farming'),
    ('112112', 'Cattle Feedlots', '112110', 'Cattle Farming'),
    ('112990', 'Other Animals - Cattle', '112110', 'Cattle Farming'),
    ('112990', 'Other Animals - Cats', '112991', 'Cat Farming'),
    ('112990', 'Other Animals - Rest', '112999', 'All Other Animal Farming'),
]


def table(pairs: list[tuple[str, ...]]) -> pl.DataFrame:
    return pl.DataFrame(pairs, schema=TABLE.schema, orient='row')


def leaves_of(pairs: list[tuple[str, ...]]) -> pl.DataFrame:
    """A descriptions table, as far as the checks read it, of the codes that the pairs lead to."""
    titles = {to_code: title for _, _, to_code, title in pairs}
    rows = [(6, code, title) for code, title in titles.items()]
    # A group with the title of an industry, to be told apart by its level.
    rows.append((5, '11299', 'Cat Farming'))
    return pl.DataFrame(
        rows, schema={'level': pl.UInt8, 'code': pl.String, 'title': pl.String}, orient='row'
    )


def failed(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks if not check.passed}


def test_small_workbook_worked_by_hand(tmp_path: Path, save_workbook: Any) -> None:
    path = tmp_path / BOOK.file
    rows = [
        *ABOVE,
        (111110, 'Soybean Farming', 111110, 'Soybean Farming ', None, ' '),
        (None, None, None, None, None, None),
        ('112990', 'Other  Animals\n - Cats\xa0', 112991, ' Cat\tFarming', None, None),
        (' ', None, None, None, None, None),
        ('*Codes that begin with 99 are left out.', None, None, None, None, None),
        (None, 'Source: Economic Classification Policy Committee', None, None, None, None),
    ]
    save_workbook(path, BOOK.sheet, rows)
    frame = build_concordance(edition('2022'), path)
    assert frame.schema == TABLE.schema
    assert frame.rows() == [
        ('111110', 'Soybean Farming', '111110', 'Soybean Farming'),
        ('112990', 'Other Animals - Cats', '112991', 'Cat Farming'),
    ]


@pytest.mark.parametrize(
    ('row', 'codes'),
    [
        ((111120, 'Bean Farming', None, 'Dry Bean Farming'), "'111120' and an empty cell"),
        ((None, 'Bean Farming', 111120, 'Dry Bean Farming'), "an empty cell and '111120'"),
        ((None, 'Bean Farming', None, 'Dry Bean Farming'), 'an empty cell and an empty cell'),
        ((111120, None, None, None), "'111120' and an empty cell"),
        (('11112O', None, None, None), "'11112O' and an empty cell"),
        ((11112, 'Bean Farming', 111120, 'Dry Bean Farming'), "'11112' and '111120'"),
        ((111120, 'Bean Farming', 1111200, 'Dry Bean Farming'), "'111120' and '1111200'"),
        (('11112O', 'Bean Farming', 111120, 'Dry Bean Farming'), "'11112O' and '111120'"),
    ],
)
def test_a_row_that_is_neither_pair_nor_footnote_is_refused_with_its_place(
    row: tuple[object, ...], codes: str, tmp_path: Path, save_workbook: Any
) -> None:
    path = tmp_path / BOOK.file
    good = (111110, 'Soybean Farming', 111110, 'Soybean Farming')
    save_workbook(path, BOOK.sheet, [*ABOVE, good, (None,) * 4, row, good])
    with pytest.raises(DataError) as caught:
        build_concordance(edition('2022'), path)
    assert str(caught.value) == (
        f'{path} has {codes} as the codes of row 6, where two codes of six digits must stand, or '
        'nothing; correct it there, or put a corrected copy into NAICS_SOURCE_DIR, and fetch it '
        'again.'
    )


def test_a_bad_row_is_placed_where_the_workbook_was_fetched_from(
    tmp_path: Path, save_workbook: Any
) -> None:
    origin = tmp_path / '2022' / BOOK.file
    origin.parent.mkdir()
    save_workbook(origin, BOOK.sheet, [*ABOVE, (111120, None, None, None)])
    fetch_workbook(edition('2022'), 'concordance', tmp_path / 'out', source_dir=tmp_path)
    path = tmp_path / 'out' / BOOK.file
    with pytest.raises(DataError) as caught:
        build_concordance(edition('2022'), path)
    assert str(caught.value).startswith(f"{path} (fetched from {origin}) has '111120' and an empty")


def test_each_code_of_the_edition_before_has_one_fate() -> None:
    assert count_changes(table(PAIRS)) == {
        'kept': 1,
        'retitled': 1,
        'renumbered': 1,
        'merged': 2,
        'split': 1,
    }


def test_a_piece_that_joins_makes_its_host_a_merger_and_not_kept() -> None:
    pairs = [('722310', 'Caterers', '722310', 'Caterers'), *PAIRS[-2:]]
    assert count_changes(table(pairs))['kept'] == 1
    pairs.append(('112990', 'Other Animals - Caterers', '722310', 'Caterers'))
    assert count_changes(table(pairs)) == {
        'kept': 0,
        'retitled': 0,
        'renumbered': 0,
        'merged': 1,
        'split': 1,
    }


def test_a_sound_table_passes_every_check() -> None:
    assert failed(check_concordance(table(PAIRS), leaves_of(PAIRS))) == {}


@pytest.mark.parametrize(
    ('name', 'blocking', 'extra', 'rows'),
    [
        ('codes_known', True, ('112111', 'Cattle Ranching', '999999', 'X'), 1),
        ('codes_of_six_digits', True, ('11114', 'Oats', '111110', 'Soybean Farming'), 1),
        ('codes_of_six_digits', True, ('11114O', 'Oats', '111110', 'Soybean Farming'), 1),
        ('pairs_unique', True, ('111110', 'Again', '111110', 'Soybean Farming'), 2),
        ('no_empty_text', True, ('111140', ' ', '111110', 'Soybean Farming'), 1),
        ('titles_agree', False, ('111140', 'Oats', '111110', 'Soy Farming'), 1),
    ],
)
def test_a_bad_pair_fails_its_check_and_no_other(
    name: str, blocking: bool, extra: tuple[Any, ...], rows: int
) -> None:
    found = failed(check_concordance(table([*PAIRS, extra]), leaves_of(PAIRS)))
    assert list(found) == [name]
    assert found[name].blocking is blocking
    assert found[name].sentence.endswith(f': {rows}.')
    assert len(found[name].offending) == rows


def test_a_group_is_no_code_to_lead_to() -> None:
    extra = ('112111', 'Cattle Ranching', '11299', 'Cat Farming')
    found = failed(check_concordance(table([*PAIRS, extra]), leaves_of(PAIRS)))
    assert list(found) == ['codes_of_six_digits', 'codes_known']
    for check in found.values():
        assert [row['to_code'] for row in check.offending] == ['11299']


@pytest.mark.parametrize('column', TABLE.schema)
@pytest.mark.parametrize('rows', [[0], [3, 7], range(8)])
def test_a_null_is_found_and_never_a_crash(column: str, rows: Sequence[int]) -> None:
    here = pl.int_range(pl.len()).is_in(list(rows))
    nulls = pl.when(here).then(None).otherwise(column).alias(column)
    checks = check_concordance(table(PAIRS).with_columns(nulls), leaves_of(PAIRS))
    check = failed(checks)['no_nulls']
    assert check.blocking
    assert check.offending == tuple({'column': column, 'row': row} for row in rows)[:5]


@pytest.mark.parametrize('column', ['level', 'code', 'title'])
@pytest.mark.parametrize('rows', [[0], range(7)])
def test_a_null_in_the_descriptions_is_no_crash(column: str, rows: Sequence[int]) -> None:
    here = pl.int_range(pl.len()).is_in(list(rows))
    nulls = pl.when(here).then(None).otherwise(column).alias(column)
    found = failed(check_concordance(table(PAIRS), leaves_of(PAIRS).with_columns(nulls)))
    assert ('codes_known' in found) is (column != 'title')


def test_a_code_that_no_pair_leads_to_is_named() -> None:
    check = failed(check_concordance(table(PAIRS[:-1]), leaves_of(PAIRS)))['codes_reached']
    assert check.blocking
    assert check.offending == ({'code': '112999', 'title': 'All Other Animal Farming'},)


def test_checks_have_their_names_before_there_is_a_row() -> None:
    no_pairs = pl.DataFrame(schema=TABLE.schema)
    checks = check_concordance(no_pairs, pl.DataFrame(schema=DESCRIPTIONS.schema))
    assert [(check.name, check.blocking) for check in checks] == [
        ('no_nulls', True),
        ('codes_of_six_digits', True),
        ('codes_known', True),
        ('codes_reached', True),
        ('pairs_unique', True),
        ('no_empty_text', True),
        ('titles_agree', False),
    ]
    assert failed(checks) == {}
    assert set(count_changes(no_pairs).values()) == {0}


def csv_of(source_dir: Path) -> Path:
    assert BOOK.csv is not None
    path = source_dir / BOOK.csv
    if not path.is_file():
        pytest.skip(f'needs the CSV copy of the concordance: {path}')
    return path


@pytest.fixture(scope='module')
def real(source_dir: Path) -> pl.DataFrame:
    return build_concordance(edition('2022'), csv_of(source_dir))


def titles_of(frames: Frames) -> dict[str, str]:
    leaves = frames[0].filter(pl.col('level') == 6)
    return dict(leaves.select('code', 'title').iter_rows())


def test_real_pairs_lead_from_all_of_2017_to_all_of_2022(
    real: pl.DataFrame, real_2017: Frames, real_2022: Frames
) -> None:
    assert real.height == 1_150
    before, after = titles_of(real_2017), titles_of(real_2022)
    assert set(real['from_code']) == set(before)
    assert set(real['to_code']) == set(after)
    assert (len(before), len(after)) == (1_057, 1_012)
    codes = list(real.select('from_code', 'to_code').iter_rows())
    assert codes == sorted(codes)
    assert real.filter(pl.col('to_code') == '513210').row(0) == (
        '511210',
        'Software Publishers',
        '513210',
        'Software Publishers',
    )
    # A piece stands behind the title of its industry; two have another apostrophe, two a misprint.
    other = {row[0] for row in real.iter_rows() if not row[1].startswith(before[row[0]])}
    assert other == {'315220', '315240', '323120', '531120'}
    # No number of 2017 was given to an industry that has nothing of its old one.
    assert all((code, code) in codes for code in before.keys() & after.keys())


def test_real_changes_from_2017_to_2022(real: pl.DataFrame) -> None:
    found = count_changes(real)
    assert found == {'kept': 901, 'retitled': 15, 'renumbered': 12, 'merged': 120, 'split': 9}
    assert sum(found.values()) == 1_057
    # Mail-order houses and direct sellers went to most kinds of retailers, so that these count as
    # mergers.
    pieces = real.filter(pl.col('from_code').is_in(['454110', '454390']))
    assert dict(pieces.group_by('from_code').len().iter_rows()) == {'454110': 42, '454390': 39}


def test_real_concordance_misspells_two_titles(real: pl.DataFrame, real_2022: Frames) -> None:
    found = failed(check_concordance(real, real_2022[0]))
    assert list(found) == ['titles_agree']
    assert [(row['to_code'], row['to_title']) for row in found['titles_agree'].offending] == [
        ('323120', 'Support Activites for Printing'),
        ('531120', 'Lessors of Nonresidential Buildings (excpet Miniwarehouses)'),
    ]


def test_the_official_layout_gives_the_same_table_as_the_csv_copy(
    real: pl.DataFrame, source_dir: Path, tmp_path: Path, save_workbook: Any
) -> None:
    with csv_of(source_dir).open(encoding='utf-8-sig', newline='') as lines:
        rows = [[int(c) if c.isdigit() else c or None for c in row] for row in csv.reader(lines)]
    assert (len(rows), {len(row) for row in rows}) == (1_153, {9})
    assert '\n' in str(rows[2][1])
    path = tmp_path / BOOK.file
    save_workbook(path, BOOK.sheet, rows)
    assert build_concordance(edition('2022'), path).equals(real)


@pytest.fixture(scope='module')
def sample() -> pl.DataFrame:
    book = edition('sample').workbook('concordance')
    return build_concordance(edition('sample'), PACKAGED_WORKBOOKS / book.file)


def test_sample_concordance_passes_every_check(sample: pl.DataFrame) -> None:
    wanted = edition('sample')
    paths = (
        PACKAGED_WORKBOOKS / wanted.workbook(name).file
        for name in ('codes', 'descriptions', 'cross_references')
    )
    descriptions = build_descriptions(wanted, *paths)
    assert failed(check_concordance(sample, descriptions)) == {}
    assert count_changes(sample) == {
        'kept': 88,
        'retitled': 5,
        'renumbered': 1,
        'merged': 8,
        'split': 2,
    }


def test_sample_pairs_are_all_the_real_ones_of_its_codes(
    sample: pl.DataFrame, real: pl.DataFrame
) -> None:
    assert sample.equals(real.filter(pl.col('to_code').is_in(sample['to_code'].implode())))
    assert sample['to_code'].n_unique() == 101
