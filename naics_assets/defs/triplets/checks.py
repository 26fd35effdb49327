"""The guarantees of the triplets, and that what the sampler draws is what was published."""

import dagster as dg

from naics_assets.lib.checks import file_checks


@dg.definitions
def triplet_checks() -> dg.Definitions:
    return dg.Definitions(
        asset_checks=[file_checks(name) for name in ('triplets', 'relation_index')]
    )
