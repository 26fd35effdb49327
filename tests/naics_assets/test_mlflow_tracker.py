"""MLflow runs follow Dagster's: nested, tagged, and never left RUNNING."""

import json
import subprocess
import sys
from itertools import count
from pathlib import Path

import dagster as dg
import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image

from naics_assets.definitions import defs
from naics_assets.lib import mlflow_tracker
from naics_assets.lib.mlflow_tracker import MlflowTracker, _Step
from naics_model.jobs.processes import this_process

EDITION = dg.StaticPartitionsDefinition(['sample'])


@dg.asset(partitions_def=EDITION)
def index() -> dg.MaterializeResult:
    return dg.MaterializeResult(
        data_version=dg.DataVersion('0123456789' * 6),
        metadata={'path': dg.MetadataValue.path('/data/index'), 'size_mb': 2.5},
    )


@dg.asset(partitions_def=EDITION, deps=[index])
def good(context: dg.AssetExecutionContext, mlflow: MlflowTracker) -> dg.MaterializeResult:
    with mlflow.job_run(context) as run:
        run.log_outcome({'loss': 0.5})
    return dg.MaterializeResult(metadata={'mlflow_run': run.link})


@dg.asset(partitions_def=EDITION, deps=[good])
def bad(context: dg.AssetExecutionContext, mlflow: MlflowTracker) -> None:
    with mlflow.job_run(context):
        raise dg.Failure('the job broke')


def runs_of(tracker: MlflowTracker) -> dict[str, Run]:
    client = MlflowClient(tracker.tracking_uri)
    experiment = client.get_experiment_by_name(tracker.experiment)
    assert experiment is not None
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


def test_a_job_gets_a_nested_run_under_the_dagster_run(tracker: MlflowTracker) -> None:
    with dg.instance_for_test() as instance:
        result = dg.materialize(
            [index, good], partition_key='sample', resources={'mlflow': tracker}, instance=instance
        )
        tags = instance.get_run_by_id(result.run_id).tags
        linked, url = tags['mlflow/run_id'], tags['mlflow/url']
    runs = runs_of(tracker)
    job = runs['good · sample']
    parent = next(run for name, run in runs.items() if name.startswith('sample'))
    assert parent.info.run_id == linked
    assert job.data.tags['mlflow.parentRunId'] == parent.info.run_id
    assert job.data.tags['dagster/run_id'] == result.run_id
    [made_from] = job.inputs.dataset_inputs
    assert made_from.dataset.name == 'index · sample'
    assert ('0123456789' * 6).startswith(made_from.dataset.digest)
    assert json.loads(made_from.dataset.source) == {'uri': '/data/index'}
    assert json.loads(made_from.dataset.profile) == {
        'size_mb': 2.5,
        'data_version': '0123456789' * 6,
    }
    # Links in both directions.
    for run in (job, parent):
        assert run.data.tags['dagster/url'] == f'http://dagster/runs/{result.run_id}'
        assert f'](http://dagster/runs/{result.run_id})' in run.data.tags['mlflow.note.content']
    where = f'http://mlflow/#/experiments/{job.info.experiment_id}/runs/'
    assert url == where + parent.info.run_id
    [made] = result.asset_materializations_for_node('good')
    assert made.metadata['mlflow_run'].value == where + job.info.run_id
    assert job.data.metrics == parent.data.metrics == {'loss': 0.5}
    assert {run.info.status for run in runs.values()} == {'FINISHED'}


def test_steps_that_begin_at_once_share_the_run_above_them(
    tracker: MlflowTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of two finds nothing there yet, and makes it."""
    client, step = MlflowClient(tracker.tracking_uri), _Step('0123', 'good', 'sample', '', ())

    def blind(at: set[int], where: object, name: str, nothing: object) -> None:
        real, looks = getattr(where, name), count()
        monkeypatch.setattr(
            where, name, lambda *given: real(*given) if next(looks) not in at else nothing
        )

    blind({0, 1}, MlflowClient, 'get_experiment_by_name', None)
    experiments = [tracker._experiment_id(client) for _ in range(2)]
    assert len(set(experiments)) == 1
    blind({0, 2}, mlflow_tracker, '_all_runs', iter(()))
    parents = [tracker._parent_run(client, experiments[0], step) for _ in range(2)]
    assert parents == [(parents[0][0], True), (parents[0][0], False)]
    [left] = client.search_runs(experiments)
    assert left.info.run_id == parents[0][0]


def test_a_failed_job_leaves_nothing_running(tracker: MlflowTracker) -> None:
    result = dg.materialize(
        [index, good, bad],
        partition_key='sample',
        resources={'mlflow': tracker},
        raise_on_error=False,
    )
    assert not result.success
    runs = runs_of(tracker)
    statuses = {name.split(' ·')[0]: run.info.status for name, run in runs.items()}
    assert statuses == {'good': 'FINISHED', 'bad': 'FAILED', 'sample': 'FAILED'}


def test_a_step_tried_again_has_a_run_for_each_try(tracker: MlflowTracker) -> None:
    @dg.asset(partitions_def=EDITION, retry_policy=dg.RetryPolicy(max_retries=1))
    def shaky(context: dg.AssetExecutionContext, mlflow: MlflowTracker) -> None:
        with mlflow.job_run(context):
            if context.retry_number == 0:
                raise dg.Failure('a crash')

    result = dg.materialize([shaky], partition_key='sample', resources={'mlflow': tracker})
    statuses = {name: run.info.status for name, run in runs_of(tracker).items()}
    assert statuses == {
        'shaky · sample': 'FAILED',
        'shaky · sample · try 2': 'FINISHED',
        f'sample · {result.run_id[:8]}': 'FINISHED',
    }


@pytest.mark.parametrize(
    ('ended', 'closed'),
    [
        (dg.DagsterRunStatus.FAILURE, 'FAILED'),
        (dg.DagsterRunStatus.CANCELED, 'KILLED'),
        (dg.DagsterRunStatus.STARTED, 'RUNNING'),
    ],
)
def test_what_a_killed_step_left_open_is_closed_when_its_run_has_ended(
    ended: dg.DagsterRunStatus, closed: str, tracker: MlflowTracker
) -> None:
    with dg.instance_for_test() as instance:
        result = dg.materialize(
            [index, good],
            partition_key='sample',
            resources={'mlflow': tracker},
            instance=instance,
        )
        client = MlflowClient(tracker.tracking_uri)
        for run in runs_of(tracker).values():
            client.update_run(run.info.run_id, status='RUNNING')
        stranger = client.create_run(run.info.experiment_id, tags={'dagster/run_id': 'another'})
        of = instance.get_run_by_id(result.run_id)
        context = dg.build_run_status_sensor_context(
            sensor_name='close_mlflow_runs_of_failures',
            dagster_event=result.all_events[-1],
            dagster_instance=instance,
            dagster_run=of,
            resources={'mlflow': tracker},
        )
        instance.delete_run(result.run_id)
        instance.add_run(of._replace(status=ended))
        sensor = defs().resolve_sensor_def('close_mlflow_runs_of_failures')
        sensor(context)
    statuses = {
        run.info.status
        for run in runs_of(tracker).values()
        if run.info.run_id != stranger.info.run_id
    }
    assert statuses == {closed}
    assert client.get_run(stranger.info.run_id).info.status == 'RUNNING'


def test_what_a_killed_step_left_open_is_closed_by_the_next_job(tracker: MlflowTracker) -> None:
    gone = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)
    mark = {**this_process(), 'pid': gone.pid, 'since': psutil.Process(gone.pid).create_time()}
    gone.communicate()
    with dg.instance_for_test() as instance:
        resources = {'mlflow': tracker}
        killed = dg.materialize(
            [index, good], partition_key='sample', resources=resources, instance=instance
        )
        client = MlflowClient(tracker.tracking_uri)
        for run in runs_of(tracker).values():
            client.update_run(run.info.run_id, status='RUNNING')
        client.set_tag(
            runs_of(tracker)['good · sample'].info.run_id, 'naics/owner', json.dumps(mark)
        )
        # As Dagster has it where nobody watches its runs.
        of = instance.get_run_by_id(killed.run_id)
        instance.delete_run(killed.run_id)
        instance.add_run(of._replace(status=dg.DagsterRunStatus.STARTED))
        dg.materialize(
            [bad],
            partition_key='sample',
            resources=resources,
            instance=instance,
            raise_on_error=False,
        )
    statuses = {name: run.info.status for name, run in runs_of(tracker).items()}
    assert statuses['good · sample'] == 'KILLED'
    assert statuses[f'sample · {killed.run_id[:8]}'] == 'KILLED'
    assert statuses['bad · sample'] == 'FAILED'


def test_a_report_is_attached_with_pictures_that_runs_can_be_compared_by(
    tracker: MlflowTracker, tmp_path: Path
) -> None:
    picture, page = tmp_path / 'disk.png', tmp_path / 'report.md'
    Image.new('RGB', (4, 3)).save(picture)
    page.write_text('# Report')

    @dg.asset(partitions_def=EDITION)
    def report(context: dg.AssetExecutionContext, mlflow: MlflowTracker) -> None:
        with mlflow.job_run(context) as run:
            run.log_report([picture, page])

    with dg.instance_for_test() as instance:
        dg.materialize(
            [report], partition_key='sample', resources={'mlflow': tracker}, instance=instance
        )
    run = runs_of(tracker)['report · sample']
    client = MlflowClient(tracker.tracking_uri)
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert files >= {'report.md', 'figures', 'images'}
    # What MLflow's image grid looks for: the key, and the tag on the run.
    images = [file.path for file in client.list_artifacts(run.info.run_id, 'images')]
    assert images
    assert all(path.startswith('images/disk') for path in images)
    assert run.data.tags['mlflow.loggedImages'] == 'True'
