"""What a person reads while a run goes on: from a small run of real events."""

import io
import uuid
from collections.abc import Iterator

import dagster as dg
from rich.console import Console

from naics_assets.lib.follower import Follower


@dg.asset
def made() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={'dagster/row_count': 2125, 'size_mb': 0.5})


@dg.asset(output_required=False)
def not_there() -> Iterator[dg.MaterializeResult]:
    yield from ()


@dg.asset(deps=[not_there])
def from_what_is_not_there() -> None: ...


@dg.asset
def wrong() -> None:
    raise dg.Failure('The workbook is damaged: fetch it again.')


@dg.asset_check(asset=made)
def looks_odd() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=False, severity=dg.AssetCheckSeverity.WARN, description='Two codes are odd.'
    )


def test_steps_are_counted_and_what_happened_is_told() -> None:
    said = io.StringIO()
    console = Console(file=said, width=100)
    job = dg.Definitions(
        assets=[made, not_there, from_what_is_not_there, wrong], asset_checks=[looks_odd]
    ).resolve_implicit_global_asset_job_def()
    with dg.instance_for_test() as instance, console.status('') as status:
        run_id = str(uuid.uuid4())
        follower = Follower(console, status, steps=5)
        instance.add_event_listener(run_id, follower)
        job.execute_in_process(instance=instance, run_id=run_id, raise_on_error=False)
    lines = [line for line in said.getvalue().splitlines() if line.strip()]
    told = {line.split()[1]: line for line in lines if '/5' in line}
    assert '2,125 rows, 0.50 MB' in told['made']
    assert 'skipped' in told['from_what_is_not_there']
    assert 'failed' in told['wrong']
    assert any('note: Two codes are odd.' in line for line in lines)
    assert follower.failures == ['wrong: The workbook is damaged: fetch it again.']
    # The failed step is not done; the skipped one is.
    assert max(int(line.split('/')[0]) for line in told.values()) == 4
