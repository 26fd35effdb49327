"""The steps from workbooks to what training reads; each writes one file of an edition's folder.

What belongs here: which files a step reads, which function of the library makes its output, which
guarantees must hold before that output takes its name, and what there is to say of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import polars as pl

from naics_model.checks import require
from naics_model.corpus.activities import build_activities, check_activities
from naics_model.corpus.concordance import build_concordance, changes, check_concordance
from naics_model.corpus.descriptions import build_descriptions, check_descriptions, taxonomy_of
from naics_model.corpus.download import fetch_workbook, source_path
from naics_model.corpus.editions import edition
from naics_model.encoder.tokens import build_token_cache
from naics_model.storage.files import read_parquet, sha256_of, write_parquet
from naics_model.storage.layout import EditionFolder
from naics_model.taxonomy.distances import distance_table
from naics_model.taxonomy.relations import relation_table
from naics_model.triplets.build import build_triplets
from naics_model.triplets.relation_index import build_relation_index

Progress = Callable[[str], None]
Fact = int | str | tuple[str, ...] | pl.DataFrame

CORPUS_WORKBOOKS = ('codes', 'descriptions', 'cross_references')
_COMPARE = (
    'compare {books} in {folder} with the published workbooks, or correct edition {edition} in '
    'naics_model/corpus/editions.toml'
)


@dataclass(frozen=True)
class Made:
    """What a step made.

    Attributes:
        path: the file.
        version: the identity of its content, equal for equal content.
        facts: what a person wants to know of it, by name.
    """

    path: Path
    version: str
    facts: Mapping[str, Fact] = field(default_factory=dict)


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
    known = {True: 'yes', False: 'NO: new content', None: 'no digest on record'}[fetched.known]
    return Made(
        fetched.path,
        fetched.sha256,
        {
            'origin': fetched.origin,
            'etag': fetched.etag or '',
            'last_modified': fetched.last_modified or '',
            'sha256': fetched.sha256,
            'known_release': known,
        },
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
    require(
        check_descriptions(table, current), folder.descriptions, _compare(folder, CORPUS_WORKBOOKS)
    )
    write_parquet(table, folder.descriptions)
    return _file(
        folder.descriptions,
        codes_per_level=table['level'].value_counts().sort('level'),
        with_examples=table['examples'].count(),
        with_exclusions=table['excluded'].count(),
    )


def activities(folder: EditionFolder) -> Made:
    """Write the index entries and their split.

    Raises:
        WorkbookError: the workbook is missing or has another layout.
        DataError: it breaks a guarantee, or the descriptions are missing.
    """
    current, codes = edition(folder.edition), read_parquet(folder.descriptions)
    table = build_activities(current, source_path(current, 'index', folder.source), codes)
    require(check_activities(table, codes), folder.activities, _compare(folder, ['index']))
    write_parquet(table, folder.activities)
    return _file(
        folder.activities,
        codes=table['code'].n_unique(),
        split=table['split'].value_counts().sort('split'),
        verbatim_in_description=int(table['verbatim'].sum()),
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
    require(check_concordance(table, codes), folder.concordance, _compare(folder, ['concordance']))
    write_parquet(table, folder.concordance)
    return _file(folder.concordance, **changes(table))


def distances(folder: EditionFolder) -> Made:
    """Write the curriculum distance of each pair of codes.

    Raises:
        DataError: the descriptions are missing, or their codes are no tree.
    """
    table = distance_table(taxonomy_of(read_parquet(folder.descriptions)))
    write_parquet(table, folder.distances)
    return _file(folder.distances, histogram=table['distance'].value_counts().sort('distance'))


def relations(folder: EditionFolder) -> Made:
    """Write the kinship of each pair of codes of one sector.

    Raises:
        DataError: the descriptions are missing, or their codes are no tree.
    """
    table = relation_table(taxonomy_of(read_parquet(folder.descriptions)))
    write_parquet(table, folder.relations)
    pairs = table.group_by('relation_id', 'relation').agg(pl.len().alias('pairs'))
    return _file(folder.relations, pairs=pairs.sort('relation_id'))


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


def _compare(folder: EditionFolder, kinds: Sequence[str]) -> str:
    current = edition(folder.edition)
    books = ', '.join(source_path(current, kind, folder.source).name for kind in kinds)
    return _COMPARE.format(books=books, folder=folder.source, edition=folder.edition)


def _file(path: Path, **facts: Fact) -> Made:
    return Made(path, sha256_of(path), facts)
