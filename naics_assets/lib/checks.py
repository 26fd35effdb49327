"""Checks of the library as asset checks, with the offending rows shown."""

from collections.abc import Callable, Iterator, Sequence

import dagster as dg
import polars as pl

from naics_assets.lib.asset import EDITIONS, plain_errors
from naics_assets.lib.metadata import markdown_table
from naics_assets.lib.paths import NaicsPaths
from naics_model.checks import Check
from naics_model.storage.layout import EditionFolder


def table_checks(
    asset: str, known: Sequence[Check], outcomes: Callable[[EditionFolder], Sequence[Check]]
) -> dg.AssetChecksDefinition:
    """Return the checks of one asset's table, run together on one reading of it.

    Args:
        asset: the asset's name.
        known: the checks there are: their names, and whether each one blocks what follows.
        outcomes: runs them on an edition's files.
    """
    specs = [
        dg.AssetCheckSpec(check.name, asset=asset, blocking=check.blocking, partitions_def=EDITIONS)
        for check in known
    ]

    @dg.multi_asset_check(name=f'{asset}_checks', specs=specs)
    def run_checks(
        context: dg.AssetCheckExecutionContext, paths: NaicsPaths
    ) -> Iterator[dg.AssetCheckResult]:
        with plain_errors():
            found = outcomes(paths.edition(context.partition_key))
        for check in found:
            rows = pl.DataFrame(list(check.offending), strict=False)
            yield dg.AssetCheckResult(
                asset_key=asset,
                check_name=check.name,
                passed=check.passed,
                severity=(
                    dg.AssetCheckSeverity.ERROR if check.blocking else dg.AssetCheckSeverity.WARN
                ),
                description=check.sentence,
                metadata={'offending': dg.MetadataValue.md(markdown_table(rows))}
                if rows.height
                else {},
            )

    return run_checks
