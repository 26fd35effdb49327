"""The bar that the hyperbolic model has to clear; opt-in, for it trains an encoder of its own."""

from pathlib import Path

import dagster as dg

from naics_assets.lib.asset import naics_asset, plain_errors
from naics_assets.lib.launcher import JobLauncher
from naics_assets.lib.metadata import job_result
from naics_assets.lib.mlflow_tracker import MlflowTracker
from naics_assets.lib.paths import NaicsPaths


@naics_asset(
    group_name='evaluation',
    deps=['descriptions', 'activities'],
    kinds={'pytorch', 'mlflow'},
    pool='gpu',
    code_version='1',
    # Only when a person asks for it.
    automation_condition=None,
    description='How well a plain LoRA bi-encoder finds codes: the bar for the hyperbolic model.',
)
def bi_encoder(
    context: dg.AssetExecutionContext,
    paths: NaicsPaths,
    jobs: JobLauncher,
    mlflow: MlflowTracker,
) -> dg.MaterializeResult:
    folder = paths.edition(context.partition_key)
    result_path = folder.evaluated('bi_encoder')
    arguments: list[str | Path] = ['--descriptions', folder.descriptions]
    arguments += ['--activities', folder.activities, '--out', result_path.parent]
    with plain_errors(), mlflow.job_run(context) as run:
        result = jobs.run(
            context,
            'naics_model.evaluation.bi_encoder',
            arguments,
            result_path,
            run.hear,
        )
        run.log_outcome(result['metrics'])
    return job_result(result, 'metrics', {'mlflow_run': run.link})
