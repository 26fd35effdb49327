"""The ablation of the dynamic curriculum: many short fits, a job of its own."""

from pathlib import Path

import dagster as dg
from pydantic import Field

from naics_assets.lib.asset import naics_asset, plain_errors
from naics_assets.lib.launcher import JobLauncher
from naics_assets.lib.metadata import job_result
from naics_assets.lib.mlflow_tracker import MlflowTracker
from naics_assets.lib.paths import NaicsPaths
from naics_model.benchmark.variants import DEFAULT


class AblationConfig(dg.Config):
    """What is compared, and how often."""

    seeds: list[int] = Field(
        default=[0], description='Each variant is trained once with each; two show a spread.'
    )
    variants: list[str] = Field(
        default=list(DEFAULT),
        description='Ways of choosing negatives, as `python -m naics_model.benchmark ablation '
        '--help` lists them.',
    )
    at_once: int = Field(default=1, description='Fits that run beside each other.')


@naics_asset(
    group_name='ablation',
    deps=['descriptions', 'activities', 'code_splits'],
    kinds={'pytorch', 'mlflow'},
    pool='gpu',
    code_version='1',
    description='What each part of the dynamic curriculum does, by short fits that go without it. '
    'A run that was stopped goes on where it was.',
)
def curriculum_ablation(
    context: dg.AssetExecutionContext,
    config: AblationConfig,
    paths: NaicsPaths,
    jobs: JobLauncher,
    mlflow: MlflowTracker,
) -> dg.MaterializeResult:
    folder = paths.edition(context.partition_key)
    arguments: list[str | Path] = ['ablation', '--edition', folder.edition]
    arguments += ['--data-dir', folder.root, '--profile', jobs.profile]
    arguments += ['--seeds', *map(str, config.seeds), '--variants', *config.variants]
    arguments += ['--at-once', str(config.at_once)]
    with plain_errors(), mlflow.job_run(context) as run:
        result = jobs.run(context, 'naics_model.benchmark', arguments, folder.ablation, run.hear)
        run.log_outcome(result['metrics'], 'ablation')
    page = Path(result['files']['page']['path'])
    return job_result(
        result,
        'page',
        {
            'table': dg.MetadataValue.md(page.read_text(encoding='utf-8')),
            'mlflow_run': run.link,
        },
    )
