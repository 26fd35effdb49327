"""The checks of an edition's files, before they are written and as they stand on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from naics_model.checks import Check
from naics_model.corpus import activities, concordance, descriptions
from naics_model.corpus.editions import Edition, edition
from naics_model.curriculum.checks import check_sampled_items, sampled_items_are_rows
from naics_model.curriculum.stage import BUILT_IN, load_stage
from naics_model.errors import DataError
from naics_model.storage.files import read_parquet
from naics_model.storage.layout import EditionFolder
from naics_model.storage.tables import Table
from naics_model.taxonomy import distances, relations
from naics_model.taxonomy.checks import check_distances, check_relations
from naics_model.triplets.relation_index import RelationIndex

CheckTable = Callable[[pl.DataFrame, pl.DataFrame, Edition], list[Check]]
"""From a table, the edition's descriptions, and what is known of the edition."""

TABLES: dict[str, tuple[Table, CheckTable]] = {
    'descriptions': (
        descriptions.TABLE,
        lambda rows, _, current: descriptions.check_descriptions(rows, current),
    ),
    'activities': (
        activities.TABLE,
        lambda rows, codes, _: activities.check_activities(rows, codes),
    ),
    'concordance': (
        concordance.TABLE,
        lambda rows, codes, _: concordance.check_concordance(rows, codes),
    ),
    'distances': (
        distances.TABLE,
        lambda rows, codes, _: check_distances(rows, descriptions.taxonomy_of(codes)),
    ),
    'relations': (
        relations.TABLE,
        lambda rows, codes, _: check_relations(rows, descriptions.taxonomy_of(codes)),
    ),
}
"""Name of a table -> its columns and its checks."""


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


def _checked(table: Table, check: CheckTable) -> Checked:
    def run(folder: EditionFolder) -> list[Check]:
        codes = _read(folder, descriptions.TABLE)
        rows = codes if table is descriptions.TABLE else _read(folder, table)
        return check(rows, codes, edition(folder.edition))

    def known() -> list[Check]:
        empty, no_codes = (pl.DataFrame(schema=each.schema) for each in (table, descriptions.TABLE))
        return check(empty, no_codes, edition('sample'))

    return Checked(run, known)


def _sampled(folder: EditionFolder) -> list[Check]:
    index = RelationIndex.load(folder.relation_index)
    stages = [load_stage(str(path)) for path in sorted(BUILT_IN.glob('*.yaml'))]
    return [check_sampled_items(index, folder.triplets, stages)]


CHECKED = {
    **{name: _checked(*table) for name, table in TABLES.items()},
    'relation_index': Checked(
        _sampled, lambda: [sampled_items_are_rows(pl.DataFrame())], also_reads=('triplets',)
    ),
}
"""Name of an asset -> the checks of its file."""


def _read(folder: EditionFolder, table: Table) -> pl.DataFrame:
    path = folder.file(table.name)
    frame = read_parquet(path)
    if frame.schema != table.schema:
        differing = sorted(
            name
            for name in {*frame.schema, *table.schema}
            if frame.schema.get(name) != table.schema.get(name)
        )
        raise DataError(
            f'{path} has not the columns that this release writes ({", ".join(differing)} '
            f'{"differ" if len(differing) > 1 else "differs"}): build it again.'
        )
    return frame
