"""The report: text and refined embeddings beside their baselines."""

from pathlib import Path

import dagster as dg

from naics_assets.defs.training.stages import LAST_STAGE, STAGES
from naics_assets.lib.asset import naics_asset, plain_errors
from naics_assets.lib.metadata import job_result
from naics_assets.lib.mlflow_tracker import MlflowTracker
from naics_assets.lib.paths import NaicsPaths
from naics_assets.lib.torchrun import JobLauncher


@naics_asset(
    group_name='evaluation',
    deps=[*STAGES, 'text_embeddings', 'refined_embeddings', 'descriptions', 'activities'],
    kinds={'markdown', 'mlflow'},
    code_version='1',
    description='How well the embeddings hold the tree, and how well text finds its code.',
)
def evaluation_report(
    context: dg.AssetExecutionContext,
    paths: NaicsPaths,
    jobs: JobLauncher,
    mlflow: MlflowTracker,
) -> dg.MaterializeResult:
    folder = paths.edition(context.partition_key)
    arguments: list[str | Path] = ['--text-embeddings', folder.text_embeddings]
    arguments += ['--refined-embeddings', folder.refined_embeddings]
    arguments += ['--descriptions', folder.descriptions, '--activities', folder.activities]
    arguments += ['--model', folder.stage(LAST_STAGE) / 'model']
    arguments += ['--stage-results', *(folder.stage(name) / 'result.json' for name in STAGES)]
    arguments += ['--refinement-result', folder.refinement / 'result.json']
    arguments += ['--out', folder.evaluation]
    with plain_errors(), mlflow.job_run(context) as run:
        result = jobs.run(
            context, 'naics_model.evaluation', arguments, folder.evaluation / 'result.json'
        )
        run.log_outcome(result['metrics'])
        run.log_files(folder.evaluation)
    report = (folder.evaluation / 'evaluation_report.md').read_text(encoding='utf-8')
    return job_result(
        result,
        'metrics',
        {
            'report': dg.MetadataValue.md(report),
            'report_page': dg.MetadataValue.path(folder.evaluation / 'evaluation_report.html'),
            'mlflow_run': run.run_id,
        },
    )
