"""The gate: whether the refined embeddings may be released."""

import dagster as dg
import polars as pl

from naics_assets.lib.asset import EDITIONS, plain_errors
from naics_assets.lib.gate import ReleaseGate
from naics_assets.lib.metadata import markdown_table
from naics_assets.lib.paths import NaicsPaths
from naics_model.release.bundle import gate_of, verdict_rows


@dg.asset_check(
    asset='refined_evaluation',
    additional_deps=['text_evaluation'],
    blocking=True,
    partitions_def=EDITIONS,
    description='The refined embeddings hold the tree, and cost nothing of what the text '
    'embeddings can do. Where they fail, the text embeddings are released: a warning. What can not '
    'be judged is an error, and nothing is released.',
)
def gate(
    context: dg.AssetCheckExecutionContext, paths: NaicsPaths, release_gate: ReleaseGate
) -> dg.AssetCheckResult:
    with plain_errors():
        verdicts = gate_of(paths.edition(context.partition_key), release_gate.thresholds)
    failed = [check.sentence for check in verdicts if not check.passed]
    return dg.AssetCheckResult(
        passed=not failed,
        # Blocking, so that the release waits for it; but it has something to release either way.
        severity=dg.AssetCheckSeverity.WARN,
        description='; '.join(failed) or f'All {len(verdicts)} verdicts are good.',
        metadata={
            'verdicts': dg.MetadataValue.md(markdown_table(pl.DataFrame(verdict_rows(verdicts))))
        },
    )
