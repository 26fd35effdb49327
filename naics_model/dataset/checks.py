"""The checks of an edition's files, before they are written and as they stand on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from naics_model.checks import Check
from naics_model.corpus import activities, concordance, descriptions, phrases
from naics_model.corpus.editions import Edition, edition
from naics_model.curriculum.checks import check_relation_index
from naics_model.curriculum.checks import known_checks as known_index_checks
from naics_model.curriculum.stage import BUILT_IN, load_stage
from naics_model.errors import ConfigurationError, DataError
from naics_model.protocols import splits
from naics_model.storage.files import read_parquet, scan_parquet
from naics_model.storage.layout import EditionFolder
from naics_model.storage.tables import Table
from naics_model.taxonomy import distances, relations
from naics_model.taxonomy.checks import check_distances, check_relations
from naics_model.triplets import build as triplets
from naics_model.triplets.checks import check_triplets
from naics_model.triplets.checks import known_checks as known_triplet_checks
from naics_model.triplets.relation_index import RelationIndex

Tables = Mapping[str, pl.DataFrame]
"""Name of a table -> its rows."""


@dataclass(frozen=True)
class TableChecks:
    """A table that is written by a step, with its checks.

    Attributes:
        table: its columns.
        check: takes its rows, the tables of `against`, and what is known of the edition.
        against: the tables of the same edition that the checks hold it against, by name.
    """

    table: Table
    check: Callable[[pl.DataFrame, Tables, Edition], list[Check]]
    against: tuple[str, ...] = ('descriptions',)


TABLES = {
    checked.table.name: checked
    for checked in (
        TableChecks(
            descriptions.TABLE,
            lambda rows, _, current: descriptions.check_descriptions(rows, current),
            against=(),
        ),
        TableChecks(
            activities.TABLE,
            lambda rows, others, _: activities.check_activities(rows, others['descriptions']),
        ),
        TableChecks(
            phrases.TABLE,
            lambda rows, others, _: phrases.check_phrases(
                rows, others['descriptions'], others['activities']
            ),
            against=('descriptions', 'activities'),
        ),
        TableChecks(
            splits.TABLE,
            lambda rows, others, _: splits.check_code_splits(rows, others['descriptions']),
        ),
        TableChecks(
            concordance.TABLE,
            lambda rows, others, _: concordance.check_concordance(rows, others['descriptions']),
        ),
        TableChecks(
            distances.TABLE,
            lambda rows, others, _: check_distances(
                rows, descriptions.taxonomy_of(others['descriptions'])
            ),
        ),
        TableChecks(
            relations.TABLE,
            lambda rows, others, _: check_relations(
                rows, descriptions.taxonomy_of(others['descriptions'])
            ),
        ),
    )
}
"""Name of a table -> its columns and its checks, in the order in which tables are built."""


@dataclass(frozen=True)
class Checked:
    """A file with checks.

    Attributes:
        run: checks an edition's file, and raises DataError where one cannot be read.
        known: says which checks there are, without a file.
        also_reads: other files, by the names of their assets, that the checks hold it against.
    """

    run: Callable[[EditionFolder], list[Check]]
    known: Callable[[], list[Check]]
    also_reads: tuple[str, ...] = ()


def _checked(checks: TableChecks) -> Checked:
    def run(folder: EditionFolder) -> list[Check]:
        # The others first: where they are not fit for use, that is what a person must know.
        others = {name: _read(folder, TABLES[name].table) for name in checks.against}
        return checks.check(_read(folder, checks.table), others, edition(folder.edition))

    def known() -> list[Check]:
        others = {name: _empty(TABLES[name].table) for name in checks.against}
        return checks.check(_empty(checks.table), others, edition('sample'))

    # Every table follows from the descriptions, which the graph knows without being told.
    return Checked(run, known, tuple(name for name in checks.against if name != 'descriptions'))


def _empty(table: Table) -> pl.DataFrame:
    return pl.DataFrame(schema=table.schema)


def _check_relation_index(folder: EditionFolder) -> list[Check]:
    path = folder.relation_index
    index, codes = RelationIndex.load(path), _read(folder, descriptions.TABLE)
    if index.codes != tuple(codes['code']):
        raise DataError(f'{path} is of other codes than {folder.descriptions}: build it again.')
    stages = [load_stage(str(stage)) for stage in sorted(BUILT_IN.glob('*.yaml'))]
    try:
        return check_relation_index(index, folder.triplets, stages)
    except ConfigurationError as error:
        # The stages are right; so it is the index that is not.
        raise DataError(f'{path} cannot be drawn from ({error}) Build it again.') from error


def _check_triplets(folder: EditionFolder) -> list[Check]:
    path = folder.triplets
    if not path.is_file():
        raise DataError(f'{path} does not exist: run the step that writes it first.')
    codes = _read(folder, descriptions.TABLE)
    try:
        schema = scan_parquet(path).collect_schema()
    except pl.exceptions.PolarsError as error:
        reason = str(error).partition('\n')[0]
        raise DataError(f'{path} is damaged ({reason}): build it again.') from None
    _same_columns(path, schema, triplets.TABLE)
    return check_triplets(path, len(codes))


CHECKED = {
    **{name: _checked(checks) for name, checks in TABLES.items()},
    'triplets': Checked(_check_triplets, known_triplet_checks),
    'relation_index': Checked(_check_relation_index, known_index_checks, also_reads=('triplets',)),
}
"""Name of an asset -> the checks of its file."""


def _read(folder: EditionFolder, table: Table) -> pl.DataFrame:
    path = folder.file(table.name)
    frame = read_parquet(path)
    _same_columns(path, frame.schema, table)
    return frame


def _same_columns(path: Path, found: pl.Schema, table: Table) -> None:
    if found != table.schema:
        differing = sorted(
            name for name in {*found, *table.schema} if found.get(name) != table.schema.get(name)
        )
        raise DataError(
            f'{path} has not the columns that this release writes ({", ".join(differing)} '
            f'{"differ" if len(differing) > 1 else "differs"}): build it again.'
        )
