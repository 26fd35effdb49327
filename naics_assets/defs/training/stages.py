"""Three stages in a chain, each a job that starts from the model of the one before."""

from pathlib import Path

import dagster as dg

from naics_assets.lib.asset import naics_asset, plain_errors
from naics_assets.lib.launcher import JobLauncher
from naics_assets.lib.metadata import job_result
from naics_assets.lib.mlflow_tracker import MlflowTracker
from naics_assets.lib.paths import NaicsPaths
from naics_model.training.stages import STAGES


def stage_asset(name: str, curriculum: str, previous: str | None) -> dg.AssetsDefinition:
    """Return the asset of one training stage.

    Args:
        name: the asset's name, and its run folder's.
        curriculum: the built-in curriculum stage it trains on.
        previous: the stage whose model it starts from, or None for the first.
    """

    @naics_asset(
        name=name,
        group_name='training',
        deps=['relation_index', 'token_cache', 'phrases', *([previous] if previous else [])],
        kinds={'pytorch', 'mlflow'},
        pool='gpu',
        code_version='3',
        description=f'The text model trained on curriculum {curriculum}, by a job of its own.',
    )
    def stage(
        context: dg.AssetExecutionContext,
        paths: NaicsPaths,
        jobs: JobLauncher,
        mlflow: MlflowTracker,
    ) -> dg.MaterializeResult:
        folder = paths.edition(context.partition_key)
        arguments: list[str | Path] = ['fit', '--curriculum', curriculum]
        arguments += ['--data.relation_index', folder.relation_index]
        arguments += ['--data.token_cache', folder.token_cache]
        arguments += ['--data.phrases', folder.phrases]
        if previous:
            arguments += ['--model.init_from', folder.stage(previous) / 'model']
        with plain_errors(), mlflow.job_run(context) as run:
            run.log_choices(jobs.choices)
            result = jobs.train(
                context, 'naics_model.training', arguments, folder.stage(name), run.hear
            )
            run.log_outcome(
                {
                    'best_val_loss': result['metrics']['best_val_loss'],
                    'seconds': result['seconds'],
                    'peak_memory_mb': result['peak_memory_bytes'] / 1e6,
                },
                group=name,
            )
        return job_result(result, 'model', {'mlflow_run': run.link})

    return stage


@dg.definitions
def stages() -> dg.Definitions:
    previous = [None, *STAGES]
    return dg.Definitions(
        assets=[
            stage_asset(name, curriculum, before)
            for (name, curriculum), before in zip(STAGES.items(), previous, strict=False)
        ]
    )
