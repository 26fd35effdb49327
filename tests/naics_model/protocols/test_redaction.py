"""Sentences that give a hidden code away go, and no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from naics_model.corpus import activities, phrases
from naics_model.protocols.leaks import check_texts
from naics_model.protocols.protocol import PROTOCOLS
from naics_model.protocols.redaction import (
    count_sentences,
    visible_activities,
    visible_descriptions,
    visible_phrases,
)

MakeTable = Callable[[Mapping[str, Mapping[str, object]]], pl.DataFrame]
HIDDEN = {
    'title': 'Soybean Farming',
    'description': 'This U.S. industry grows soybeans for seed on its own land. No rent is paid.',
    'examples': 'Soy nurseries\nBean fields',
    'excluded': 'Growing rice--is classified in Industry 111160, Rice Farming.',
}


@pytest.fixture
def cleaned(table_of: MakeTable) -> Callable[..., dict[str, object]]:
    """What is left of 111160's texts when 111110 is hidden, of which it has a sibling."""

    def clean(**texts: str) -> dict[str, object]:
        table = table_of({'111110': HIDDEN, '111120': {}, '111160': texts})
        visible = visible_descriptions(table, ['11111', '111110'])
        assert visible.schema == table.schema
        assert visible['index'].to_list() == list(range(visible.height))
        assert visible['code'].to_list() == [
            '11',
            '111',
            '1111',
            '11112',
            '111120',
            '11116',
            '111160',
        ]
        return visible.filter(code='111160').to_dicts()[0]

    return clean


@pytest.mark.parametrize(
    ('before', 'after'),
    [
        # By its number, or that of a code above it that is hidden with it.
        ('Rice is grown. Beans are in 111110, Legumes. Reis.', 'Rice is grown. Reis.'),
        ('Rice is grown; beans are in 11111.', 'Rice is grown;'),
        ('In 1111 or 1111100 and for 111 years.', 'In 1111 or 1111100 and for 111 years.'),
        # By its title, in any case and punctuation; not by words of it.
        ('Rice.\nWho is in SOYBEAN\u2014farming, too?\nReis.', 'Rice.\nReis.'),
        ('Farming of soybean. Soybean farmings.', 'Farming of soybean. Soybean farmings.'),
        # Where the title begins in one sentence and ends in the next, both go.
        ('One. Any soybean. Farming is hard. Two.', 'One. Two.'),
        # And what stood on both sides of a sentence makes no title together.
        ('One. A soybean. In 111110. Farming is hard. Two.', 'One. Two.'),
        # By a sentence of its own, or one of at least eight words inside another.
        ('Rice; no rent is paid. Or so.', 'Rice; Or so.'),
        ('Here no rent is paid.', 'Here no rent is paid.'),
        (
            'One that like this U.S. industry grows soybeans for seed on its own land. Two.',
            'Two.',
        ),
        ('This U.S. industry grows rice. Soy nurseries.', 'This U.S. industry grows rice.'),
        # Paragraphs stay.
        ('One.\n\nIn 111110.\n\nTwo. In 111110.\nThree.', 'One.\n\nTwo.\nThree.'),
        ('In 111110.', None),
    ],
)
def test_sentences_of_a_description(
    cleaned: Callable[..., dict[str, object]], before: str, after: str | None
) -> None:
    assert cleaned(description=before)['description'] == after


def test_lists_lose_whole_lines(cleaned: Callable[..., dict[str, object]]) -> None:
    row = cleaned(
        examples='Rice paddies\nsoy  nurseries\nBean fields, wet',
        excluded='Soybeans. Or beans are in 111110.\nMaize is in 11112, not in 111160 or 1111.\n'
        'growing rice -- is classified in industry 111160, rice farming',
    )
    assert row['examples'] == 'Rice paddies\nBean fields, wet'
    assert row['excluded'] == 'Maize is in 11112, not in 111160 or 1111.'
    assert row['excluded_codes'] == ['11112', '1111']
    row = cleaned(excluded='Beans are in 111110.', title='Soybean Farming and Rice')
    assert (row['excluded'], row['excluded_codes']) == (None, None)
    # A name is a name.
    assert row['title'] == 'Soybean Farming and Rice'


def test_nothing_hidden_changes_nothing(table_of: MakeTable) -> None:
    table = table_of(
        {'111110': HIDDEN, '111160': {'excluded': 'See 111110.', 'description': 'a  b'}}
    )
    named = table.with_columns(
        excluded_codes=pl.when(pl.col('code') == '111160')
        .then(pl.lit(['111110']))
        .when(pl.col('code') == '111110')
        .then(pl.lit(['111160']))
    )
    assert visible_descriptions(named, []).equals(named)


def test_sentences_are_counted_as_they_are_dropped(table_of: MakeTable) -> None:
    table = table_of({'111110': HIDDEN})
    assert count_sentences(table) == {'description': 2, 'examples': 2, 'excluded': 1}


WORDS = ['soybean', 'Farming', 'rice', '111110', 'no', 'rent', 'is', 'paid', 'U.S', 'It', 'grows']
ENDS = ['', '', '', '.', ';', ',', '.\n', '.\n\n', '--']
TEXT = st.lists(
    st.builds(lambda word, end: word + end, st.sampled_from(WORDS), st.sampled_from(ENDS)),
    min_size=1,
    max_size=40,
).map(lambda parts: '\n'.join(line.strip() for line in ' '.join(parts).splitlines()).strip())


@settings(max_examples=150, deadline=None)
@given(secret=TEXT, texts=st.lists(TEXT, min_size=6, max_size=6))
def test_whatever_the_texts_nothing_is_left_and_nothing_is_added(
    table_of: MakeTable, secret: str, texts: list[str]
) -> None:
    hidden = HIDDEN | {'description': secret, 'examples': secret}
    columns = ('description', 'examples', 'excluded')
    rows = [dict(zip(columns, part, strict=True)) for part in (texts[:3], texts[3:])]
    table = table_of({'111110': hidden, '111160': rows[0], '111120': rows[1]})
    visible = visible_descriptions(table, ['11111', '111110'])
    gone = table.filter(pl.col('code').is_in(['11111', '111110']))
    assert [check.sentence for check in check_texts(visible, gone) if not check.passed] == []
    for column in columns:
        both = visible.join(table, on='code', suffix='_before')
        for after, before in both.select(column, f'{column}_before').iter_rows():
            assert is_part(after or '', before or '')


def is_part(after: str, before: str) -> bool:
    """Whether the words of one text stand in the other, in their order."""
    words = iter(before.split())
    return all(word in words for word in after.split())


def test_entries_that_may_be_read() -> None:
    table = pl.DataFrame(
        [
            ('Beans', '111110', 'train', False),
            ('Rice', '111160', 'train', True),
            ('Reis', '111160', 'heldout', False),
        ],
        schema=activities.TABLE.schema,
        orient='row',
    )
    read = {
        name: visible_activities(table, protocol, ['111110'] if protocol.hides else [])
        for name, protocol in PROTOCOLS.items()
    }
    assert {name: rows['text'].to_list() for name, rows in read.items()} == {
        'cold': [],
        'warm': ['Beans', 'Rice'],
        'heldout_codes': ['Rice'],
        # Its parts read entries, not the whole.
        'heldout_folds': [],
        'heldout_subtrees': ['Rice'],
        'editions': [],
    }
    assert {rows.schema == table.schema for rows in read.values()} == {True}


def test_phrases_that_hold_a_hidden_title_go() -> None:
    texts = [
        'Soybean farming',
        'SOYBEAN-FARMING, organic',
        'Soybean farmings',
        'Farming, soybean',
        'Rice',
    ]
    rows = [(text, '111160', 'entry', 'train') for text in texts]
    table = pl.DataFrame(rows, schema=phrases.TABLE.schema, orient='row')
    secret = pl.DataFrame({'title': ['Soybean Farming']})
    assert visible_phrases(table, secret)['text'].to_list() == texts[2:]
    assert visible_phrases(table, secret.clear()).equals(table)
