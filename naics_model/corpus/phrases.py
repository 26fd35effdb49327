"""Labelled phrases: every short text of an edition that a model may learn from, with its code.

What belongs here: where the phrases come from, which are left out and why, and which index entries
are set aside for validation. How a phrase is cut out of a sentence is in `clauses.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import combinations

import polars as pl

from naics_model.checks import Check, no_rows
from naics_model.corpus.activities import READ_BY_THE_MODEL, drawn, quoted_in
from naics_model.corpus.clauses import clauses_of, split_cross_reference, why_unsafe
from naics_model.corpus.text import codes_named_in, words_of
from naics_model.storage.tables import Column, Table, check_nulls
from naics_model.taxonomy.tree import related

SOURCES = ('entry', 'title', 'example', 'cross_reference', 'description')
"""Where phrases come from. Of equal phrases of one code, the one of the first source is kept."""

TABLE = Table(
    name='phrases',
    row='one phrase of one code, by source, then in the order of the index or of the codes.',
    columns=(
        Column('text', pl.String(), 'The phrase, on one line.'),
        Column('code', pl.String(), 'The code that it belongs to, of 2 to 6 digits.'),
        Column(
            'source',
            pl.String(),
            'entry (a train entry of the index), title, example (a line of `examples`), '
            'cross_reference (a phrase of `excluded`, with the code that it is sent to), or '
            'description (a clause of it).',
        ),
        Column(
            'split',
            pl.String(),
            'train, or validation: about 6 % of the entries, to choose models by, not to train on.',
        ),
    ),
)

# 7 % of the entries that may be drawn: about one train entry in eight stands in a text that the
# model reads and may not, so this is about 6 % of all.
_VALIDATION = (7, 100)
_SALT = 'validation of phrases: '

# These sources are read out of running text, so they give way where labels contradict each other.
_WEAK = ('cross_reference', 'description')

_CANDIDATE = pl.Schema({**TABLE.schema, 'left_out': pl.String()})


def build_phrases(descriptions: pl.DataFrame, activities: pl.DataFrame) -> pl.DataFrame:
    """Build the table of phrases.

    Args:
        descriptions: an edition's descriptions table, or the visible part of one.
        activities: its index entries; may be empty. Train entries become phrases. Held-out entries
            do not, and no phrase equals one or contains one of two words or more.

    Returns:
        `TABLE`.
    """
    return kept_phrases(candidate_phrases(descriptions, activities))


def kept_phrases(candidates: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of `candidate_phrases` that are not left out, as `TABLE`."""
    return candidates.filter(pl.col('left_out').is_null()).drop('left_out')


def candidate_phrases(descriptions: pl.DataFrame, activities: pl.DataFrame) -> pl.DataFrame:
    """Return every phrase that was considered, and why it was left out.

    Args:
        descriptions, activities: as `build_phrases` takes them.

    Returns:
        The columns of `TABLE`, and left_out: the reason in a few words, null for what is kept.
        `code` is null where a cross-reference names no code, or several.
    """
    frame = pl.concat(
        [
            _frame(activities.filter(split='train').select('text', 'code').iter_rows(), 'entry'),
            _frame(descriptions.select('title', 'code').drop_nulls().iter_rows(), 'title'),
            _frame(_lines(descriptions, 'examples'), 'example'),
            _cross_references(descriptions),
            _clauses(descriptions),
        ]
    ).with_columns(words=_words('text'))
    held_out = _word_set(activities.filter(split='heldout')['text'])
    frame = _leave_out(frame, frame['words'] == '', 'has no word')
    frame = _leave_out(frame, _holding(frame['words'], held_out), 'holds a held-out entry')
    frame = _leave_out(frame, _said_of_a_lower_code(frame), 'same source, of a lower code, too')
    frame = _leave_out(frame, _said_before(frame), 'same words and code')
    frame = _leave_out(frame, _contradicted(frame), 'same words, another code')
    return frame.with_columns(split=_split(frame, descriptions)).select(_CANDIDATE.names())


def _frame(rows: Iterator[tuple[str, str | None]], source: str) -> pl.DataFrame:
    texts = [(' '.join(text.split()), code, source, 'train', None) for text, code in rows]
    return pl.DataFrame(texts, schema=_CANDIDATE, orient='row')


def _lines(descriptions: pl.DataFrame, column: str) -> Iterator[tuple[str, str]]:
    for text, code in descriptions.select(column, 'code').drop_nulls().iter_rows():
        for line in text.splitlines():
            yield line, code


def _cross_references(descriptions: pl.DataFrame) -> pl.DataFrame:
    """Return the phrases of cross-references, labelled with the code that they are sent to."""
    codes = set(descriptions['code'])
    rows = []
    for sentence, _ in _lines(descriptions, 'excluded'):
        parts = split_cross_reference(sentence)
        phrase, named = (parts[0], codes_named_in(parts[1], codes)) if parts else (sentence, [])
        only = named[0] if len(named) == 1 else None
        reason = None if only else 'names no code, or several' if parts else 'has another form'
        rows.append((phrase, only, 'cross_reference', 'train', reason))
    return pl.DataFrame(rows, schema=_CANDIDATE, orient='row')


def _clauses(descriptions: pl.DataFrame) -> pl.DataFrame:
    """Return the clauses of descriptions, with a reason for those that are not safe as phrases."""
    found = [
        (clause, code)
        for text, code in descriptions.select('description', 'code').drop_nulls().iter_rows()
        for clause in clauses_of(text)
    ]
    elsewhere = _said_of_others([(words_of(clause), code) for clause, code in found], descriptions)
    return _frame(iter(found), 'description').with_columns(
        left_out=pl.Series(
            [
                why_unsafe(clause) or ('stands in the text of another code' if other else None)
                for (clause, _), other in zip(found, elsewhere, strict=True)
            ],
            dtype=pl.String,
        )
    )


def _said_of_others(clauses: list[tuple[str, str]], descriptions: pl.DataFrame) -> list[bool]:
    """Return whether each clause occurs in the text of an unrelated code."""
    if not clauses:
        return []
    texts = pl.Series(
        [
            # The bar is not part of any word, so no match spans two texts.
            ' | '.join(f' {words_of(text)} ' for text in row if text)
            for row in descriptions.select(READ_BY_THE_MODEL).iter_rows()
        ],
        dtype=pl.String,
    )
    patterns = sorted({f' {words} ' for words, _ in clauses})
    said_of: dict[str, set[str]] = {}
    found = texts.str.extract_many(patterns, overlapping=True)
    for code, here in zip(descriptions['code'], found, strict=True):
        for words in here:
            said_of.setdefault(words.strip(), set()).add(code)
    return [
        any(not related(code, other) for other in said_of.get(words, ())) for words, code in clauses
    ]


def _said_of_a_lower_code(frame: pl.DataFrame) -> pl.Series:
    """Mark a phrase that the same source also gives to a descendant of its code.

    Many codes repeat the title and the text of their only child: the lowest code says most.
    """
    rows: set[int] = set()
    for group in _groups(frame, 'words', 'source'):
        for (row, code), (other_row, other) in combinations(zip(*group, strict=True), 2):
            if code != other and related(code, other):
                rows.add(row if len(code) < len(other) else other_row)
    return _marked(frame, rows)


def _said_before(frame: pl.DataFrame) -> pl.Series:
    """Mark all but the first phrase of equal words and code. The rows are in order of sources."""
    considered = pl.col('left_out').is_null()
    first = pl.struct('words', 'code', considered).is_first_distinct()
    return frame.select(considered & ~first).to_series()


def _contradicted(frame: pl.DataFrame) -> pl.Series:
    """Mark phrases of weak sources whose words are labelled with unrelated codes."""
    weak = frame['source'].is_in(_WEAK)
    rows: set[int] = set()
    for numbers, codes in _groups(frame, 'words'):
        of_weak = {number for number in numbers if weak[number]}
        if any(
            not related(code, other)
            for (number, code), (other_number, other) in combinations(
                zip(numbers, codes, strict=True), 2
            )
            if number in of_weak or other_number in of_weak
        ):
            rows |= of_weak
    return _marked(frame, rows)


def _groups(frame: pl.DataFrame, *by: str) -> Iterator[tuple[list[int], list[str]]]:
    """Return row numbers and codes of the phrases that are equal by columns and differ in code."""
    groups = (
        frame.with_row_index('row')
        .filter(pl.col('left_out').is_null())
        .group_by(by)
        .agg('row', 'code')
        .filter(pl.col('code').list.n_unique() > 1)
    )
    yield from groups.select('row', 'code').iter_rows()


def _marked(frame: pl.DataFrame, rows: Collection[int]) -> pl.Series:
    return pl.Series([number in rows for number in range(frame.height)], dtype=pl.Boolean)


def _leave_out(frame: pl.DataFrame, rows: pl.Series, reason: str) -> pl.DataFrame:
    """Give a reason to the rows that have none yet."""
    new = pl.lit(reason)
    return frame.with_columns(
        left_out=pl.when(pl.col('left_out').is_null() & rows).then(new).otherwise('left_out')
    )


def _split(frame: pl.DataFrame, descriptions: pl.DataFrame) -> pl.Series:
    """Return the side of each phrase.

    Drawn by the words alone, so equal phrases are on one side whatever their punctuation, and an
    entry keeps its side from release to release. Words that are read elsewhere are never drawn:
    validation must not ask for what was learned by heart.
    """
    is_entry = frame['source'] == 'entry'
    entries = frame.filter(is_entry)['words'].to_list()
    read = quoted_in(entries, descriptions, READ_BY_THE_MODEL, words_of)
    read |= set(frame.filter(~is_entry)['words'])
    return pl.Series(
        [
            'validation'
            if entry and words not in read and drawn(_SALT + words, _VALIDATION)
            else 'train'
            for words, entry in zip(frame['words'], is_entry, strict=True)
        ],
        dtype=pl.String,
    )


def _words(column: str) -> pl.Expr:
    return pl.col(column).map_elements(words_of, return_dtype=pl.String)


def _word_set(texts: pl.Series) -> set[str]:
    return {words_of(text) for text in texts if text} - {''}


def _holding(words: pl.Series, entries: Collection[str]) -> pl.Series:
    """Return whether each phrase equals an entry, or contains one of two words or more.

    Args:
        words: phrases as `words_of` has them.
        entries: the same of index entries.
    """
    # A single word ("Bakeries") says too little to be kept out of every longer phrase.
    long = [f' {entry} ' for entry in sorted(entries) if ' ' in entry]
    equal = words.is_in(sorted(entries))
    return equal | (' ' + words + ' ').str.contains_any(long) if long else equal


def check_phrases(
    frame: pl.DataFrame, descriptions: pl.DataFrame, activities: pl.DataFrame
) -> list[Check]:
    """Check the phrases against the descriptions and the index entries.

    Args:
        frame: a table as `TABLE` has it.
        descriptions: the same edition's descriptions table.
        activities: its index entries.
    """
    keyed = frame.with_columns(words=_words('text'))
    held_out = _word_set(activities.filter(split='heldout')['text'])
    validation = keyed.filter(split='validation')
    read = quoted_in(
        validation['words'].drop_nulls().to_list(), descriptions, READ_BY_THE_MODEL, words_of
    ) | set(keyed.filter(pl.col('source') != 'entry')['words'])
    leaves = descriptions.filter(pl.col('level') == 6).select('code', 'title')
    entries = frame.filter(source='entry').height
    share = validation.height / max(entries, 1)
    shown = ('text', 'code', 'source', 'split')
    return [
        check_nulls(TABLE, frame),
        no_rows(
            'codes_known',
            frame.join(descriptions, on='code', how='anti').select(shown),
            'Every phrase belongs to a code of the edition.',
            'Phrases belong to no code of the edition',
        ),
        no_rows(
            'source_known',
            frame.filter(~pl.col('source').is_in(SOURCES)).select(shown),
            f'Every phrase is of source {", ".join(SOURCES[:-1])} or {SOURCES[-1]}.',
            'Phrases are of no known source',
        ),
        no_rows(
            'split_known',
            frame.filter(
                ~pl.col('split').is_in(['train', 'validation'])
                | ((pl.col('split') == 'validation') & (pl.col('source') != 'entry'))
            ).select(shown),
            'Every phrase is in train or validation, and only entries are in validation.',
            'Phrases are in neither train nor validation, or in validation and not entries',
        ),
        no_rows(
            'no_empty_text',
            keyed.filter((pl.col('words') == '') | pl.col('text').str.contains(r'[\r\n]')).select(
                shown
            ),
            'Every phrase has a word and is one line.',
            'Phrases have no word, or more than one line',
        ),
        no_rows(
            'phrases_once',
            keyed.drop_nulls(['words', 'code'])
            .filter(pl.struct('words', 'code').is_duplicated())
            .select(shown),
            'Every phrase stands once for each of its codes.',
            'Phrases stand more than once for a code',
        ),
        no_rows(
            'one_side_per_text',
            keyed.drop_nulls('words')
            .filter(pl.col('split').n_unique().over('words') > 1)
            .select(shown),
            'Equal phrases are on one side of the split.',
            'Phrases have their words on both sides of the split',
        ),
        no_rows(
            'no_held_out_entry',
            keyed.filter(_holding(keyed['words'], held_out)).select(shown),
            'No phrase equals a held-out entry or contains one of two words or more.',
            'Phrases equal or contain a held-out entry',
        ),
        no_rows(
            'validation_unseen',
            validation.filter(validation['words'].is_in(list(read))).select(shown),
            'No validation entry stands in a text that the model reads or is a phrase of another '
            'source.',
            'Validation entries stand in a text that the model reads, or are phrases of another '
            'source',
        ),
        Check(
            name='validation_share',
            passed=0.03 <= share <= 0.10,
            blocking=False,
            guarantee='Between 3 % and 10 % of the entries are for validation.',
            sentence=f'{share:.1%} of the entries are for validation (6 % are meant to be).',
        ),
        no_rows(
            'codes_with_phrases',
            leaves.join(frame, on='code', how='anti'),
            'Every six-digit code has a phrase.',
            'Six-digit codes have no phrase',
            blocking=False,
        ),
    ]
