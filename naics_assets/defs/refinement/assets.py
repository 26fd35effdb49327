"""The refinement job and the embeddings it gives."""

from pathlib import Path

import dagster as dg

from naics_assets.lib.asset import naics_asset, plain_errors
from naics_assets.lib.launcher import JobLauncher
from naics_assets.lib.metadata import job_result, table_metadata
from naics_assets.lib.mlflow_tracker import MlflowTracker
from naics_assets.lib.paths import NaicsPaths
from naics_model.training.stages import LAST_STAGE


@naics_asset(
    group_name='refinement',
    deps=['text_embeddings', LAST_STAGE, 'descriptions', 'phrases'],
    kinds={'pytorch', 'mlflow', 'parquet'},
    pool='gpu',
    code_version='3',
    description='The text embeddings moved by a hyperbolic graph convolution: along the tree, and '
    'to where their activities look for them.',
)
def refined_embeddings(
    context: dg.AssetExecutionContext,
    paths: NaicsPaths,
    jobs: JobLauncher,
    mlflow: MlflowTracker,
) -> dg.MaterializeResult:
    folder = paths.edition(context.partition_key)
    arguments: list[str | Path] = ['--embeddings', folder.text_embeddings]
    arguments += ['--descriptions', folder.descriptions]
    arguments += ['--phrases', folder.phrases, '--queries', folder.queries]
    arguments += ['--encoder', folder.stage(LAST_STAGE) / 'model']
    arguments += ['--out', folder.refined_embeddings]
    with plain_errors(), mlflow.job_run(context) as run:
        result = jobs.train(
            context, 'naics_model.refinement', arguments, folder.refinement, run.hear
        )
    return job_result(
        result,
        'embeddings',
        {'mlflow_run': run.link, **table_metadata(folder.refined_embeddings)},
    )
