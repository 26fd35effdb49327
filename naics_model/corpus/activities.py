"""The index entries: activities in people's words, each with its code and its side of the split.

They are queries to search with, and material to train on; the held-out fifth is never shown to a
model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from naics_model.checks import Check, no_rows
from naics_model.corpus.editions import Edition
from naics_model.corpus.text import tidy, words_of
from naics_model.corpus.workbooks import read_table
from naics_model.storage.tables import Column, Table, check_nulls

TABLE = Table(
    name='activities',
    row='one entry of the index, in its order.',
    columns=(
        Column('text', pl.String(), 'A business activity in a few words.'),
        Column('code', pl.String(), 'The six-digit code that it belongs to.'),
        Column(
            'split',
            pl.String(),
            'train, or heldout: a fifth that stands in no text a model reads, to ask it with.',
        ),
        Column(
            'verbatim', pl.Boolean(), 'Whether the text stands in some description or its examples.'
        ),
    ),
)
READ_BY_THE_MODEL = ('title', 'description', 'examples', 'excluded')

# A tenth of the entries stand in a text that the model reads and must be on the training side
# (2022: 10.7 %, 2017: 10.9 %). Two ninths of the other nine tenths are the 20 % of all entries that
# are to be held out.
_HELD_OUT = (2, 9)


def build_activities(
    edition: Edition, index_path: Path, descriptions: pl.DataFrame
) -> pl.DataFrame:
    """Build the table of index entries.

    An entry is `heldout` if the hash of its normalised text says so and its words stand in no text
    that the model reads, whatever the punctuation between them; so the same text is always on the
    same side, and an entry keeps its side from release to release unless a text begins to quote it.

    Args:
        edition: says which sheet and columns the index has.
        index_path: the index workbook.
        descriptions: the edition's descriptions table.

    Returns:
        text, code, split ('train' or 'heldout'), verbatim (the entry stands in a description or in
        its examples), in the order of the index.

    Raises:
        WorkbookError: the file is no workbook or has another layout.
        DataError: the file changed while it was read.
    """
    rows = read_table(index_path, edition.workbook('index'))
    # Rows of ****** ("Contractors -- see specific activity") belong to no code.
    rows = rows.filter(~pl.col('code').str.contains(r'^\s*\*+\s*$').fill_null(False))
    texts = [tidy(text or '') for text in rows['text']]
    keys = [_normalised(text) for text in texts]
    words = [words_of(text) for text in texts]
    shown = quoted_in(words, descriptions, READ_BY_THE_MODEL, words_of)
    verbatim = quoted_in(keys, descriptions, ('description', 'examples'), _normalised)
    return pl.DataFrame(
        {
            'text': texts,
            'code': [(code or '').strip() for code in rows['code']],
            'split': [
                'heldout' if said not in shown and drawn(key, _HELD_OUT) else 'train'
                for key, said in zip(keys, words, strict=True)
            ],
            'verbatim': [key in verbatim for key in keys],
        },
        schema=TABLE.schema,
    )


def _normalised(text: str) -> str:
    return ' '.join(text.casefold().split())


def drawn(key: str, share: tuple[int, int]) -> bool:
    """Draw by the text alone: sha256 is the same on every machine and in every Python.

    Args:
        key: the normalised text; with a salt before it for a draw that is independent of others.
        share: the share of all texts that is drawn, as a part of a whole.
    """
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], 'big')
    part, whole = share
    return number * whole < part * 2**64


def quoted_in(
    keys: Sequence[str],
    descriptions: pl.DataFrame,
    columns: Sequence[str],
    normalise: Callable[[str], str],
) -> set[str]:
    """Return which normalised entries stand inside a text of these columns, of any code.

    A part of a word counts: to flag "ham" because of "shampoo" costs an entry, to overlook a
        quotation costs honesty.
    """
    texts = pl.concat([descriptions[column].drop_nulls().alias('text') for column in columns])
    normalised = pl.Series([normalise(text) for text in texts], dtype=pl.String)
    # One automaton for all 20,000 entries: 0.2 CPU-seconds; a substring test for each takes 7.
    patterns = [key for key in dict.fromkeys(keys) if key]
    if not patterns:
        return set()
    found = normalised.str.extract_many(patterns, overlapping=True)
    return set(found.explode().drop_nulls())


def check_activities(frame: pl.DataFrame, descriptions: pl.DataFrame) -> list[Check]:
    """Check the index entries against the descriptions.

    Args:
        frame: a table as `TABLE` has it.
        descriptions: the same edition's descriptions table.
    """
    leaves = descriptions.filter(pl.col('level') == 6).select('code', 'title')
    keys = [None if text is None else _normalised(text) for text in frame['text']]
    keyed = frame.with_columns(key=pl.Series(keys, dtype=pl.String))
    held_out = keyed.filter(pl.col('split') == 'heldout')
    said = pl.Series([words_of(text or '') for text in held_out['text']], dtype=pl.String)
    shown = quoted_in(said.to_list(), descriptions, READ_BY_THE_MODEL, words_of)
    share = held_out.height / max(frame.height, 1)
    without = leaves.join(frame, on='code', how='anti')
    with_entries = leaves.height - without.height
    return [
        check_nulls(TABLE, frame),
        no_rows(
            'codes_known',
            frame.join(leaves, on='code', how='anti').select('text', 'code'),
            'Every entry belongs to a six-digit code of the edition.',
            'Entries belong to no six-digit code of the edition',
        ),
        no_rows(
            'no_empty_text',
            frame.filter(pl.col('text').str.strip_chars() == '').select('text', 'code'),
            'Every entry has a text.',
            'Entries have no text',
        ),
        no_rows(
            'split_known',
            frame.filter(~pl.col('split').is_in(['train', 'heldout'])).select(
                'text', 'code', 'split'
            ),
            'Every entry is in train or heldout.',
            'Entries are in neither train nor heldout',
        ),
        no_rows(
            'one_side_per_text',
            keyed.drop_nulls('key')
            .filter(pl.col('split').n_unique().over('key') > 1)
            .select('text', 'code', 'split'),
            'Equal texts are on one side of the split.',
            'Entries have their text on both sides of the split',
        ),
        no_rows(
            'held_out_unseen',
            held_out.filter(said.is_in(list(shown))).select('text', 'code'),
            'No held-out entry stands in a text that the model reads.',
            'Held-out entries stand in a text that the model reads',
        ),
        Check(
            name='held_out_share',
            passed=0.15 <= share <= 0.25,
            blocking=False,
            guarantee='Between 15 % and 25 % of the entries are held out.',
            sentence=f'{share:.1%} of the entries are held out (20 % are meant to be).',
        ),
        Check(
            name='most_codes_have_entries',
            # Not of an index that was emptied: 1,010 of 1,012 have one in 2022, 1,055 of 1,057 in
            # 2017, and 99 of 101 in the sample.
            passed=with_entries >= 0.9 * leaves.height,
            blocking=True,
            guarantee='At least 90 % of the six-digit codes have an entry.',
            sentence=f'{with_entries:,} of {leaves.height:,} six-digit codes have an entry in the '
            'index (at least 90 % must).',
        ),
        no_rows(
            'codes_with_entries',
            without,
            'Every six-digit code has an entry.',
            'Six-digit codes have no entry in the index',
            blocking=False,
        ),
    ]
