"""The embeddings that the trained text model gives."""

from pathlib import Path

import dagster as dg

from naics_assets.lib.asset import naics_asset, plain_errors
from naics_assets.lib.launcher import JobLauncher
from naics_assets.lib.metadata import job_result, table_metadata
from naics_assets.lib.mlflow_tracker import MlflowTracker
from naics_assets.lib.paths import NaicsPaths
from naics_model.training.stages import LAST_STAGE


@naics_asset(
    group_name='training',
    deps=[LAST_STAGE, 'token_cache', 'descriptions'],
    kinds={'pytorch', 'mlflow', 'parquet'},
    pool='gpu',
    code_version='1',
    description='Every code as a point in hyperbolic space, from its texts alone.',
)
def text_embeddings(
    context: dg.AssetExecutionContext,
    paths: NaicsPaths,
    jobs: JobLauncher,
    mlflow: MlflowTracker,
) -> dg.MaterializeResult:
    folder = paths.edition(context.partition_key)
    result_path = folder.text_embeddings.with_suffix('.json')
    arguments: list[str | Path] = ['--model', folder.stage(LAST_STAGE) / 'model']
    arguments += ['--token-cache', folder.token_cache, '--descriptions', folder.descriptions]
    arguments += ['--out', folder.text_embeddings, '--result', result_path]
    with plain_errors(), mlflow.job_run(context) as run:
        result = jobs.run(context, 'naics_model.encoder', arguments, result_path, run.hear)
    return job_result(
        result, 'embeddings', {'mlflow_run': run.link, **table_metadata(folder.text_embeddings)}
    )
