"""Proof that nothing hidden is in the files that a training run is given.

It looks at the files themselves, and takes nothing from `redaction.py` but what counts as a long
sentence: what is wrong there must not be wrong here, too.
"""

from __future__ import annotations

import polars as pl

from naics_model.checks import Check, no_rows
from naics_model.encoder.tokens import TokenCache, content_digest
from naics_model.protocols.protocol import Protocol
from naics_model.protocols.redaction import LONG_SENTENCE
from naics_model.protocols.splits import hidden_codes, read_code_splits
from naics_model.storage.files import read_parquet
from naics_model.storage.layout import EditionFolder
from naics_model.triplets.relation_index import RelationIndex

_TEXTS = ('title', 'description', 'examples', 'excluded')
_PLACE = ('code', 'column')


def check_view(view: EditionFolder, source: EditionFolder, protocol: Protocol) -> list[Check]:
    """Check that a view holds the visible codes, and of the hidden ones nothing. All are blocking.

    Args:
        view: the files to check.
        source: the edition that they were made from; of a protocol that reads the edition before,
            that one.
        protocol: what the view is for.

    Raises:
        DataError: a file is missing or damaged.
    """
    everything = read_parquet(source.descriptions)
    hidden = (
        hidden_codes(read_code_splits(source.code_splits), protocol.hides) if protocol.hides else []
    )
    secret = everything.filter(pl.col('code').is_in(hidden))
    rows = read_parquet(view.descriptions)
    held_out = _held_out(source, protocol)
    return [
        _visible_codes(view, everything.filter(~pl.col('code').is_in(hidden))['code']),
        *check_texts(rows, secret),
        _tokens(view, rows),
        *_entries(view, protocol, hidden, rows, held_out),
        *_phrases(view, rows, secret, held_out),
    ]


def check_texts(rows: pl.DataFrame, secret: pl.DataFrame) -> list[Check]:
    """Check that the texts of some codes give nothing away of others.

    Args:
        rows: the visible rows of descriptions.
        secret: the rows of the hidden codes.
    """
    texts = _texts(rows)
    read = texts.filter(pl.col('column') != 'title')
    named = pl.concat(
        [
            read.select(*_PLACE, found=pl.col('text').str.extract_all(r'\d+')),
            rows.select('code', pl.lit('excluded_codes').alias('column'), found='excluded_codes'),
            rows.select('code', pl.lit('parent').alias('column'), found=pl.concat_list('parent')),
        ]
    )
    titles = secret.select(_as_words('title')).to_series()
    secret_texts = _texts(secret).filter(pl.col('column') != 'title')
    sentences = _sentences(secret_texts)['words']
    long = sentences.filter(sentences.str.count_matches(' ') > LONG_SENTENCE)
    same = _sentences(read).filter(pl.col('words').is_in(sentences.implode()))
    title = texts.filter(pl.col('column') == 'title', pl.col('words').is_in(titles.implode()))
    return [
        no_rows(
            'no_hidden_number',
            named.explode('found').filter(pl.col('found').is_in(secret['code'].implode())),
            'No text and no list of a visible code names a hidden code.',
            'Places name a hidden code',
        ),
        no_rows(
            'no_hidden_title',
            pl.concat([_holding(read, titles), title.select(*_PLACE, 'words')]),
            'No text of a visible code holds the title of a hidden code, and no title is one.',
            'Texts hold the title of a hidden code',
        ),
        no_rows(
            'no_hidden_sentence',
            pl.concat([same, _holding(read, long)]),
            'No text of a visible code holds a sentence of a hidden code.',
            'Texts hold a sentence of a hidden code',
        ),
    ]


def _visible_codes(view: EditionFolder, expected: pl.Series) -> Check:
    pairs = pl.scan_parquet(view.distances)
    found = {
        'descriptions': read_parquet(view.descriptions)['code'],
        'distances': pl.concat([pairs.select(code=end) for end in ('code_i', 'code_j')])
        .unique()
        .collect()['code'],
        'relation_index': pl.Series(RelationIndex.load(view.relation_index).codes),
    }
    differing = [
        pl.DataFrame({'code': sorted(set(codes) ^ set(expected))}, {'code': pl.String}).select(
            pl.lit(file).alias('file'), 'code'
        )
        for file, codes in found.items()
    ]
    return no_rows(
        'only_visible_codes',
        pl.concat(differing),
        'Texts, distances and relations are of the visible codes and of no other.',
        'Codes are missing, or are there and should not be',
    )


def _tokens(view: EditionFolder, rows: pl.DataFrame) -> Check:
    cache = TokenCache.load(view.token_cache)
    found = {'codes': len(cache), 'content': cache.content}
    wanted = {'codes': rows.height, 'content': content_digest(rows)}
    return no_rows(
        'tokens_of_these_texts',
        pl.DataFrame([] if found == wanted else [found]),
        'The tokens are those of the visible texts.',
        'Token caches are of other texts',
    )


def _held_out(source: EditionFolder, protocol: Protocol) -> pl.DataFrame:
    """Return text and words of the index entries that are held out."""
    texts = pl.DataFrame(schema={'text': pl.String})
    if not protocol.of_edition_before:
        # Of the edition before, no entry is asked about: its own split is not at stake.
        texts = read_parquet(source.activities).filter(split='heldout').select('text')
    return texts.with_columns(words=_as_words('text'))


def _entries(
    view: EditionFolder,
    protocol: Protocol,
    hidden: list[str],
    rows: pl.DataFrame,
    held_out: pl.DataFrame,
) -> list[Check]:
    """Check the index entries that may be read, and that no text holds one that may not."""
    entries = read_parquet(view.activities)
    return [
        no_rows(
            'only_train_entries',
            entries.filter(
                (pl.col('split') != 'train')
                | pl.col('code').is_in(hidden)
                | ~pl.lit(protocol.activities)
                | pl.col('text').is_in(held_out['text'].implode())
            ),
            'No index entry is there that is held out, of a hidden code, or not to be read at all.',
            'Index entries are held out, of a hidden code, or not to be read at all',
        ),
        no_rows(
            'no_held_out_entry',
            _holding(_texts(rows), held_out['words']),
            'No text of a visible code holds a held-out index entry.',
            'Texts hold a held-out index entry',
        ),
    ]


def _phrases(
    view: EditionFolder, rows: pl.DataFrame, secret: pl.DataFrame, held_out: pl.DataFrame
) -> list[Check]:
    """Check that the phrases are of visible codes and entries, and give nothing hidden away."""
    phrases = read_parquet(view.phrases).with_columns(
        pl.lit('phrases').alias('column'), words=_as_words('text')
    )
    entries = read_parquet(view.activities).select('code', words=_as_words('text'))
    of_no_entry = phrases.filter(source='entry').join(entries, on=['code', 'words'], how='anti')
    # With a blank at both ends, an entry of two words has three.
    long = held_out['words'].filter(held_out['words'].str.count_matches(' ') > 2)
    equal = phrases.filter(pl.col('words').is_in(held_out['words'].implode()))
    return [
        no_rows(
            'phrases_of_visible_codes',
            phrases.join(rows, on='code', how='anti').select('text', 'code', 'source'),
            'Every phrase is of a visible code.',
            'Phrases are of other codes than the visible ones',
        ),
        no_rows(
            'phrases_of_visible_entries',
            of_no_entry.select('text', 'code', 'source'),
            'Every phrase from the index is an index entry that may be read.',
            'Phrases are from index entries that may not be read',
        ),
        no_rows(
            'no_hidden_title_in_phrases',
            _holding(phrases, secret.select(_as_words('title')).to_series()),
            'No phrase is the title of a hidden code, or holds one.',
            'Phrases hold the title of a hidden code',
        ),
        no_rows(
            'no_held_out_entry_in_phrases',
            pl.concat([equal.select(*_PLACE, 'words'), _holding(phrases, long)]),
            'No phrase is a held-out index entry, or holds one of two words or more.',
            'Phrases hold a held-out index entry',
        ),
    ]


def _texts(rows: pl.DataFrame) -> pl.DataFrame:
    """Return code, column, text and words: each text that there is."""
    return (
        rows.unpivot(on=_TEXTS, index='code', variable_name='column', value_name='text')
        .drop_nulls('text')
        .with_columns(words=_as_words('text'))
    )


def _sentences(texts: pl.DataFrame) -> pl.DataFrame:
    """Return code, column and words of each sentence of texts; of a list, of each line."""
    ended = pl.col('text').str.replace_all(r'([^A-Z][.;])\s+', '$1\n')
    return (
        texts.select(
            *_PLACE,
            text=pl.when(pl.col('column') == 'description')
            .then(ended)
            .otherwise('text')
            .str.split('\n'),
        )
        .explode('text')
        .select(*_PLACE, words=_as_words('text'))
        .filter(pl.col('words') != '  ')
    )


def _holding(texts: pl.DataFrame, phrases: pl.Series) -> pl.DataFrame:
    """Return code, column and the first of the phrases in `words`, of texts that hold one."""
    if phrases.is_empty():
        return texts.clear().select(*_PLACE, 'words')
    found = pl.col('words').str.extract_many(phrases.unique().implode(), overlapping=True)
    return texts.select(*_PLACE, words=found.list.first()).drop_nulls('words')


def _as_words(column: str) -> pl.Expr:
    """Return a column as words between single blanks, with one at both ends."""
    words = pl.col(column).str.to_lowercase().str.replace_all(r'[^\p{L}\p{N}]+', ' ')
    return pl.format(' {} ', words.str.strip_chars(' '))
