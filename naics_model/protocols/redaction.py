"""Taking hidden codes out of what is left: out of the list, and out of the texts of the others.

Pure functions on tables. Which codes are hidden is said in `splits.py`; that nothing of them is
left is proved in `leaks.py`, which shares no code with this.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import polars as pl

from naics_model.corpus.text import codes_named_in, words_of
from naics_model.protocols.protocol import Protocol

CLEANED = ('description', 'examples', 'excluded')
"""The columns of descriptions that sentences are taken out of."""

LONG_SENTENCE = 8
"""Words from which on a hidden sentence counts as one where it is only a part of another.

Shorter ones are pieces of lists ("health and personal care retailers;"), mostly the name of some
other code.
"""

# Not after a capital: "U.S. Industry 311811" is one sentence in most texts. Where two sentences are
# taken for one because the first ends in NAICS, they stay or go together.
_SENTENCE_END = re.compile(r'(?<=[^A-Z][.;])\s+')


def visible_descriptions(descriptions: pl.DataFrame, hidden: Collection[str]) -> pl.DataFrame:
    """Return the rows of the codes that are not hidden, without a trace of those that are.

    From description, examples and excluded is dropped every sentence (of a list, every line) that

    * names a hidden code by its number,
    * touches a hidden title, word for word, whatever its case and punctuation, or
    * is itself a sentence of a hidden text, or holds one of `LONG_SENTENCE` words or more.

    Titles of visible codes stay as they are, because they are names: 712 is still "Museums,
    Historical Sites, and Similar Institutions" when 712110, Museums, is hidden. No visible title is
    the whole of a hidden one: `splits.py` sees to that.

    Args:
        descriptions: a table as `corpus.descriptions.TABLE` has it.
        hidden: codes, closed downward: all below a hidden code are hidden.

    Returns:
        The same columns, indexed anew from 0; `excluded_codes` are those that the sentences left
        still name. A text of which nothing is left is null, so a description, too, can be null.
    """
    is_hidden = pl.col('code').is_in(list(hidden))
    gone, visible = descriptions.filter(is_hidden), descriptions.filter(~is_hidden)
    secret = _Secret.of(gone)
    if not gone.is_empty():
        visible = visible.with_columns(
            pl.Series(column, _cleaned(visible[column], secret, column), dtype=pl.String)
            for column in CLEANED
        )
    codes = set(visible['code'])
    named = [
        [other for other in codes_named_in(text or '', codes) if other != code] or None
        for code, text in visible.select('code', 'excluded').iter_rows()
    ]
    return visible.with_columns(
        index=pl.Series(range(visible.height), dtype=pl.UInt32),
        excluded_codes=pl.Series(named, dtype=pl.List(pl.String)),
    )


def asked_descriptions(descriptions: pl.DataFrame, hidden: Collection[str]) -> pl.DataFrame:
    """Return every code with the texts by which the hidden ones are to find their place.

    A hidden code has its own texts; the others have what is left of theirs, so that none of them
    tells of a code that is new to it.

    Args:
        descriptions: a table as `corpus.descriptions.TABLE` has it.
        hidden: codes, closed downward.

    Returns:
        The same columns and rows, in the same order.
    """
    own = descriptions.filter(pl.col('code').is_in(list(hidden)))
    visible = visible_descriptions(descriptions, hidden).drop('index')
    indexed = visible.join(descriptions.select('code', 'index'), on='code')
    return pl.concat([indexed.select(descriptions.columns), own]).sort('index')


def visible_activities(
    activities: pl.DataFrame, protocol: Protocol, hidden: Collection[str]
) -> pl.DataFrame:
    """Return the index entries that a training run may read.

    Args:
        activities: a table as `corpus.activities.TABLE` has it.
        protocol: says whether any.
        hidden: the codes that it hides.

    Returns:
        The same columns: no row, or the rows of `train` of codes that are not hidden.
    """
    if not protocol.activities:
        return activities.clear()
    return activities.filter(pl.col('split') == 'train', ~pl.col('code').is_in(list(hidden)))


def visible_phrases(phrases: pl.DataFrame, secret: pl.DataFrame) -> pl.DataFrame:
    """Return the phrases that hold no title of a hidden code, word for word.

    They are made from visible texts, but index entries and titles of visible codes are read as they
    are, and some of them hold such a title.

    Args:
        phrases: a table as `corpus.phrases.TABLE` has it, made from the visible part of an edition.
        secret: the rows of descriptions of the hidden codes.

    Returns:
        The same columns.
    """
    titles = [f' {words} ' for words in sorted(set(map(words_of, secret['title'])) - {''})]
    if not titles:
        return phrases
    words = pl.Series([f' {words_of(text)} ' for text in phrases['text']], dtype=pl.String)
    return phrases.filter(~words.str.contains_any(titles))


def count_sentences(descriptions: pl.DataFrame) -> dict[str, int]:
    """Return how many sentences the texts of each column of `CLEANED` have."""
    return {
        column: sum(len(_sentences(text, column)) for text in descriptions[column].drop_nulls())
        for column in CLEANED
    }


@dataclass(frozen=True)
class _Secret:
    """What must not be found.

    Attributes:
        codes: the hidden codes.
        sentences: their sentences, as words.
        phrases: what must not be a part of a sentence either: titles and long sentences, as words.
    """

    codes: frozenset[str]
    sentences: frozenset[str]
    phrases: tuple[str, ...]

    @classmethod
    def of(cls, gone: pl.DataFrame) -> _Secret:
        """Read it from the rows of the hidden codes."""
        sentences = {
            words_of(sentence)
            for column in CLEANED
            for text in gone[column].drop_nulls()
            for sentence in _sentences(text, column)
        } - {''}
        long = {each for each in sentences if each.count(' ') + 1 >= LONG_SENTENCE}
        titles = set(map(words_of, gone['title'])) - {''}
        return cls(frozenset(gone['code']), frozenset(sentences), tuple(sorted(titles | long)))


def _sentences(text: str, column: str) -> list[str]:
    """Return the sentences of a text; of a list, its lines."""
    lines = text.splitlines()
    if column == 'description':
        return [sentence for line in lines for sentence in _SENTENCE_END.split(line) if sentence]
    return [line for line in lines if line]


def _cleaned(texts: pl.Series, secret: _Secret, column: str) -> list[str | None]:
    """Return texts without the sentences that give something away."""
    cleaned: list[str | None] = texts.to_list()
    phrases = [f' {phrase} ' for phrase in secret.phrases]
    # A text that lost a sentence is looked at again: what it stood between are neighbours now.
    at_work = [at for at, text in enumerate(cleaned) if text]
    while at_work:
        words = pl.Series([f' {words_of(cleaned[at] or "")} ' for at in at_work], dtype=pl.String)
        # One automaton for all phrases; only where one is found, its place is looked for.
        found = words.str.extract_many(phrases, overlapping=True)
        changed = []
        for at, phrases_in in zip(at_work, found, strict=True):
            before = cleaned[at] or ''
            cleaned[at] = _without(before, set(phrases_in), secret, column)
            if cleaned[at] and cleaned[at] != before:
                changed.append(at)
        at_work = changed
    return cleaned


def _without(text: str, phrases: Collection[str], secret: _Secret, column: str) -> str | None:
    """Return a text without the sentences that give something away, or None if none is left.

    Args:
        text: with one blank between words.
        phrases: those that stand in it, with a blank at both ends.
        secret: what must not be found.
        column: where it is from.
    """
    lines = text.splitlines()
    per_line = [_sentences(line, column) for line in lines]
    sentences = [sentence for line in per_line for sentence in line]
    dropped = _given_away(sentences, phrases, secret)
    if not dropped:
        return text
    left = []
    numbers = iter(range(len(sentences)))
    for line in per_line:
        kept = [sentence for sentence in line if next(numbers) not in dropped]
        if kept or not line:
            left.append(' '.join(kept))
    return re.sub(r'\n{3,}', '\n\n', '\n'.join(left)).strip() or None


def _given_away(sentences: Sequence[str], phrases: Collection[str], secret: _Secret) -> set[int]:
    """Return which sentences of a text give something away, by their numbers from 0."""
    words = [words_of(sentence) for sentence in sentences]
    given_away = {
        number
        for number, sentence in enumerate(sentences)
        if words[number] in secret.sentences or codes_named_in(sentence, secret.codes)
    }
    # A phrase can begin in one sentence and end in another: so it is looked for in the whole.
    whole = f' {" ".join(filter(None, words))} '
    ends = list(accumulate(len(each) + 1 if each else 0 for each in words))
    for phrase in phrases:
        for start in _places(phrase, whole):
            first, last = bisect_right(ends, start), bisect_right(ends, start + len(phrase) - 3)
            given_away.update(range(first, last + 1))
    return given_away


def _places(phrase: str, text: str) -> Iterator[int]:
    at = text.find(phrase)
    while at >= 0:
        yield at
        at = text.find(phrase, at + 1)
