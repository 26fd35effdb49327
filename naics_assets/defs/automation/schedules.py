"""What happens at set times."""

from __future__ import annotations

import dagster as dg

from naics_model.corpus.editions import load_editions


@dg.schedule(
    job_name='evaluation',
    cron_schedule='0 4 * * 1',
    execution_timezone='UTC',
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description='Measures the embeddings of every edition that has some, on Mondays at 4:00 UTC: '
    'figures move with new versions of packages, too, and then no data version changes.',
)
def weekly_evaluation(
    context: dg.ScheduleEvaluationContext,
) -> list[dg.RunRequest] | dg.SkipReason:
    made = context.instance.get_materialized_partitions(dg.AssetKey('refined_embeddings'))
    editions = [name for name in load_editions() if name in made]
    if not editions:
        return dg.SkipReason('No edition has embeddings to measure: run the job full_edition.')
    return [
        dg.RunRequest(
            run_key=f'{name}:{context.scheduled_execution_time:%Y-%m-%d}', partition_key=name
        )
        for name in editions
    ]
