"""Distances and relations, each from the codes in `descriptions`."""

import dagster as dg

from naics_assets.lib.asset import naics_asset, plain_errors
from naics_assets.lib.metadata import describe
from naics_assets.lib.paths import NaicsPaths
from naics_model.dataset import steps
from naics_model.jobs.cost import measured


@naics_asset(
    group_name='taxonomy',
    deps=['descriptions'],
    kinds={'polars', 'parquet'},
    code_version='1',
    description='The curriculum distance (0.5 to 10.0) of each unordered pair of codes.',
)
def distances(context: dg.AssetExecutionContext, paths: NaicsPaths) -> dg.MaterializeResult:
    with plain_errors(), measured() as cost:
        made = steps.distances(paths.edition(context.partition_key))
    return describe(made, cost)


@naics_asset(
    group_name='taxonomy',
    deps=['descriptions'],
    kinds={'polars', 'parquet'},
    code_version='1',
    description='What two codes of one sector are to each other: child, sibling, cousin, …',
)
def relations(context: dg.AssetExecutionContext, paths: NaicsPaths) -> dg.MaterializeResult:
    with plain_errors(), measured() as cost:
        made = steps.relations(paths.edition(context.partition_key))
    return describe(made, cost)
