"""The texts that the model reads, what it is asked about, and where codes went."""

import dagster as dg

from naics_assets.lib.asset import naics_asset, plain_errors
from naics_assets.lib.metadata import describe
from naics_assets.lib.paths import NaicsPaths
from naics_model.dataset import steps
from naics_model.jobs.cost import measured


@naics_asset(
    group_name='corpus',
    deps=['codes_workbook', 'descriptions_workbook', 'cross_references_workbook'],
    kinds={'polars', 'parquet'},
    code_version='1',
    description='One row for each code: title, description, examples, and what it excludes.',
)
def descriptions(context: dg.AssetExecutionContext, paths: NaicsPaths) -> dg.MaterializeResult:
    with plain_errors(), measured() as cost:
        made = steps.descriptions(paths.edition(context.partition_key))
    return describe(made, cost)


@naics_asset(
    group_name='corpus',
    deps=['index_workbook', 'descriptions'],
    kinds={'polars', 'parquet'},
    code_version='1',
    description='The index entries with their codes; one in five is held out for evaluation.',
)
def activities(context: dg.AssetExecutionContext, paths: NaicsPaths) -> dg.MaterializeResult:
    with plain_errors(), measured() as cost:
        made = steps.activities(paths.edition(context.partition_key))
    return describe(made, cost)


@naics_asset(
    group_name='corpus',
    deps=['descriptions', 'activities'],
    kinds={'polars', 'parquet'},
    code_version='1',
    description='Short texts to learn from, each with its code: entries, titles, examples, ...',
)
def phrases(context: dg.AssetExecutionContext, paths: NaicsPaths) -> dg.MaterializeResult:
    with plain_errors(), measured() as cost:
        made = steps.phrases(paths.edition(context.partition_key))
    return describe(made, cost)


@naics_asset(
    group_name='corpus',
    deps=['descriptions'],
    kinds={'polars', 'parquet'},
    code_version='2',
    description='Which codes are held out for evaluation: one in ten, whole groups of codes, and '
    'every code in one of five folds.',
)
def code_splits(context: dg.AssetExecutionContext, paths: NaicsPaths) -> dg.MaterializeResult:
    with plain_errors(), measured() as cost:
        made = steps.code_splits(paths.edition(context.partition_key))
    return describe(made, cost)


@naics_asset(
    group_name='corpus',
    deps=['concordance_workbook', 'descriptions'],
    kinds={'polars', 'parquet'},
    code_version='1',
    description='Each six-digit code of the edition before with each code that it went into.',
)
def concordance(context: dg.AssetExecutionContext, paths: NaicsPaths) -> dg.MaterializeResult:
    with plain_errors(), measured() as cost:
        made = steps.concordance(paths.edition(context.partition_key))
    return describe(made, cost)
