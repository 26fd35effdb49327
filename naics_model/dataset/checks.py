"""The checks of every table of an edition, run on the files as they stand on disk."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from naics_model.checks import Check
from naics_model.corpus import activities, concordance, descriptions
from naics_model.corpus.editions import Edition, edition
from naics_model.errors import DataError
from naics_model.storage.files import read_parquet
from naics_model.storage.layout import EditionFolder
from naics_model.storage.tables import Table
from naics_model.taxonomy import distances, relations
from naics_model.taxonomy.checks import check_distances, check_relations

Run = Callable[[pl.DataFrame, pl.DataFrame, Edition], list[Check]]
"""From a table, the edition's descriptions, and what is known of the edition."""

CHECKED: dict[str, tuple[Table, Run]] = {
    'descriptions': (
        descriptions.TABLE,
        lambda table, _, current: descriptions.check_descriptions(table, current),
    ),
    'activities': (
        activities.TABLE,
        lambda table, codes, _: activities.check_activities(table, codes),
    ),
    'concordance': (
        concordance.TABLE,
        lambda table, codes, _: concordance.check_concordance(table, codes),
    ),
    'distances': (
        distances.TABLE,
        lambda table, codes, _: check_distances(table, descriptions.taxonomy_of(codes)),
    ),
    'relations': (
        relations.TABLE,
        lambda table, codes, _: check_relations(table, descriptions.taxonomy_of(codes)),
    ),
}
"""Name of a table -> its columns and its checks."""


def check_table(folder: EditionFolder, name: str) -> list[Check]:
    """Run the checks of one table of an edition on its file.

    Args:
        folder: the edition's files.
        name: a key of `CHECKED`.

    Raises:
        DataError: the file, or the descriptions it is held against, is missing, damaged, or has
            other columns than this release writes.
        ConfigurationError: there is no such edition.
    """
    table, run = CHECKED[name]
    current = edition(folder.edition)
    codes = _read(folder, descriptions.TABLE)
    return run(codes if table is descriptions.TABLE else _read(folder, table), codes, current)


def known_checks(name: str) -> list[Check]:
    """Return which checks a table has, by running them on one without rows."""
    table, run = CHECKED[name]
    empty = pl.DataFrame(schema=table.schema)
    return run(empty, pl.DataFrame(schema=descriptions.TABLE.schema), edition('sample'))


def _read(folder: EditionFolder, table: Table) -> pl.DataFrame:
    path = getattr(folder, table.name)
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
