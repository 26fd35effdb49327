"""Labelled phrases: where they come from, what is left out, which are for validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from naics_model.checks import Check
from naics_model.corpus.activities import TABLE as ACTIVITIES
from naics_model.corpus.clauses import clauses_of, split_cross_reference, why_unsafe
from naics_model.corpus.descriptions import TABLE as DESCRIPTIONS
from naics_model.corpus.phrases import (
    SOURCES,
    TABLE,
    build_phrases,
    candidate_phrases,
    check_phrases,
    kept_phrases,
)
from naics_model.corpus.text import words_of
from naics_model.taxonomy.tree import parent_of

Frames = tuple[pl.DataFrame, pl.DataFrame]
CODES = ('11', '111', '1111', '11111', '111110', '31', '311', '3112', '31121', '311211', '311212')


def codes(texts: Mapping[str, Mapping[str, str]] | None = None) -> pl.DataFrame:
    """A descriptions table of `CODES`, each with a title of its own."""
    rows = [
        {
            'index': number,
            'level': len(code),
            'code': code,
            'title': f'Title {code[::-1]}x',
            'printed_code': code,
            'parent': parent_of(code),
            **(texts or {}).get(code, {}),
        }
        for number, code in enumerate(CODES)
    ]
    return pl.DataFrame(rows, schema=DESCRIPTIONS.schema)


def entries(*rows: tuple[str, str, str]) -> pl.DataFrame:
    """An index of text, code and split."""
    return pl.DataFrame([(*row, False) for row in rows], schema=ACTIVITIES.schema, orient='row')


def phrases(
    texts: Mapping[str, Mapping[str, str]] | None = None, index: pl.DataFrame | None = None
) -> list[tuple[str, ...]]:
    """Text, code and source of what is built, without the titles that every code has."""
    table = build_phrases(codes(texts), entries() if index is None else index)
    assert table.schema == TABLE.schema
    kept = table.filter(~pl.col('text').str.starts_with('Title '))
    return kept.select('text', 'code', 'source').rows()


def reasons(
    texts: Mapping[str, Mapping[str, str]], index: pl.DataFrame | None = None
) -> dict[tuple[str, str], str]:
    """Text and source -> why it was left out."""
    table = candidate_phrases(codes(texts), entries() if index is None else index)
    left_out = table.drop_nulls('left_out').select('text', 'source', 'left_out')
    return {(text, source): reason for text, source, reason in left_out.iter_rows()}


def failed(checks: Sequence[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks if not check.passed}


# Where phrases come from.


def test_each_source_gives_its_phrases() -> None:
    texts = {
        '111110': {
            'title': 'Soybean  Farming',
            'description': 'This industry comprises establishments primarily engaged in '
            '(1) growing soybeans and/or (2) producing soybean seeds. They sell them.',
            'examples': 'Soybean farm\nEdamame,  field',
            'excluded': 'Milling soybeans--are classified in U.S. Industry 311211, Flour Milling.',
        }
    }
    index = entries(('Beans, soy', '111110', 'train'), ('Bean mill', '311211', 'heldout'))
    assert phrases(texts, index) == [
        ('Beans, soy', '111110', 'entry'),
        ('Soybean Farming', '111110', 'title'),
        ('Soybean farm', '111110', 'example'),
        ('Edamame, field', '111110', 'example'),
        ('Milling soybeans', '311211', 'cross_reference'),
        ('growing soybeans', '111110', 'description'),
        ('producing soybean seeds', '111110', 'description'),
    ]


def test_every_code_has_its_title_also_without_entries() -> None:
    table = build_phrases(codes(), entries())
    assert table['code'].to_list() == list(CODES)
    assert set(table['source']) == {'title'}
    assert set(table['split']) == {'train'}


@pytest.mark.parametrize(
    ('sentence', 'phrase'),
    [
        ('Milling rice--are classified in 1.', 'Milling rice'),
        ('Milling rice -- is classified in 1.', 'Milling rice'),
        # A typo of 2022.
        ('Milling rice--are lclassified in Industry 1.', 'Milling rice'),
        ('Establishments primarily engaged in milling rice are classified in 1.', 'milling rice'),
        ('Establishments engaged in the milling of rice, are classified in 1.', 'milling of rice'),
        ('Rice mills are classified in 1.', 'Rice mills'),
        (
            'Government establishments primarily engaged in milling are classified in 1.',
            'Government establishments primarily engaged in milling',
        ),
    ],
)
def test_the_phrase_of_a_cross_reference(sentence: str, phrase: str) -> None:
    found = split_cross_reference(sentence)
    assert found is not None
    assert found[0] == phrase
    assert '1' in found[1]


def test_a_sentence_that_is_no_cross_reference_has_no_phrase() -> None:
    assert split_cross_reference('See the Manufacturing sector.') is None
    texts = {'111110': {'excluded': 'See Industry 311211.'}}
    assert phrases(texts) == []
    assert reasons(texts) == {('See Industry 311211.', 'cross_reference'): 'has another form'}


@pytest.mark.parametrize(
    ('target', 'code'),
    [
        ('U.S. Industry 311211, Flour Milling', '311211'),
        ('Industry 31121, Grain Milling', '31121'),
        ('Industry Group 3112', '3112'),
        ('Subsector 311, Food', '311'),
        ('Sector 31-33, Manufacturing', '31'),
        ('Industry 311211 or Industry 311211', '311211'),
        ('Industry 311211 or Industry 311212', None),
        ('Sector 31-33 or Sector 11', None),
        ('the Manufacturing sector', None),
        ('Industry 999999', None),
    ],
)
def test_a_cross_reference_is_labelled_with_the_one_code_that_it_names(
    target: str, code: str | None
) -> None:
    # The number in the phrase is a code, too, but not where it is classified.
    texts = {'111110': {'excluded': f'Milling for 11 farms--are classified in {target}.'}}
    wanted = [('Milling for 11 farms', code, 'cross_reference')] if code else []
    assert phrases(texts) == wanted
    if code is None:
        key = ('Milling for 11 farms', 'cross_reference')
        assert reasons(texts) == {key: 'names no code, or several'}


COMPRISES = 'This industry comprises establishments primarily engaged in '


@pytest.mark.parametrize(
    ('description', 'clauses'),
    [
        (f'{COMPRISES}growing soybeans.', ['growing soybeans']),
        (
            'This U.S. industry comprises establishments engaged in milling rice. More is said.',
            ['milling rice'],
        ),
        (
            'This industry group comprises establishments primarily engaged in one or more of the '
            'following: (1) milling rice; (2) cleaning rice; and (3) polishing rice.',
            ['milling rice', 'cleaning rice', 'polishing rice'],
        ),
        (f'Introduction.\n\n{COMPRISES}milling rice and/or wheat.', ['milling rice and/or wheat']),
        # Each item lacks its verb.
        (f'{COMPRISES}manufacturing (1) flour or (2) meal.', []),
        # Without the word "government", the clause says something else.
        ('This industry comprises government establishments primarily engaged in mapping.', []),
        ('Establishments primarily engaged in milling rice are included in this industry.', []),
        (f'It is not true that {COMPRISES}milling rice.', []),
        ('', []),
    ],
)
def test_the_clauses_of_a_description(description: str, clauses: list[str]) -> None:
    assert clauses_of(description) == clauses


@pytest.mark.parametrize(
    ('clause', 'reason'),
    [
        ('growing soybeans', None),
        ('growing', 'is too short'),
        (' '.join(['word'] * 25), None),
        (' '.join(['word'] * 26), 'is too long'),
        ('growing beans (except soybeans)', 'says what is not meant'),
        ('growing beans other than soybeans', 'says what is not meant'),
        ('growing beans Not for sale', 'says what is not meant'),
        ('tying knots, notably', None),
        ('retailing these new products', 'does not stand alone'),
        ('growing beans (soy', 'does not stand alone'),
    ],
)
def test_which_clauses_are_safe(clause: str, reason: str | None) -> None:
    assert why_unsafe(clause) == reason
    texts = {'111110': {'description': f'{COMPRISES}{clause}.'}}
    assert (phrases(texts) == []) is (reason is not None)


@pytest.mark.parametrize('column', ['title', 'description', 'examples', 'excluded'])
def test_a_clause_that_stands_in_the_text_of_another_code_is_left_out(column: str) -> None:
    texts = {'311211': {'description': f'{COMPRISES}milling rice.'}}
    clause = ('milling rice', '311211', 'description')
    # Above and below it may stand.
    assert clause in phrases({**texts, '3112': {column: 'It is about milling rice here'}})
    # A part of a word is no word, and no phrase goes from one text into the next.
    assert clause in phrases({**texts, '311212': {column: 'Milling rices'}})
    assert clause in phrases({**texts, '311212': {'title': 'Milling', 'description': 'rice'}})
    other = {**texts, '311212': {column: 'It is about Milling, RICE here'}}
    assert clause not in phrases(other)
    assert reasons(other)['milling rice', 'description'] == 'stands in the text of another code'


# Equal phrases.


def test_equal_words_of_one_code_are_kept_once_by_the_order_of_sources() -> None:
    texts = {
        '311211': {
            'title': 'Rice Milling',
            'examples': 'Rice (milling)\nFlour mill',
            'description': f'{COMPRISES}flour mill.',
        },
        '111110': {'excluded': 'Rice-milling--are classified in Industry 311211.'},
    }
    assert phrases(texts, entries(('Rice, milling', '311211', 'train'))) == [
        ('Rice, milling', '311211', 'entry'),
        ('Flour mill', '311211', 'example'),
    ]
    assert phrases(texts) == [
        ('Rice Milling', '311211', 'title'),
        ('Flour mill', '311211', 'example'),
    ]


def test_equal_words_of_a_code_and_its_ancestor_stay_if_their_sources_differ() -> None:
    texts = {
        '31121': {'title': 'Milling', 'examples': 'Rice mill'},
        '311211': {'title': 'Milling', 'examples': 'Wheat mill'},
    }
    assert phrases(texts, entries(('Rice mill', '311211', 'train'))) == [
        ('Rice mill', '311211', 'entry'),
        # Not of 31121: the lower code says more.
        ('Milling', '311211', 'title'),
        ('Rice mill', '31121', 'example'),
        ('Wheat mill', '311211', 'example'),
    ]


@pytest.mark.parametrize('named', ['311212', '11'])
def test_a_cross_reference_that_contradicts_another_phrase_is_left_out(named: str) -> None:
    texts = {'111110': {'excluded': f'Rice milling--are classified in {named}.'}}
    index = entries(('Rice milling', '311211', 'train'))
    assert phrases(texts, index) == [('Rice milling', '311211', 'entry')]
    assert reasons(texts, index) == {
        ('Rice milling', 'cross_reference'): 'same words, another code'
    }


def test_cross_references_that_contradict_each_other_are_all_left_out() -> None:
    sentence = 'Rice milling--are classified in Industry {}.'
    texts = {
        '111110': {
            'excluded': '\n'.join(map(sentence.format, ('311211', '311212', '3112'))),
            'title': 'Rice Farming',
        },
    }
    assert phrases(texts) == [('Rice Farming', '111110', 'title')]
    # An ancestor of one is no contradiction.
    texts['111110']['excluded'] = '\n'.join(map(sentence.format, ('311211', '3112')))
    assert phrases(texts)[1:] == [('Rice milling', '311211', 'cross_reference')]


def test_entries_titles_and_examples_that_contradict_each_other_are_kept() -> None:
    texts = {'311211': {'examples': 'Rice milling'}, '311212': {'title': 'Rice Milling'}}
    assert [
        code for _, code, _ in phrases(texts, entries(('Rice milling', '111110', 'train')))
    ] == [
        '111110',
        '311212',
        '311211',
    ]


# What is held out, and what is for validation.


@pytest.mark.parametrize(
    ('phrase', 'stays'),
    [
        ('Mills, RICE', True),
        ('rice - MILLS', False),
        ('Old rice mills, restored', False),
        ('Price mills', True),
        ('Rice millstones', True),
        ('Rice flour mills', True),
        ('Bakery', False),
        # A single word says too little.
        ('Bakery ovens', True),
    ],
)
def test_no_phrase_is_or_holds_a_held_out_entry(phrase: str, stays: bool) -> None:
    held_out = [('Rice mills', '311212', 'heldout'), ('Bakery', '311212', 'heldout')]
    texts = {
        '311211': {'examples': f'{phrase}\nA', 'description': f'{COMPRISES}{phrase}, by hand.'},
        '111110': {'excluded': f'{phrase}--are classified in 3112.'},
    }
    of_entry = entries(*held_out, (phrase, '111110', 'train'))
    assert ('entry' in {source for *_, source in phrases({}, of_entry)}) is stays
    found = phrases(texts, entries(*held_out))
    for text, *_ in found:
        assert words_of(text) != 'bakery'
        assert ' rice mills ' not in f' {words_of(text)} '
    assert {'example', 'cross_reference'} <= {s for *_, s in found} or not stays


def many(number: int = 2_000) -> pl.DataFrame:
    return entries(*((f'Activity, number {n}', '111110', 'train') for n in range(number)))


def validation(frame: pl.DataFrame) -> list[str]:
    return frame.filter(split='validation')['text'].to_list()


def test_seven_of_a_hundred_entries_that_are_read_nowhere_are_for_validation() -> None:
    drawn = validation(build_phrases(codes(), many()))
    # 7 % of 2,000 are 140; three standard deviations either way are 106 to 174.
    assert 106 <= len(drawn) <= 174
    # Noted when the split was made: if these change, every figure of a chosen model does.
    assert drawn[:3] == ['Activity, number 7', 'Activity, number 20', 'Activity, number 22']


def test_equal_texts_are_on_one_side_whatever_their_punctuation() -> None:
    other = many().with_columns(
        text=pl.col('text').str.replace(', ', ' (').str.to_uppercase() + ')',
        code=pl.lit('311211'),
    )
    frame = build_phrases(codes(), pl.concat([many(), other]))
    table = frame.filter(source='entry').with_columns(
        words=pl.col('text').map_elements(words_of, pl.String)
    )
    assert table.height == 4_000
    assert set(table.group_by('words').agg(pl.col('split').n_unique())['split']) == {1}


@pytest.mark.parametrize('column', ['title', 'description', 'examples', 'excluded'])
def test_an_entry_that_is_read_elsewhere_is_never_for_validation(column: str) -> None:
    drawn = validation(build_phrases(codes(), many(300)))
    assert len(drawn) > 10
    # Inside a longer text.
    text = f'All of {"; ".join(text.upper() for text in drawn)} here'
    read = build_phrases(codes({'311211': {column: text}}), many(300))
    assert validation(read) == []
    assert read.filter(source='entry').height == 300


def test_held_out_and_validation_are_drawn_independently(real_2022: Frames) -> None:
    # Were both one draw with two thresholds, all validation entries would be held out.
    descriptions, activities = real_2022
    frame = build_phrases(descriptions, activities)
    share = frame.filter(split='validation').height / frame.filter(source='entry').height
    assert 0.05 < share < 0.07


# The checks.

GOOD = {
    '311211': {'examples': 'Rice mill'},
    '111110': {'excluded': 'Milling--are classified in 3112.'},
}
INDEX = entries(('Growing beans', '111110', 'train'), ('Oat mills', '311211', 'heldout'))


@pytest.mark.parametrize(
    ('name', 'row'),
    [
        ('codes_known', ('New thing', '999999', 'title', 'train')),
        ('source_known', ('New thing', '3112', 'elsewhere', 'train')),
        ('split_known', ('New thing', '3112', 'entry', 'heldout')),
        ('split_known', ('New thing', '3112', 'example', 'validation')),
        ('no_empty_text', (' - ', '3112', 'title', 'train')),
        ('no_empty_text', ('New\nthing', '3112', 'title', 'train')),
        ('phrases_once', ('GROWING, beans', '111110', 'title', 'train')),
        ('one_side_per_text', ('GROWING, beans', '311211', 'entry', 'validation')),
        ('no_held_out_entry', ('Oat mills', '3112', 'title', 'train')),
        ('no_held_out_entry', ('Old oat-mills', '3112', 'example', 'train')),
        ('validation_unseen', ('Rice mill', '311212', 'entry', 'validation')),
    ],
)
def test_each_broken_guarantee_is_found(name: str, row: tuple[str, ...]) -> None:
    frame, descriptions = build_phrases(codes(GOOD), INDEX), codes(GOOD)
    assert {*failed(check_phrases(frame, descriptions, INDEX))} == {'validation_share'}
    broken = pl.concat([frame, pl.DataFrame([row], schema=TABLE.schema, orient='row')])
    check = failed(check_phrases(broken, descriptions, INDEX))[name]
    assert check.blocking
    assert row[0] in {offending['text'] for offending in check.offending}


def test_what_is_worth_a_note_does_not_block() -> None:
    frame = build_phrases(codes(), INDEX).filter(pl.col('code') != '311212')
    found = failed(check_phrases(frame, codes(), INDEX))
    assert set(found) == {'validation_share', 'codes_with_phrases'}
    assert not any(check.blocking for check in found.values())
    assert found['codes_with_phrases'].offending[0]['code'] == '311212'


@pytest.mark.parametrize('column', TABLE.schema)
def test_a_null_is_found_and_never_a_crash(column: str) -> None:
    frame = build_phrases(codes(GOOD), INDEX)
    for rows in ([0], range(frame.height)):
        here = pl.int_range(pl.len()).is_in(list(rows))
        nulls = frame.with_columns(pl.when(here).then(None).otherwise(column).alias(column))
        checks = check_phrases(nulls, codes(GOOD), INDEX)
        assert failed(checks)['no_nulls'].offending[0] == {'column': column, 'row': 0}


def test_checks_have_their_names_before_there_is_a_row() -> None:
    empty = [pl.DataFrame(schema=table.schema) for table in (TABLE, DESCRIPTIONS, ACTIVITIES)]
    built = check_phrases(build_phrases(codes(), INDEX), codes(), INDEX)
    assert [(check.name, check.blocking, check.guarantee) for check in check_phrases(*empty)] == [
        (check.name, check.blocking, check.guarantee) for check in built
    ]


# Whatever the texts say.

WORDS = st.lists(st.sampled_from(['rice', 'Mills', 'of', 'oat', 'growing']), min_size=1, max_size=4)
TEXT = st.tuples(WORDS, st.sampled_from([' ', ', ', '-', ' (', '  '])).map(
    lambda t: t[1].join(t[0])
)


@st.composite
def editions(draw: st.DrawFn) -> Frames:
    shape: Callable[[str], st.SearchStrategy[str]] = {
        'title': lambda _: TEXT,
        'examples': lambda _: st.lists(TEXT, min_size=1, max_size=3).map('\n'.join),
        'description': lambda _: TEXT.map(lambda text: f'{COMPRISES}{text}.'),
        'excluded': lambda _: st.tuples(TEXT, st.sampled_from([*CODES, '99'])).map(
            lambda t: f'{t[0]}--are classified in {t[1]}.'
        ),
    }.__getitem__
    columns = ('title', 'examples', 'description', 'excluded')
    texts = {
        code: {column: draw(shape(column)('')) for column in columns if draw(st.booleans())}
        for code in draw(st.sets(st.sampled_from(CODES), max_size=4))
    }
    index = draw(
        st.lists(
            st.tuples(
                TEXT, st.sampled_from(['111110', '311211']), st.sampled_from(['train', 'heldout'])
            ),
            max_size=6,
        )
    )
    return codes(texts), entries(*index)


@settings(max_examples=60, deadline=None)
@given(editions())
def test_whatever_the_texts_say_the_guarantees_hold(tables: Frames) -> None:
    descriptions, index = tables
    frame = build_phrases(descriptions, index)
    held_out = {words_of(text) for text in index.filter(split='heldout')['text']}
    for text, code, source, _ in frame.iter_rows():
        words = words_of(text)
        assert code in CODES
        assert source in SOURCES
        assert words not in held_out
        assert not any(f' {entry} ' in f' {words} ' for entry in held_out if len(entry.split()) > 1)
    notes = {'validation_share', 'codes_with_phrases'}
    assert set(failed(check_phrases(frame, descriptions, index))) <= notes
    # In the order of sources, and the same again.
    assert frame['source'].to_list() == sorted(frame['source'], key=SOURCES.index)
    assert build_phrases(descriptions, index).equals(frame)


# The real editions.


def counts(frame: pl.DataFrame, *by: str) -> dict[tuple[str, ...], int]:
    table = frame.with_columns(level=pl.col('code').str.len_chars())
    return {tuple(key): number for *key, number in table.group_by(by).len().iter_rows()}


def in_numbers(frames: Frames) -> tuple[dict[tuple[str, ...], int], list[int], int]:
    """By source and split, by level, and how many hold a held-out entry; all checks passed."""
    candidates = candidate_phrases(*frames)
    frame = kept_phrases(candidates)
    assert failed(check_phrases(frame, *frames)) == {}
    levels = counts(frame, 'level')
    held_out = candidates.filter(left_out='holds a held-out entry')
    # Activities see to it that no text of the model quotes one.
    assert set(held_out['source']) == {'entry'}
    return counts(frame, 'source', 'split'), [n for _, n in sorted(levels.items())], held_out.height


def test_2022_in_numbers(real_2022: Frames) -> None:
    by_source, by_level, held_out = in_numbers(real_2022)
    assert by_source == {
        ('entry', 'train'): 15_134,
        ('entry', 'validation'): 995,
        ('title', 'train'): 1_279,
        ('example', 'train'): 733,
        ('cross_reference', 'train'): 3_161,
        ('description', 'train'): 730,
    }
    assert by_level == [61, 166, 449, 784, 20_572]
    assert held_out == 178


def test_2017_in_numbers(real_2017: Frames) -> None:
    by_source, by_level, held_out = in_numbers(real_2017)
    assert by_source == {
        ('entry', 'train'): 14_901,
        ('entry', 'validation'): 993,
        ('title', 'train'): 1_335,
        ('example', 'train'): 714,
        ('cross_reference', 'train'): 3_012,
        ('description', 'train'): 783,
    }
    assert by_level == [54, 204, 436, 839, 20_205]
    assert held_out == 172
