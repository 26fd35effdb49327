"""The files that a training run is given under a protocol, made from the visible part alone.

A run that opens nothing else cannot meet a hidden code as anchor, positive, negative, node of a
graph or member of a cluster: it is in none of these files. Before a view is declared fit for use,
`leaks.py` proves that on what was written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from naics_model.checks import require
from naics_model.corpus import activities
from naics_model.corpus.descriptions import taxonomy_of
from naics_model.corpus.options import options_of
from naics_model.corpus.phrases import build_phrases
from naics_model.encoder.backbones import resolve_backbone
from naics_model.encoder.tokens import MAX_LENGTH, build_token_cache
from naics_model.errors import ConfigurationError, DataError
from naics_model.protocols.leaks import check_view
from naics_model.protocols.protocol import Protocol
from naics_model.protocols.redaction import (
    CLEANED,
    count_sentences,
    visible_activities,
    visible_descriptions,
    visible_phrases,
)
from naics_model.protocols.splits import check_code_splits, hidden_codes, read_code_splits
from naics_model.storage.files import read_json, read_parquet, sha256_of, write_json, write_parquet
from naics_model.storage.layout import EditionFolder
from naics_model.taxonomy.distances import distance_table
from naics_model.triplets.relation_index import build_relation_index

FILES = ('descriptions', 'activities', 'phrases', 'distances', 'relation_index', 'token_cache')
"""The files of a view, by the names of their assets."""

# To be raised when a view made before is no longer what this module would make of the same sources.
_RULES = 2

Progress = Callable[[str], None]


def build_view(
    folder: EditionFolder,
    protocol: Protocol,
    backbone: str,
    *,
    before: EditionFolder | None = None,
    progress: Progress = lambda _: None,
) -> EditionFolder:
    """Write what a training run under a protocol may read, unless it is there already.

    `view.json` is written last: a view that has one is whole, and was checked. Runs read it for
    what they were given: the protocol, the digests of the sources and of the files, how many codes
    are hidden and the digest of their list, how many sentences their traces cost.

    Args:
        folder: the edition's files.
        protocol: what the run may see.
        backbone: the text encoder that tokens are cut for.
        before: the files of the edition before, for a protocol that reads it.
        progress: takes a line for a person.

    Returns:
        The view, as an edition's folder with the `FILES`.

    Raises:
        ConfigurationError: the protocol reads the edition before, but none is given; or there is no
            such backbone.
        DataError: a file of the edition is missing or damaged.
        BrokenGuaranteeError: something hidden is left in the view.
    """
    source = _source(folder, protocol, before)
    view = folder.view(protocol.name)
    wanted = {
        'protocol': protocol.name,
        'edition': source.edition,
        'rules': _RULES,
        'backbone': backbone,
        'backbone_digest': resolve_backbone(backbone).digest,
        'max_length': MAX_LENGTH,
        'sources': {path.stem: sha256_of(path) for path in _source_files(source, protocol)},
    }
    if _is_there(view, wanted):
        progress(f'{view.path} is there and made from these files')
        return view
    view.view_record.unlink(missing_ok=True)

    everything = read_parquet(source.descriptions)
    hidden = _hidden(source, protocol, everything)
    visible = visible_descriptions(everything, hidden)
    entries = visible_activities(_entries(source, protocol), protocol, hidden)
    write_parquet(visible, view.descriptions)
    write_parquet(entries, view.activities)
    # The entries of the view lack the held-out ones, which must be known to be kept out: some train
    # entries hold one.
    phrases = build_phrases(visible, pl.concat([entries, _held_out(source, protocol)]))
    secret = everything.filter(pl.col('code').is_in(hidden))
    phrases = visible_phrases(phrases, secret)
    write_parquet(phrases, view.phrases)
    write_parquet(distance_table(taxonomy_of(visible)), view.distances)
    build_relation_index(view.descriptions, view.distances, view.relation_index)
    build_token_cache(view.descriptions, view.token_cache, backbone=backbone)
    require(check_view(view, source, protocol), view.view_record, 'report this')

    dropped = _dropped(everything, visible)
    facts = {
        'meaning': protocol.meaning,
        'visible_codes': visible.height,
        'hidden_codes': len(hidden),
        'hidden_codes_sha256': hashlib.sha256('\n'.join(sorted(hidden)).encode()).hexdigest(),
        'activities': entries.height,
        'phrases': phrases.height,
        'sentences_dropped': dropped,
        'files': _digests(view),
    }
    write_json({**wanted, **facts}, view.view_record)
    progress(
        f'Protocol {protocol.name}: {visible.height:,} codes and {entries.height:,} index entries '
        f'may be read; {len(hidden):,} codes are hidden, and {sum(dropped.values()):,} sentences '
        'of others that tell of them'
    )
    return view


def _source(
    folder: EditionFolder, protocol: Protocol, before: EditionFolder | None
) -> EditionFolder:
    """Return the edition that a protocol reads."""
    if not protocol.of_edition_before:
        return folder
    if before is None:
        raise ConfigurationError(
            f'Protocol {protocol.name} reads the edition before {folder.edition}, and there is '
            'none: choose an edition that has one, such as 2022, or another protocol.'
        )
    return before


def _source_files(source: EditionFolder, protocol: Protocol) -> list[Path]:
    """Return the files that a view is made from, or held against."""
    names = ['descriptions']
    if not protocol.of_edition_before:
        names.append('activities')
    if protocol.hides:
        names.append('code_splits')
    for name in names:
        if not source.file(name).is_file():
            raise DataError(
                f'{source.file(name)} does not exist, but protocol {protocol.name} needs it: run '
                f'naics data {options_of(source.edition, source.root)} --through {name} first.'
            )
    return [source.file(name) for name in names]


def _is_there(view: EditionFolder, wanted: Mapping[str, Any]) -> bool:
    """Say whether a view is whole and made from what is wanted."""
    if not view.view_record.is_file() or not all(view.file(name).is_file() for name in FILES):
        return False
    record = read_json(view.view_record)
    same = all(record.get(name) == value for name, value in wanted.items())
    return same and record.get('files') == _digests(view)


def _digests(view: EditionFolder) -> dict[str, str]:
    return {name: sha256_of(view.file(name)) for name in FILES}


def _hidden(source: EditionFolder, protocol: Protocol, everything: pl.DataFrame) -> list[str]:
    """Return the codes that a protocol hides, by splits that keep their guarantees."""
    if protocol.hides is None:
        return []
    splits = read_code_splits(source.code_splits)
    require(
        check_code_splits(splits, everything),
        source.view(protocol.name).view_record,
        f'run naics data {options_of(source.edition, source.root)} --through code_splits again',
    )
    return hidden_codes(splits, protocol.hides)


def _entries(source: EditionFolder, protocol: Protocol) -> pl.DataFrame:
    if protocol.activities:
        return read_parquet(source.activities)
    return pl.DataFrame(schema=activities.TABLE.schema)


def _held_out(source: EditionFolder, protocol: Protocol) -> pl.DataFrame:
    """Return the held-out entries that a run is asked about; none of the edition before is."""
    if protocol.of_edition_before:
        return pl.DataFrame(schema=activities.TABLE.schema)
    return read_parquet(source.activities).filter(split='heldout')


def _dropped(everything: pl.DataFrame, visible: pl.DataFrame) -> dict[str, int]:
    """Return how many sentences the visible codes lost, by column."""
    before = count_sentences(everything.filter(pl.col('code').is_in(visible['code'].implode())))
    after = count_sentences(visible)
    return {column: before[column] - after[column] for column in CLEANED}
