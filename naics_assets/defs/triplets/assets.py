"""The published triplets, and the sampler's index over the same tables."""

import dagster as dg

from naics_assets.lib.asset import naics_asset, plain_errors
from naics_assets.lib.metadata import describe
from naics_assets.lib.paths import NaicsPaths
from naics_model.dataset import steps
from naics_model.jobs.cost import measured


@naics_asset(
    group_name='triplets',
    deps=['descriptions', 'distances'],
    kinds={'duckdb', 'sql', 'parquet'},
    code_version='1',
    description='Every (anchor, positive, negative) with its hardness: the published dataset.',
)
def triplets(context: dg.AssetExecutionContext, paths: NaicsPaths) -> dg.MaterializeResult:
    with plain_errors(), measured() as cost:
        made = steps.triplets(paths.edition(context.partition_key), context.log.info)
    return describe(made, cost)


@naics_asset(
    group_name='triplets',
    deps=['descriptions', 'distances'],
    kinds={'numpy'},
    code_version='1',
    description='All that the sampler reads: codes by distance from each anchor, and exclusions.',
)
def relation_index(context: dg.AssetExecutionContext, paths: NaicsPaths) -> dg.MaterializeResult:
    with plain_errors(), measured() as cost:
        made = steps.relation_index(paths.edition(context.partition_key))
    return describe(made, cost)
