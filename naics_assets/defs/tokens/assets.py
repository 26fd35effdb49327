"""The token cache, for the backbone of the chosen profile."""

import dagster as dg

from naics_assets.lib.asset import naics_asset, plain_errors
from naics_assets.lib.launcher import JobLauncher
from naics_assets.lib.metadata import describe
from naics_assets.lib.paths import NaicsPaths
from naics_model.dataset import steps
from naics_model.jobs.cost import measured


@naics_asset(
    group_name='tokens',
    deps=['descriptions'],
    kinds={'huggingface'},
    code_version='1',
    description="Token ids of every code's four texts, cut once by the backbone's tokenizer.",
)
def token_cache(
    context: dg.AssetExecutionContext, paths: NaicsPaths, jobs: JobLauncher
) -> dg.MaterializeResult:
    with plain_errors(), measured() as cost:
        made = steps.token_cache(paths.edition(context.partition_key), jobs.backbone())
    return describe(made, cost)
