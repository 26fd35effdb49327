"""The steps from workbooks to what training reads; each writes one file of an edition's folder.

What belongs here: which files a step reads, which function of the library makes its output, which
guarantees must hold before that output takes its name, and what there is to say of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import polars as pl

from naics_model.checks import Check, require
from naics_model.corpus.activities import build_activities
from naics_model.corpus.concordance import build_concordance, count_changes
from naics_model.corpus.descriptions import build_descriptions, taxonomy_of
from naics_model.corpus.download import fetch_workbook, source_path
from naics_model.corpus.editions import edition
from naics_model.corpus.phrases import candidate_phrases, kept_phrases
from naics_model.dataset.checks import TABLES, Tables
from naics_model.dataset.pictures import histogram
from naics_model.encoder.tokens import build_token_cache
from naics_model.protocols.splits import SPLITS, build_code_splits
from naics_model.storage.files import read_parquet, sha256_of, write_parquet
from naics_model.storage.layout import EditionFolder
from naics_model.taxonomy.distances import distance_table
from naics_model.taxonomy.relations import relation_table
from naics_model.triplets.build import build_triplets
from naics_model.triplets.hardness import HARDNESS
from naics_model.triplets.relation_index import build_relation_index

Progress = Callable[[str], None]
Fact = int | str | tuple[str, ...] | pl.DataFrame | bytes
"""Of more than a number or a word: lines, a table, or a picture as PNG."""

CORPUS_WORKBOOKS = ('codes', 'descriptions', 'cross_references')


@dataclass(frozen=True)
class Made:
    """What a step made.

    Attributes:
        path: the file.
        version: the identity of its content, equal for equal content.
        facts: what a person wants to know of it, by name.
        checks: what its checks said before it was written; the blocking ones have all passed.
        remarks: what a person should know of it at once.
    """

    path: Path
    version: str
    facts: Mapping[str, Fact] = field(default_factory=dict)
    checks: Sequence[Check] = ()
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class Step:
    """A step of an edition, ready to run.

    Attributes:
        name: the name of its asset.
        run: does it, and tells in words how far it is.
    """

    name: str
    run: Callable[[Progress], Made]


def steps_of(folder: EditionFolder, source_dir: Path | None, backbone: str) -> list[Step]:
    """Return the steps of an edition, each after those whose files it reads.

    Args:
        folder: the edition's files.
        source_dir: a folder of workbooks that is read in place of the network.
        backbone: the text encoder that the token cache is cut for.

    Raises:
        ConfigurationError: there is no such edition.
    """
    books = edition(folder.edition).workbooks
    fetching = [
        Step(f'{kind}_workbook', partial(fetch, folder, kind, source_dir)) for kind in books
    ]
    mapping = [Step('concordance', lambda _: concordance(folder))] if 'concordance' in books else []
    return [
        *fetching,
        Step('descriptions', lambda _: descriptions(folder)),
        Step('activities', lambda _: activities(folder)),
        Step('phrases', lambda _: phrases(folder)),
        Step('code_splits', lambda _: code_splits(folder)),
        *mapping,
        Step('distances', lambda _: distances(folder)),
        Step('relations', lambda _: relations(folder)),
        Step('triplets', partial(triplets, folder)),
        Step('relation_index', lambda _: relation_index(folder)),
        Step('token_cache', lambda _: token_cache(folder, backbone)),
    ]


def fetch(folder: EditionFolder, kind: str, source_dir: Path | None, progress: Progress) -> Made:
    """Bring one workbook into the edition's source folder.

    Args:
        folder: the edition's files.
        kind: its name in editions.toml, such as `codes`.
        source_dir: a folder of workbooks that is read in place of the network.
        progress: takes a line for a person at each step.

    Raises:
        SourceError: it could not be had, or is not the workbook that the edition describes.
    """
    fetched = fetch_workbook(
        edition(folder.edition), kind, folder.source, source_dir=source_dir, progress=progress
    )
    digest = {True: 'yes', False: 'no: new content', None: 'no digest on record'}[fetched.known]
    return Made(
        fetched.path,
        fetched.sha256,
        {
            'origin': fetched.origin,
            'etag': fetched.etag or '',
            'last_modified': fetched.last_modified or '',
            'sha256': fetched.sha256,
            'known_release': digest,
        },
        remarks=['not the bytes that this release was tested with'] * (fetched.known is False),
    )


def descriptions(folder: EditionFolder) -> Made:
    """Write the codes and their texts.

    Raises:
        WorkbookError: a workbook is missing or has another layout.
        DataError: the workbooks contradict each other, or break a guarantee.
    """
    current = edition(folder.edition)
    paths = [source_path(current, kind, folder.source) for kind in CORPUS_WORKBOOKS]
    table = build_descriptions(current, *paths)
    facts: dict[str, Fact] = {
        'codes_per_level': table['level'].value_counts().sort('level'),
        'with_examples': table['examples'].count(),
        'with_exclusions': table['excluded'].count(),
    }
    return _put(folder, 'descriptions', table, {}, CORPUS_WORKBOOKS, facts)


def activities(folder: EditionFolder) -> Made:
    """Write the index entries and their split.

    Raises:
        WorkbookError: the workbook is missing or has another layout.
        DataError: it breaks a guarantee, or the descriptions are missing.
    """
    current, codes = edition(folder.edition), read_parquet(folder.descriptions)
    table = build_activities(current, source_path(current, 'index', folder.source), codes)
    facts: dict[str, Fact] = {
        'codes': table['code'].n_unique(),
        'split': table['split'].value_counts().sort('split'),
        'verbatim_in_description': int(table['verbatim'].sum()),
    }
    return _put(folder, 'activities', table, {'descriptions': codes}, ['index'], facts)


def phrases(folder: EditionFolder) -> Made:
    """Write the labelled phrases that may be learned from.

    Raises:
        DataError: descriptions or activities are missing, or the phrases break a guarantee.
    """
    others = {name: read_parquet(folder.file(name)) for name in ('descriptions', 'activities')}
    candidates = candidate_phrases(others['descriptions'], others['activities'])
    table = kept_phrases(candidates)
    levels = table.with_columns(level=pl.col('code').str.len_chars())
    facts: dict[str, Fact] = {
        'split': _counted(table, 'source', 'split'),
        'phrases_per_level': _counted(levels, 'source', 'level'),
        'left_out': _counted(candidates.drop_nulls('left_out'), 'source', 'left_out'),
    }
    return _put(folder, 'phrases', table, others, [], facts)


def _counted(phrases: pl.DataFrame, *by: str) -> pl.DataFrame:
    """Return how many phrases there are of each kind, in a fixed order."""
    return phrases.group_by(by).agg(pl.len().alias('phrases')).sort(by)


def code_splits(folder: EditionFolder) -> Made:
    """Write which codes are held out.

    Raises:
        DataError: the descriptions are missing, or no code may be held out.
    """
    codes = read_parquet(folder.descriptions)
    table = build_code_splits(codes)
    held_out = pl.concat(
        [
            table.filter(pl.col(split) == 'heldout')
            .group_by(level=pl.col('code').str.len_chars())
            .agg(pl.lit(split).alias('split'), pl.len().alias('heldout'))
            .select('split', 'level', 'heldout')
            .sort('level')
            for split in SPLITS
        ]
    )
    return _put(
        folder, 'code_splits', table, {'descriptions': codes}, [], {'held_out_per_level': held_out}
    )


def concordance(folder: EditionFolder) -> Made:
    """Write what the codes of the edition before became in this one.

    Raises:
        ConfigurationError: the edition has no concordance.
        WorkbookError: the workbook is missing or has another layout.
        DataError: it breaks a guarantee, or the descriptions are missing.
    """
    current, codes = edition(folder.edition), read_parquet(folder.descriptions)
    table = build_concordance(current, source_path(current, 'concordance', folder.source))
    return _put(
        folder, 'concordance', table, {'descriptions': codes}, ['concordance'], count_changes(table)
    )


def distances(folder: EditionFolder) -> Made:
    """Write the curriculum distance of each pair of codes.

    Raises:
        DataError: the descriptions are missing, or their codes are no tree.
    """
    codes = read_parquet(folder.descriptions)
    table = distance_table(taxonomy_of(codes))
    pairs = table['distance'].value_counts(name='pairs').sort('distance')
    picture = histogram(
        {f'{distance:.1f}': count for distance, count in pairs.iter_rows()},
        f'Pairs of edition {folder.edition} by curriculum distance',
        'pairs',
    )
    return _put(
        folder,
        'distances',
        table,
        {'descriptions': codes},
        [],
        {'histogram': picture, 'pairs': pairs},
    )


def relations(folder: EditionFolder) -> Made:
    """Write the kinship of each pair of codes of one sector.

    Raises:
        DataError: the descriptions are missing, or their codes are no tree.
    """
    codes = read_parquet(folder.descriptions)
    table = relation_table(taxonomy_of(codes))
    pairs = table.group_by('relation_id', 'relation').agg(pl.len().alias('pairs'))
    return _put(
        folder,
        'relations',
        table,
        {'descriptions': codes},
        [],
        {'pairs': pairs.sort('relation_id')},
    )


def triplets(folder: EditionFolder, progress: Progress) -> Made:
    """Write all triplets with their hardness.

    Raises:
        DataError: descriptions or distances are missing or contradict each other.
        ConfigurationError: there is too little memory.
    """
    summary = build_triplets(
        folder.descriptions, folder.distances, folder.triplets, progress=progress
    )
    counts = summary.rows_by_hardness
    return Made(
        folder.triplets,
        # Not the bytes' digest: rows are written in parallel, in no fixed order.
        summary.digest,
        {
            'histogram': histogram(
                {f'{level} {HARDNESS[level]}': count for level, count in counts.items()},
                f'Triplets of edition {folder.edition} by hardness',
                'triplets',
            ),
            'by_hardness': pl.DataFrame(
                {'hardness': list(counts), 'triplets': list(counts.values())}
            ),
            'examples': summary.examples,
        },
    )


def relation_index(folder: EditionFolder) -> Made:
    """Write what the sampler reads.

    Raises:
        DataError: descriptions or distances are missing or contradict each other.
    """
    index = build_relation_index(folder.descriptions, folder.distances, folder.relation_index)
    return _file(
        folder.relation_index, codes=len(index.codes), exclusions=len(index.exclusion_targets)
    )


def token_cache(folder: EditionFolder, backbone: str) -> Made:
    """Write the tokens of all texts.

    Args:
        folder: the edition's files.
        backbone: the text encoder whose tokenizer cuts them.

    Raises:
        ConfigurationError: there is no such backbone.
        SourceError: it could not be had.
        DataError: the descriptions are missing.
    """
    cache = build_token_cache(folder.descriptions, folder.token_cache, backbone=backbone)
    channels = [
        {
            'channel': name,
            'texts': int((ragged.lengths > 0).sum()),
            'tokens': int(ragged.lengths.sum()),
            'truncated': cache.truncated[name],
        }
        for name, ragged in cache.channels.items()
    ]
    return _file(
        folder.token_cache,
        backbone=cache.backbone,
        max_length=cache.max_length,
        channels=pl.DataFrame(channels),
    )


def _put(
    folder: EditionFolder,
    name: str,
    rows: pl.DataFrame,
    others: Tables,
    workbooks: Sequence[str],
    facts: Mapping[str, Fact],
) -> Made:
    """Write a table, unless it breaks a guarantee; the file that was there stays then.

    Args:
        folder: the edition's files.
        name: of the table.
        rows: its new content.
        others: the tables that its checks hold it against.
        workbooks: the kinds that it was read from.
        facts: see `Made`.
    """
    current, path = edition(folder.edition), folder.file(name)
    checks = TABLES[name].check(rows, others, current)
    books = [source_path(current, kind, folder.source).name for kind in workbooks]
    require(
        checks,
        path,
        f'compare {", ".join(books)} in {folder.source} with the published ones'
        if books
        else f'build {_these(folder, others)} again, and report this if it comes back',
    )
    write_parquet(rows, path)
    return Made(path, sha256_of(path), facts, checks)


def _these(folder: EditionFolder, tables: Iterable[str]) -> str:
    return ' and '.join(str(folder.file(name)) for name in tables)


def _file(path: Path, **facts: Fact) -> Made:
    return Made(path, sha256_of(path), facts)
