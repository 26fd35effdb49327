"""Questions and the groups of figures, on an edition of five codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from naics_model.evaluation.asking import (
    answers_table,
    cold_figures,
    exclusion_figures,
    hard_part,
    warm_figures,
)
from naics_model.evaluation.questions import Questions, exclusions_of, read_questions
from naics_model.storage.files import write_parquet
from naics_model.taxonomy.tree import Taxonomy

CODES = ['11', '111', '1111', '11111', '111110', '111111', '111112']
ENTRIES = [
    # text, code, split, verbatim
    ('black oats', '111110', 'train', True),
    ('white oats', '111111', 'train', False),
    ('very black oats', '111110', 'heldout', False),
    ('white oats, green', '111112', 'heldout', False),
]


@pytest.fixture
def questions(tmp_path: Path) -> Questions:
    descriptions = pl.DataFrame(
        {
            'code': CODES,
            'title': [f'T{code}' for code in CODES],
            'description': [f'D{code}' for code in CODES],
            'examples': [*[None] * 6, 'E'],
        }
    )
    rows = pl.DataFrame(ENTRIES, schema=['text', 'code', 'split', 'verbatim'], orient='row')
    write_parquet(descriptions, tmp_path / 'descriptions.parquet')
    write_parquet(rows, tmp_path / 'activities.parquet')
    return read_questions(tmp_path / 'descriptions.parquet', tmp_path / 'activities.parquet')


def test_what_is_read(questions: Questions) -> None:
    assert questions.candidate_codes == CODES[4:]
    assert questions.candidate_documents == [
        'T111110. D111110',
        'T111111. D111111',
        'T111112. D111112. E',
    ]
    assert questions.owners.tolist() == [0, 1, 0, 2]
    assert questions.entries(questions.held_out) == ['very black oats', 'white oats, green']
    assert questions.quoted.tolist() == [True, False, False, False]


def test_cold_asks_every_entry_and_the_unquoted_apart(questions: Questions) -> None:
    # The quoted one is answered rightly, the three others are not.
    distance = np.array([[0.0, 1, 1], [0, 1, 2], [2, 0, 2], [0, 1, 2]])
    figures = cold_figures(distance, questions)
    assert figures['cold/hit_at_1'] == 0.25
    assert figures['cold_unquoted/hit_at_1'] == 0.0
    assert figures['cold/mrr'] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 3) / 4)


def test_warm_asks_the_held_out_and_the_hard_part_apart(questions: Questions) -> None:
    hard = hard_part(questions)
    # "white oats, green" is nearest "white oats", which is another code's.
    assert hard.tolist() == [False, True]
    distance = np.array([[0.0, 1, 1], [0, 1, 2]])
    figures = warm_figures(distance, questions, hard)
    assert (figures['warm/hit_at_1'], figures['warm_hard/hit_at_1']) == (0.5, 0.0)
    assert figures['warm_hard/share'] == 0.5


def test_answers_name_the_nearest_codes_and_the_place_of_the_right_one(
    questions: Questions,
) -> None:
    distance = np.array([[0.5, 0.1, 1], [0, 1, 2]])
    assert answers_table(distance, questions, np.array([0.5, 0.75])).to_dicts() == [
        {
            'text': 'very black oats',
            'code': '111110',
            'rank': 2,
            'answers': ['111111', '111110', '111112'],
            'confidence': 0.5,
        },
        {
            'text': 'white oats, green',
            'code': '111112',
            'rank': 3,
            'answers': CODES[4:],
            'confidence': 0.75,
        },
    ]


def test_exclusions_are_sentences_with_the_codes_that_they_name() -> None:
    taxonomy = Taxonomy.from_codes(CODES)
    both = 'Oats--are classified in 111111 or in 111112, and not in 999999 or 111110.'
    frame = pl.DataFrame({'excluded': [None, *[None] * 3, both, f'{both}\nNothing.', None]})
    found = exclusions_of(frame, taxonomy)
    assert found.texts == (both,)
    pairs = [(CODES[a], CODES[b]) for a, b in zip(found.code, found.target, strict=True)]
    # A code that names itself excludes nothing by that.
    assert pairs == [
        ('111110', '111111'),
        ('111110', '111112'),
        ('111111', '111112'),
        ('111111', '111110'),
    ]
    distance = np.array([[9.0, 9, 9, 9, 2, 1, 3]])
    figures = exclusion_figures(distance, found)
    # 111110: nearer 111111 than itself, not 111112; 111111: itself is nearest.
    assert figures['exclusions/nearer_target'] == 0.25


def test_an_edition_without_exclusions_has_no_figure() -> None:
    found = exclusions_of(pl.DataFrame({'excluded': [None] * 7}), Taxonomy.from_codes(CODES))
    assert exclusion_figures(np.zeros((0, 7)), found) == {}
