"""Checks of the library as asset checks, with the offending rows shown."""

from collections.abc import Iterator

import dagster as dg

from naics_assets.lib.asset import EDITIONS, plain_errors
from naics_assets.lib.metadata import offending_rows
from naics_assets.lib.paths import NaicsPaths
from naics_model.dataset.checks import check_table, known_checks


def table_checks(table: str) -> dg.AssetChecksDefinition:
    """Return the checks of one table, run together on one reading of its file.

    Args:
        table: the table's name, which is its asset's.
    """
    specs = [
        dg.AssetCheckSpec(
            check.name,
            asset=table,
            description=check.guarantee,
            blocking=check.blocking,
            partitions_def=EDITIONS,
        )
        for check in known_checks(table)
    ]

    @dg.multi_asset_check(name=f'{table}_checks', specs=specs)
    def run_checks(
        context: dg.AssetCheckExecutionContext, paths: NaicsPaths
    ) -> Iterator[dg.AssetCheckResult]:
        with plain_errors():
            found = check_table(paths.edition(context.partition_key), table)
        for check in found:
            yield dg.AssetCheckResult(
                asset_key=table,
                check_name=check.name,
                passed=check.passed,
                severity=(
                    dg.AssetCheckSeverity.ERROR if check.blocking else dg.AssetCheckSeverity.WARN
                ),
                description=check.sentence,
                metadata={'offending': offending_rows(check)} if check.offending else {},
            )

    return run_checks
