"""The guarantee of the sampler: what it draws is what was published."""

import dagster as dg

from naics_assets.lib.checks import file_checks


@dg.definitions
def triplet_checks() -> dg.Definitions:
    return dg.Definitions(asset_checks=[file_checks('relation_index')])
