"""The guarantees of the texts: what follows does not run where a blocking one is broken."""

from collections.abc import Sequence

import dagster as dg
import polars as pl

from naics_assets.lib.checks import table_checks
from naics_model.checks import Check
from naics_model.corpus import activities, descriptions
from naics_model.corpus.editions import edition
from naics_model.storage.files import read_parquet
from naics_model.storage.layout import EditionFolder


def _descriptions(folder: EditionFolder) -> Sequence[Check]:
    table = read_parquet(folder.descriptions)
    return descriptions.check_descriptions(table, edition(folder.edition))


def _activities(folder: EditionFolder) -> Sequence[Check]:
    table = read_parquet(folder.activities)
    return activities.check_activities(table, read_parquet(folder.descriptions))


@dg.definitions
def corpus_checks() -> dg.Definitions:
    # Which checks there are is learned by running them on tables without rows.
    no_codes = pl.DataFrame(schema=descriptions.TABLE.schema)
    no_entries = pl.DataFrame(schema=activities.TABLE.schema)
    return dg.Definitions(
        asset_checks=[
            table_checks(
                'descriptions',
                descriptions.check_descriptions(no_codes, edition('sample')),
                _descriptions,
            ),
            table_checks(
                'activities', activities.check_activities(no_entries, no_codes), _activities
            ),
        ]
    )
