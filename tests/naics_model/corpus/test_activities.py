"""The index entries and their split: stable, one side per text, nothing held out is readable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest

from naics_model.checks import Check
from naics_model.corpus.activities import TABLE, build_activities, check_activities
from naics_model.corpus.descriptions import TABLE as DESCRIPTIONS
from naics_model.corpus.editions import edition
from naics_model.corpus.text import words_of

Frames = tuple[pl.DataFrame, pl.DataFrame]
VERBATIM = ('description', 'examples')
TEXTS = {'examples': pl.String, 'excluded': pl.String}


def failed(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks if not check.passed}


def test_small_index_worked_by_hand(small: Any) -> None:
    frame = small.build_activities()
    assert frame.schema == TABLE.schema
    assert frame.select('text', 'code', 'verbatim').rows() == [
        ('Soybean farming, field and seed production', '111110', False),
        # An illustrative example of 336110.
        ('Electric cars', '336110', True),
        ('Sedans assembling', '336110', False),
    ]


def test_equal_texts_are_on_one_side_whatever_their_case_and_blanks(small: Any) -> None:
    small.index[1:] = [
        (code, f'{text}{number}')
        for number in range(200)
        for code, text in [(111110, 'Bean farm '), (336110, 'bean  FARM '), (336110, ' Bean farm ')]
    ]
    frame = small.build_activities()
    sides = frame.group_by(pl.col('text').str.to_lowercase()).agg(pl.col('split').n_unique())
    assert sides.height == 200
    assert sides['split'].to_list() == [1] * 200
    # 22 % of 200 texts are 44; three standard deviations either way are 26 to 62.
    assert 26 <= frame.filter(pl.col('split') == 'heldout').height / 3 <= 62


def test_the_split_is_the_same_in_every_release(small: Any) -> None:
    small.index[1:] = [(111110, f'Activity number {number}') for number in range(12)]
    held_out = small.build_activities().filter(pl.col('split') == 'heldout')['text'].to_list()
    # Noted when the split was made: if these change, every published figure does.
    assert held_out == ['Activity number 5', 'Activity number 7']


@pytest.mark.parametrize(
    'quoted',
    ['title', 'description', 'examples', 'excluded'],
)
def test_an_entry_quoted_in_any_channel_is_never_held_out(small: Any, quoted: str) -> None:
    small.index[1:] = [(111110, f'Activity number {number:03}') for number in range(100)]
    descriptions = small.build()
    frame = build_activities(small.edition, small.path('index'), descriptions)
    held_out = frame.filter(pl.col('split') == 'heldout')['text'].to_list()
    assert len(held_out) > 10
    text = 'So: ' + '; '.join(text.upper() for text in held_out)
    quoting = descriptions.with_columns(pl.lit(text).alias(quoted))
    again = build_activities(small.edition, small.path('index'), quoting)
    assert again['split'].to_list() == ['train'] * 100
    assert again['verbatim'].sum() == (len(held_out) if quoted in VERBATIM else 0)
    # And a table that was split before the texts changed is stopped.
    check = failed(check_activities(frame, quoting))['held_out_unseen']
    assert check.blocking
    assert check.sentence == (
        f'Held-out entries stand in a text that the model reads: {len(held_out)}.'
    )


def test_an_entry_is_quoted_whatever_the_punctuation_between_its_words(small: Any) -> None:
    small.index[1:] = [(111110, f'Oats, grain {number:03}') for number in range(100)]
    frame = build_activities(small.edition, small.path('index'), small.build())
    held_out = frame.filter(pl.col('split') == 'heldout')['text'].to_list()
    quoting = small.build().with_columns(
        description=pl.lit('; '.join(text.replace(', ', ' (') + ')' for text in held_out))
    )
    again = build_activities(small.edition, small.path('index'), quoting)
    assert again['split'].to_list() == ['train'] * 100
    # It does not stand there word for word, though.
    assert not again['verbatim'].any()
    assert 'held_out_unseen' in failed(check_activities(frame, quoting))


@pytest.mark.parametrize(
    ('name', 'row', 'blocking'),
    [
        ('codes_known', ('New thing', '999999', 'train', False), True),
        ('codes_known', ('New thing', '33611', 'train', False), True),
        ('no_empty_text', (' ', '336110', 'train', False), True),
        ('split_known', ('New thing', '336110', 'other side', False), True),
        ('one_side_per_text', ('SEDANS  assembling', '336110', 'other side', False), True),
    ],
)
def test_each_broken_guarantee_is_found(
    small: Any, name: str, row: tuple[Any, ...], blocking: bool
) -> None:
    frame = small.build_activities()
    broken = pl.concat([frame, pl.DataFrame([row], schema=TABLE.schema, orient='row')])
    check = failed(check_activities(broken, small.build()))[name]
    assert check.blocking is blocking
    assert row[0] in {offending['text'] for offending in check.offending}


def test_a_code_without_entries_is_mentioned_but_does_not_block(small: Any) -> None:
    del small.index[1]
    found = failed(check_activities(small.build_activities(), small.build()))
    assert not found['codes_with_entries'].blocking
    assert found['codes_with_entries'].offending[0]['code'] == '111110'


@pytest.mark.parametrize(('with_entries', 'passes'), [(0, False), (8, False), (9, True)])
def test_an_index_that_lacks_most_codes_is_stopped(with_entries: int, passes: bool) -> None:
    # As of a workbook that was cut down to its header: nothing in it contradicts anything.
    codes = [f'11111{digit}' for digit in range(10)]
    texts = {'title': 'T', 'description': 'D', 'examples': None, 'excluded': None}
    descriptions = pl.DataFrame({'level': 6, 'code': codes, **texts}, schema_overrides=TEXTS)
    rows = [(f'Growing {code}', code, 'train', False) for code in codes[:with_entries]]
    frame = pl.DataFrame(rows, schema=TABLE.schema, orient='row')
    found = failed(check_activities(frame, descriptions))
    assert ('most_codes_have_entries' in found) is not passes
    if not passes:
        check = found['most_codes_have_entries']
        assert check.blocking
        assert check.sentence == (
            f'{with_entries} of 10 six-digit codes have an entry in the index (at least 90 % must).'
        )


@pytest.mark.parametrize('column', TABLE.schema)
@pytest.mark.parametrize('rows', [[0], [2], [0, 1, 2]])
def test_a_null_is_found_and_never_a_crash(small: Any, column: str, rows: list[int]) -> None:
    frame, descriptions = small.build_activities(), small.build()
    here = pl.int_range(pl.len()).is_in(rows)
    nulls = pl.when(here).then(None).otherwise(column).alias(column)
    checks = check_activities(frame.with_columns(nulls), descriptions)
    check = failed(checks)['no_nulls']
    assert check.blocking
    assert check.offending == tuple({'column': column, 'row': row} for row in rows)
    names = [check.name for check in check_activities(frame, descriptions)]
    assert [check.name for check in checks] == names


def test_texts_that_are_not_there_are_not_equal_texts(small: Any) -> None:
    rows = [(None, '336110', split, False) for split in ('train', 'heldout')]
    nulls = pl.DataFrame(rows, schema=TABLE.schema, orient='row')
    broken = pl.concat([small.build_activities(), nulls])
    assert list(failed(check_activities(broken, small.build()))) == ['no_nulls']


@pytest.mark.parametrize('column', DESCRIPTIONS.schema)
@pytest.mark.parametrize('rows', [[4], range(12)])
def test_a_null_in_the_descriptions_is_no_crash(
    small: Any, column: str, rows: Sequence[int]
) -> None:
    frame, descriptions = small.build_activities(), small.build()
    here = pl.int_range(pl.len()).is_in(list(rows))
    nulls = pl.when(here).then(None).otherwise(column).alias(column)
    found = failed(check_activities(frame, descriptions.with_columns(nulls)))
    assert ('codes_known' in found) is (column in ('level', 'code'))


def test_checks_have_their_names_before_there_is_a_row(small: Any) -> None:
    no_rows = pl.DataFrame(schema=TABLE.schema)
    checks = check_activities(no_rows, pl.DataFrame(schema=DESCRIPTIONS.schema))
    built = check_activities(small.build_activities(), small.build())
    assert [(check.name, check.blocking, check.guarantee) for check in checks] == [
        (check.name, check.blocking, check.guarantee) for check in built
    ]


def test_2022_in_numbers(real_2022: Frames) -> None:
    descriptions, frame = real_2022
    assert frame.height == 20_373
    assert frame['code'].n_unique() == 1_010
    assert frame['text'].n_unique() == 20_373
    assert not frame['text'].str.contains(r'\*').any()
    assert frame['verbatim'].sum() == 1_891
    assert frame['verbatim'].mean() == pytest.approx(0.093, abs=0.0005)
    assert frame.filter(pl.col('split') == 'heldout').height == 4_066
    found = failed(check_activities(frame, descriptions))
    assert list(found) == ['codes_with_entries']
    without = {offending['code'] for offending in found['codes_with_entries'].offending}
    assert without == {'112130', '541120'}


def test_2017_in_numbers(real_2017: Frames) -> None:
    descriptions, frame = real_2017
    assert frame.height == 20_057
    assert frame['code'].n_unique() == 1_055
    assert set(failed(check_activities(frame, descriptions))) == {'codes_with_entries'}


def test_an_entry_of_both_editions_is_on_the_same_side_unless_one_quotes_it(
    real_2017: Frames, real_2022: Frames
) -> None:
    texts = [
        words_of(' '.join(descriptions[column].drop_nulls()))
        for descriptions, _ in (real_2017, real_2022)
        for column in ('title', 'description', 'examples', 'excluded')
    ]
    both = (
        real_2017[1].join(real_2022[1], on='text').filter(pl.col('split') != pl.col('split_right'))
    )
    assert both.height < 200
    for text in both['text']:
        assert any(words_of(text) in text_read for text_read in texts)


def test_the_errata_release_of_2022_differs_in_two_rows(source_dir: Any, real_2022: Frames) -> None:
    descriptions, frame = real_2022
    path = source_dir / '2022' / '2022_NAICS_Index_File.earlier-release.xlsx'
    if not path.is_file():
        pytest.skip(f'needs the earlier release of the index: {path}')
    earlier = build_activities(edition('2022'), path, descriptions)
    changed = frame.join(earlier, on=['text', 'code'], how='anti')
    assert sorted(changed['code']) == ['459510', '459999']
    assert frame.join(earlier, on=['text', 'split']).height == 20_373
