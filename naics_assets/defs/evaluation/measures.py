"""What is measured: the baselines, the text embeddings and the refined ones, a job each."""

from pathlib import Path

import dagster as dg

from naics_assets.lib.asset import naics_asset, plain_errors
from naics_assets.lib.launcher import JobLauncher
from naics_assets.lib.metadata import job_result, markdown_table
from naics_assets.lib.mlflow_tracker import MlflowTracker
from naics_assets.lib.paths import NaicsPaths
from naics_model.evaluation.guide import overview

MODULE = 'naics_model.evaluation'


def measuring_asset(
    name: str, what: str, deps: list[str], kinds: set[str], description: str
) -> dg.AssetsDefinition:
    """Return the asset of one measuring job.

    Args:
        name: the asset's name.
        what: the word of the job's command line, and the folder of its result.
        deps: the assets that it reads.
        kinds: its kinds.
        description: for people.
    """

    @naics_asset(
        name=name,
        group_name='evaluation',
        deps=deps,
        kinds=kinds,
        code_version='1',
        description=description,
    )
    def measure(
        context: dg.AssetExecutionContext,
        paths: NaicsPaths,
        jobs: JobLauncher,
        mlflow: MlflowTracker,
    ) -> dg.MaterializeResult:
        folder = paths.edition(context.partition_key)
        result_path = folder.evaluated(what)
        arguments: list[str | Path] = [what, '--edition', folder.edition]
        arguments += ['--data-dir', folder.root]
        with plain_errors(), mlflow.job_run(context) as run:
            result = jobs.run(context, MODULE, arguments, result_path, run.hear)
            run.log_outcome(result['metrics'])
        table = markdown_table(overview(result['metrics']))
        return job_result(
            result, 'metrics', {'overview': dg.MetadataValue.md(table), 'mlflow_run': run.link}
        )

    return measure


@dg.definitions
def measuring() -> dg.Definitions:
    return dg.Definitions(
        assets=[
            measuring_asset(
                'baselines',
                'baselines',
                # Not the concordance: where an edition has none, Dagster would skip this, too.
                ['descriptions', 'activities', 'code_splits'],
                {'scikitlearn', 'mlflow'},
                'What one gets without a trained model, under every protocol, and what a tree '
                'alone reaches.',
            ),
            measuring_asset(
                'text_evaluation',
                'text',
                ['text_embeddings', 'descriptions', 'activities', 'phrases'],
                {'pytorch', 'mlflow'},
                'How well the text embeddings hold the tree, and how well text finds its code.',
            ),
            measuring_asset(
                'refined_evaluation',
                'refined',
                ['refined_embeddings', 'text_evaluation', 'descriptions', 'activities', 'phrases'],
                {'pytorch', 'mlflow'},
                'The same of the refined embeddings, asked the same questions.',
            ),
        ]
    )
