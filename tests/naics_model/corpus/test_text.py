"""One cell at a time: every trap of the printed texts, and properties of the cleaning."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from naics_model.corpus.text import (
    MARKUP,
    DescriptionParts,
    codes_named_in,
    cross_reference_sentence,
    take_apart,
    tidy,
    words_of,
)

CODES = {'11', '31', '42', '44', '311', '541511', '541512'}


def parts(
    description: str, examples: str | None = None, points_to: str | None = None
) -> DescriptionParts:
    return DescriptionParts(description, examples, points_to)


@pytest.mark.parametrize('line_end', ['\n', '\r\n', '\r'])
def test_line_ends_of_every_reader_give_the_same_parts(line_end: str) -> None:
    lines = ['It grows  crops.', '', 'It sells.', '', 'Illustrative Examples:', '', 'Corn']
    lines += ['Rye\t', '', '', 'Cross-References. Establishments primarily engaged in--']
    cell = line_end.join(lines)
    assert take_apart(cell) == parts('It grows crops.\n\nIt sells.', 'Corn\nRye')


@pytest.mark.parametrize(
    ('cell', 'expected'),
    [
        ('The Sector as a Whole\n\nIt grows crops.', parts('It grows crops.')),
        ('It grows crops.\n\nCross-References.', parts('It grows crops.')),
        ('It grows.\n\nCross-references. Establishments in--', parts('It grows.')),
        ('It grows.\n \nIllustrative Examples:\n\nCorn', parts('It grows.', 'Corn')),
        ('See industry description for 711310. ', parts('', points_to='711310')),
        ('See industry description for 711310 and more.', None),
        ('NULL', parts('')),
        ('', parts('')),
        (None, parts('')),
        # A subhead inside a text is content.
        (
            'It grows.\n\nThe Subsector\n\nIt sells.',
            parts('It grows.\n\nThe Subsector\n\nIt sells.'),
        ),
        ('The NULL device is made here.', parts('The NULL device is made here.')),
    ],
)
def test_furniture_of_the_manual_is_taken_off(
    cell: str | None, expected: DescriptionParts | None
) -> None:
    assert take_apart(cell) == (expected or parts(str(cell)))


def test_the_table_of_the_manufacturing_sector_becomes_lines() -> None:
    cell = (
        'These are manufacturing:\n'
        "<table width=100%><tr><td width=10%> </td><td><dl><dt style='padding: 10px;'>Fish "
        "packaging (oyster<br/> shucking);</dt><dt style='padding: 10px;'>Tire retreading.</dt>"
        '</dl></td></tr></table>\nConversely, others are <b>not</b>.'
    )
    assert tidy(cell) == (
        'These are manufacturing:\nFish packaging (oyster shucking);\nTire retreading.\n'
        'Conversely, others are not.'
    )


def test_entities_and_unusual_blanks_are_resolved() -> None:
    assert tidy('R&amp;D \xa0 in&nbsp;labs,\tA & B; 3 < 4 > 2') == 'R&D in labs, A & B; 3 < 4 > 2'


@given(st.text(alphabet=st.sampled_from('ab.& <>/\t\n\r\xa0'), max_size=60))
def test_tidy_is_settled_after_one_pass_and_leaves_no_surplus(text: str) -> None:
    tidied = tidy(text)
    assert tidied == tidied.strip()
    assert not re.search(r'[^\S\n]{2}|[^\S \n]|\n{3}| \n|\n ', tidied)
    assert not re.search(MARKUP, tidied) or '<' in text


@given(st.lists(st.text(alphabet='abc ', min_size=1, max_size=12), max_size=6))
def test_every_example_survives_on_its_own_line(examples: list[str]) -> None:
    kept = [' '.join(example.split()) for example in examples if example.strip()]
    cell = 'It grows.\n\nIllustrative Examples:\n\n' + '\n'.join(examples) + '\n\nCross-References.'
    assert take_apart(cell) == parts('It grows.', '\n'.join(kept) or None)


@pytest.mark.parametrize(
    ('cell', 'sentence'),
    [
        ('Milling--are in 311, Food; and', 'Milling--are in 311, Food.'),
        ('Milling--are in 311, Food; or', 'Milling--are in 311, Food.'),
        ('Milling--are in 311, Food;', 'Milling--are in 311, Food.'),
        ('Milling--are in 311,\r\nFood.', 'Milling--are in 311, Food.'),
        ('Sand; and gravel are in 311.', 'Sand; and gravel are in 311.'),
    ],
)
def test_a_cross_reference_becomes_a_sentence(cell: str, sentence: str) -> None:
    assert cross_reference_sentence(cell) == sentence


@pytest.mark.parametrize(
    ('sentence', 'named'),
    [
        ('are in U.S. Industry 541512, Design; 541511 or 541512', ['541512', '541511']),
        ('are in Sector 44-45, Retail, or Sector 42', ['44', '42']),
        ('are in Sector 31-33', ['31']),
        ('contracts longer than 10 years', []),
        ('Industry 5415129 and 9541511', []),
        ('Subsector 311--or', ['311']),
        ('code541511x', ['541511']),
        ('', []),
    ],
)
def test_a_target_is_every_whole_number_that_is_a_code(sentence: str, named: list[str]) -> None:
    assert codes_named_in(sentence, CODES) == named


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('Soybean Farming', 'soybean farming'),
        ("  Florists' (U.S.)--in\n\n31-33: caf\u00c9_bar ", 'florists u s in 31 33 caf\u00e9 bar'),
        (' ... ', ''),
    ],
)
def test_words_are_what_is_left_of_case_and_punctuation(text: str, words: str) -> None:
    assert words_of(text) == words
