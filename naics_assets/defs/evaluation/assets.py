"""The report of everything that was measured of an edition."""

from pathlib import Path

import dagster as dg

from naics_assets.lib.asset import naics_asset, plain_errors
from naics_assets.lib.launcher import JobLauncher
from naics_assets.lib.metadata import job_result, picture
from naics_assets.lib.mlflow_tracker import MlflowTracker
from naics_assets.lib.paths import NaicsPaths
from naics_model.evaluation.guide import first_figures
from naics_model.training.stages import STAGES


@naics_asset(
    group_name='evaluation',
    deps=[*STAGES, 'baselines', 'text_evaluation', 'refined_evaluation'],
    kinds={'markdown', 'mlflow'},
    code_version='2',
    description='Everything that was measured of an edition, in tables, words and pictures.',
)
def evaluation_report(
    context: dg.AssetExecutionContext,
    paths: NaicsPaths,
    jobs: JobLauncher,
    mlflow: MlflowTracker,
) -> dg.MaterializeResult:
    folder = paths.edition(context.partition_key)
    arguments: list[str | Path] = ['report', '--edition', folder.edition]
    arguments += ['--data-dir', folder.root]
    with plain_errors(), mlflow.job_run(context) as run:
        result = jobs.run(
            context,
            'naics_model.evaluation',
            arguments,
            folder.evaluation / 'result.json',
            run.hear,
        )
        run.log_outcome(result['metrics'])
        run.log_headlines(first_figures(result['metrics']))
        files = {name: Path(file['path']) for name, file in result['files'].items()}
        run.log_report(files.values())
    pictures = {
        name: picture(path.read_bytes()) for name, path in files.items() if path.suffix == '.png'
    }
    return job_result(
        result,
        'metrics',
        {
            'report': dg.MetadataValue.md(files['evaluation_report'].read_text(encoding='utf-8')),
            'report_page': dg.MetadataValue.path(files['evaluation_report_html']),
            'mlflow_run': run.link,
            **pictures,
        },
    )
