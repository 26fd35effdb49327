"""The guarantees of the pairs: each is there once, and says what the tree says."""

import dagster as dg

from naics_assets.lib.checks import table_checks


@dg.definitions
def taxonomy_checks() -> dg.Definitions:
    return dg.Definitions(asset_checks=[table_checks(name) for name in ('distances', 'relations')])
