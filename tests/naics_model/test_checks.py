"""What a check says, and how a broken table is refused."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from naics_model.checks import BrokenGuaranteeError, Check, no_rows, require

GOOD = 'No text holds HTML.'


def markup(rows: int, *, blocking: bool = True) -> Check:
    offending = pl.DataFrame({'code': [f'1{row}' for row in range(rows)], 'text': '<b>'})
    return no_rows('no_markup', offending, GOOD, 'Texts hold HTML', blocking=blocking)


def test_without_an_offending_row_the_sentence_is_the_guarantee() -> None:
    assert markup(0) == Check('no_markup', True, True, GOOD, GOOD)


@pytest.mark.parametrize(
    ('rows', 'sentence'),
    [
        (1, 'Texts hold HTML: 1.'),
        (2, 'Texts hold HTML: 2.'),
        (1_200, 'Texts hold HTML: 1,200.'),
    ],
)
def test_offending_rows_are_counted_behind_the_sentence(rows: int, sentence: str) -> None:
    check = markup(rows)
    assert (check.passed, check.guarantee, check.sentence) == (False, GOOD, sentence)
    shown = [{'code': f'1{row}', 'text': '<b>'} for row in range(min(rows, 5))]
    assert list(check.offending) == shown


def test_a_broken_table_is_refused_with_what_was_found_and_a_remedy() -> None:
    with pytest.raises(BrokenGuaranteeError) as refused:
        require([markup(0), markup(2), markup(1)], Path('a.parquet'), 'compare the workbooks')
    assert str(refused.value) == (
        'a.parquet was not written: Texts hold HTML: 2 (code 10, text <b>; code 11, text <b>); '
        'Texts hold HTML: 1 (code 10, text <b>); compare the workbooks.'
    )
    assert refused.value.checks == (markup(2), markup(1))


def test_a_check_that_does_not_block_refuses_nothing() -> None:
    require([markup(0), markup(3, blocking=False)], Path('a.parquet'), 'compare the workbooks')
