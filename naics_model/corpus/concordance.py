"""The concordance: which six-digit codes of the edition before became which ones of this edition.

It carries what was filed under the old codes (labels, statistics, predictions) over to the new
ones. What share of a split industry went where is not printed, so it is not known here.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import polars as pl

from naics_model.checks import Check, no_rows
from naics_model.corpus.editions import Edition
from naics_model.corpus.provenance import CORRECT, described
from naics_model.corpus.text import tidy
from naics_model.corpus.workbooks import read_table
from naics_model.errors import DataError
from naics_model.storage.tables import Column, Table, check_nulls
from naics_model.taxonomy.tree import shown

TABLE = Table(
    name='concordance',
    row='a code of the edition before and a code that it went into, in the order of the workbook.',
    columns=(
        Column('from_code', pl.String(), 'A six-digit code of the edition before.'),
        Column(
            'from_title',
            pl.String(),
            'Its title as printed: of a split industry, with the piece that went to to_code where '
            'the Bureau names it.',
        ),
        Column('to_code', pl.String(), 'A six-digit code of this edition that it went into.'),
        Column('to_title', pl.String(), 'Its title as the concordance prints it.'),
    ),
)
_COLUMNS = [column.name for column in TABLE.columns]
_SIX_DIGITS = '^[0-9]{6}$'


def build_concordance(edition: Edition, path: Path) -> pl.DataFrame:
    """Build the table of pairs from an edition's concordance.

    A row with at most one filled cell, and that of several words, is a footnote and left out.

    Args:
        edition: says which sheet and columns the concordance has.
        path: the concordance workbook, or a CSV copy of it.

    Returns:
        `TABLE`, every text on one line.

    Raises:
        WorkbookError: the file is no workbook or has another layout.
        DataError: another row lacks a code, or has one that is not of six digits. Or the file
            changed while it was read.
    """
    cells = read_table(path, edition.workbook('concordance'))
    rows = cells.with_columns(
        pl.Series(name, [_one_line(text) for text in cells[name]], dtype=pl.String)
        for name in _COLUMNS
    )
    filled = pl.sum_horizontal(pl.col(_COLUMNS) != '')
    several_words = pl.any_horizontal(pl.col(_COLUMNS).str.contains(' ', literal=True))
    rows = rows.filter(~((filled == 0) | ((filled == 1) & several_words)))
    codes = pl.col('from_code', 'to_code')
    broken = rows.filter(~pl.all_horizontal(codes.str.contains(_SIX_DIGITS)))
    if not broken.is_empty():
        row = broken.row(0, named=True)
        raise DataError(
            f'{described(path)} has {shown(row["from_code"])} and {shown(row["to_code"])} as the '
            f'codes of row {row["row"]}, where two codes of six digits must stand, or nothing; '
            f'{CORRECT}'
        )
    return rows.select(_COLUMNS)


def _one_line(text: str | None) -> str:
    return ' '.join(tidy(text or '').split())


def count_changes(frame: pl.DataFrame) -> dict[str, int]:
    """Count what became of the codes of the edition before; each of them counts once.

    Args:
        frame: a table as `TABLE` has it.

    Returns:
        kept: went, with nothing else, into an industry of the same code and title.
        retitled: went, with nothing else, into an industry of the same code and another title.
        renumbered: went, with nothing else, into an industry of another code.
        merged: went whole into an industry that others, or pieces of others, went into too.
        split: went in pieces into several industries, whatever else these took in.
    """
    alone = pl.len().over('to_code') == 1
    same_code = pl.col('from_code') == pl.col('to_code')
    same_title = pl.col('from_title') == pl.col('to_title')
    what = (
        pl.when(pl.len().over('from_code') > 1)
        .then(pl.lit('split'))
        .when(~alone)
        .then(pl.lit('merged'))
        .when(~same_code)
        .then(pl.lit('renumbered'))
        .when(~same_title)
        .then(pl.lit('retitled'))
        .otherwise(pl.lit('kept'))
    )
    became = Counter(frame.select('from_code', what=what).unique()['what'].to_list())
    return {name: became[name] for name in ('kept', 'retitled', 'renumbered', 'merged', 'split')}


def check_concordance(frame: pl.DataFrame, descriptions: pl.DataFrame) -> list[Check]:
    """Check the pairs against the codes of the edition that they lead to.

    Args:
        frame: a table as `TABLE` has it.
        descriptions: that edition's descriptions table.
    """
    leaves = descriptions.filter(pl.col('level') == 6).select('code', 'title')
    reached = frame.join(leaves, left_on='to_code', right_on='code')
    return [
        check_nulls(TABLE, frame),
        no_rows(
            'codes_of_six_digits',
            frame.filter(
                pl.any_horizontal(~pl.col('from_code', 'to_code').str.contains(_SIX_DIGITS))
            ),
            'Every pair is of two codes of six digits.',
            'Pairs have a code that is not of six digits',
        ),
        no_rows(
            'codes_known',
            frame.join(leaves, left_on='to_code', right_on='code', how='anti'),
            'Every pair leads to a six-digit code of the edition.',
            'Pairs lead to no six-digit code of the edition',
        ),
        no_rows(
            'codes_reached',
            leaves.join(frame, left_on='code', right_on='to_code', how='anti'),
            'Every six-digit code of the edition came from somewhere.',
            'Six-digit codes of the edition are in no pair',
        ),
        no_rows(
            'pairs_unique',
            frame.filter(pl.struct('from_code', 'to_code').is_duplicated()),
            'Every pair stands once.',
            'Rows share their pair of codes with another row',
        ),
        no_rows(
            'no_empty_text',
            frame.filter(pl.any_horizontal(pl.col(_COLUMNS).fill_null('').str.strip_chars() == '')),
            'Every pair has its codes and titles.',
            'Pairs lack a code or a title',
        ),
        no_rows(
            'titles_agree',
            reached.filter(pl.col('to_title') != pl.col('title'))
            .select('to_code', 'to_title', 'title')
            .unique(maintain_order=True),
            'The titles are those of the edition.',
            'Titles differ from those of the edition',
            blocking=False,
        ),
    ]
