"""The guarantees of the pairs: each is there once, and says what the tree says."""

import dagster as dg

from naics_assets.lib.checks import file_checks


@dg.definitions
def taxonomy_checks() -> dg.Definitions:
    return dg.Definitions(asset_checks=[file_checks(name) for name in ('distances', 'relations')])
