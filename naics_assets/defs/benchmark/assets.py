"""The benchmark of each protocol, a job of its own that trains on what the protocol leaves."""

from pathlib import Path

import dagster as dg
from pydantic import Field

from naics_assets.lib.asset import naics_asset, plain_errors
from naics_assets.lib.launcher import JobLauncher
from naics_assets.lib.metadata import job_result, markdown_table
from naics_assets.lib.mlflow_tracker import MlflowTracker
from naics_assets.lib.paths import NaicsPaths
from naics_model.corpus.editions import edition_before
from naics_model.evaluation.guide import overview
from naics_model.protocols.protocol import PROTOCOLS, Protocol


class BenchmarkConfig(dg.Config):
    """How often, and in which geometries, a protocol's models are trained."""

    seeds: list[int] = Field(default=[0], description='One run each; figures are their means.')
    geometries: list[str] = Field(
        default=['lorentz', 'euclidean'], description='The model, its Euclidean control, or both.'
    )


def benchmark_asset(protocol: Protocol) -> dg.AssetsDefinition:
    """Return the asset of one protocol's benchmark."""

    @naics_asset(
        name=f'benchmark_{protocol.name}',
        group_name='benchmark',
        deps=[
            'descriptions',
            'activities',
            'code_splits',
            *(['concordance'] if protocol.of_edition_before else []),
        ],
        kinds={'pytorch', 'mlflow'},
        pool='gpu',
        code_version='1',
        # An edition that has none before it has nothing to be asked about new codes.
        output_required=not protocol.of_edition_before,
        description=f'Models of the protocol “{protocol.name}”, measured. {protocol.meaning}',
    )
    def benchmark(
        context: dg.AssetExecutionContext,
        config: BenchmarkConfig,
        paths: NaicsPaths,
        jobs: JobLauncher,
        mlflow: MlflowTracker,
    ) -> dg.MaterializeResult | None:
        folder = paths.edition(context.partition_key)
        if protocol.of_edition_before and edition_before(folder.edition) is None:
            context.log.info(f'Edition {folder.edition} has no edition before it: nothing to do.')
            return None
        arguments: list[str | Path] = ['--edition', folder.edition, '--data-dir', folder.root]
        arguments += ['--protocol', protocol.name, '--profile', jobs.profile]
        arguments += ['--seeds', *map(str, config.seeds), '--geometries', *config.geometries]
        result_path = folder.benchmark(protocol.name)
        with plain_errors(), mlflow.job_run(context) as run:
            result = jobs.run(context, 'naics_model.benchmark', arguments, result_path, run.hear)
            run.log_outcome(result['metrics'], protocol.name)
        table = markdown_table(overview(result['metrics']))
        return job_result(
            result, 'metrics', {'overview': dg.MetadataValue.md(table), 'mlflow_run': run.link}
        )

    return benchmark


@dg.definitions
def benchmarks() -> dg.Definitions:
    return dg.Definitions(assets=[benchmark_asset(protocol) for protocol in PROTOCOLS.values()])
