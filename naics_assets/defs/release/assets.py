"""The released model."""

import dagster as dg
import polars as pl

from naics_assets.lib.asset import naics_asset, plain_errors
from naics_assets.lib.gate import ReleaseGate
from naics_assets.lib.metadata import markdown_table
from naics_assets.lib.mlflow_registry import Release, register
from naics_assets.lib.mlflow_tracker import MlflowTracker
from naics_assets.lib.paths import NaicsPaths
from naics_model.release.bundle import release, verdict_rows
from naics_model.training.stages import LAST_STAGE


@naics_asset(
    group_name='release',
    deps=[
        LAST_STAGE,
        'text_embeddings',
        'refined_embeddings',
        'text_evaluation',
        'refined_evaluation',
    ],
    kinds={'parquet', 'safetensors', 'mlflow'},
    code_version='2',
    description='What people take: the refined embeddings if they pass the gate, otherwise those '
    'of the text, and the encoder that places free text beside them. A version of the registered '
    'model; the aliases lead to it if it finds held-out activities better than the one before.',
)
def model_bundle(
    context: dg.AssetExecutionContext,
    paths: NaicsPaths,
    release_gate: ReleaseGate,
    mlflow: MlflowTracker,
) -> dg.MaterializeResult:
    edition = context.partition_key
    with plain_errors(), mlflow.job_run(context) as run:
        released = release(paths.edition(edition), release_gate.thresholds)
        context.log.info(released.why)
        run.log_outcome(released.figures)
        facts = {'naics/embeddings': released.which, 'naics/why': released.why}
        registered = register(
            run.require(),
            Release(released.folder, edition, released.version, released.score, facts),
        )
        context.log.info(registered.sentence)
    files = [path for path in released.folder.rglob('*') if path.is_file()]
    return dg.MaterializeResult(
        data_version=dg.DataVersion(released.version),
        metadata={
            'released': f'{released.which} embeddings',
            'why': released.why,
            'registered': registered.sentence,
            'mlflow_run': run.link,
            'verdicts': dg.MetadataValue.md(
                markdown_table(pl.DataFrame(verdict_rows(released.verdicts)))
            ),
            'path': dg.MetadataValue.path(released.folder),
            'size_mb': round(sum(path.stat().st_size for path in files) / 1e6, 3),
        },
    )
