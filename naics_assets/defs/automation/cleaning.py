"""Cleaning by itself: the job that does what `naics clean` does, and its monthly schedule."""

import time

import dagster as dg
from pydantic import Field

from naics_assets.lib.asset import plain_errors
from naics_assets.lib.mlflow_tracker import MlflowTracker
from naics_assets.lib.paths import NaicsPaths
from naics_assets.upkeep import DAYS, SECONDS_A_DAY
from naics_assets.upkeep.cleaning import carry_out, plan


class CleaningConfig(dg.Config):
    """How old what goes is, and whether it does go."""

    older_than_days: int = Field(
        default=DAYS, ge=0, description='Only what is older than so many days.'
    )
    dry_run: bool = Field(default=False, description='Only tell what would go.')


@dg.op(description='Removes runs, checkpoints, caches and logs that nothing needs any more.')
def remove_leftovers(
    context: dg.OpExecutionContext,
    config: CleaningConfig,
    paths: NaicsPaths,
    mlflow: MlflowTracker,
) -> None:
    before = time.time() - config.older_than_days * SECONDS_A_DAY
    with plain_errors():
        found = plan(context.instance, mlflow.tracking_uri, mlflow.experiment, paths.root, before)
        if not config.dry_run:
            carry_out(found, context.instance, mlflow.tracking_uri)
    what = 'would go' if config.dry_run else 'gone'
    for row in found.rows:
        context.log.info(f'{row.kind}: {row.count:,} {what}, {row.bytes / 1e6:,.1f} MB')
    for run in found.runs:
        context.log.info(f'Dagster run {run.run_id} {what}')
    for leftover in found.files:
        context.log.info(f'{leftover.file.path} {what}')
    context.add_output_metadata(
        {row.kind: f'{row.count:,} {what}, {row.bytes / 1e6:,.1f} MB' for row in found.rows}
    )


@dg.job(
    name='cleaning',
    description='What `naics clean --yes` does: runs, checkpoints, caches and logs of more than a '
    'month ago that neither the newest data nor a registered model needs.',
)
def cleaning() -> None:
    remove_leftovers()


@dg.definitions
def cleaning_definitions() -> dg.Definitions:
    return dg.Definitions(
        jobs=[cleaning],
        schedules=[
            dg.ScheduleDefinition(
                name='cleaning_monthly',
                job=cleaning,
                cron_schedule='0 3 1 * *',
                default_status=dg.DefaultScheduleStatus.STOPPED,
                description='On the first of each month, at three in the morning (UTC). Stopped '
                'until a person switches it on.',
            )
        ],
    )
