"""Checks of the library as asset checks, with the offending rows shown."""

from collections.abc import Iterator

import dagster as dg

from naics_assets.lib.asset import EDITIONS, plain_errors
from naics_assets.lib.metadata import offending_rows
from naics_assets.lib.paths import NaicsPaths
from naics_model.dataset.checks import CHECKED


def file_checks(asset: str) -> dg.AssetChecksDefinition:
    """Return the checks of one asset, run together on one reading of its file.

    Args:
        asset: its name.
    """
    checked = CHECKED[asset]
    specs = [
        dg.AssetCheckSpec(
            check.name,
            asset=asset,
            description=check.guarantee,
            blocking=check.blocking,
            partitions_def=EDITIONS,
            additional_deps=checked.also_reads,
        )
        for check in checked.known()
    ]

    @dg.multi_asset_check(name=f'{asset}_checks', specs=specs)
    def run_checks(
        context: dg.AssetCheckExecutionContext, paths: NaicsPaths
    ) -> Iterator[dg.AssetCheckResult]:
        with plain_errors():
            found = checked.run(paths.edition(context.partition_key))
        for check in found:
            yield dg.AssetCheckResult(
                asset_key=asset,
                check_name=check.name,
                passed=check.passed,
                severity=(
                    dg.AssetCheckSeverity.ERROR if check.blocking else dg.AssetCheckSeverity.WARN
                ),
                description=check.sentence,
                metadata={'offending': offending_rows(check)} if check.offending else {},
            )

    return run_checks
