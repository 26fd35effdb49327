"""MLflow runs follow Dagster's: nested, tagged, and never left RUNNING."""

from pathlib import Path

import dagster as dg
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image

from naics_assets.lib.mlflow_tracker import MlflowTracker


@pytest.fixture
def tracker(tmp_path: Path) -> MlflowTracker:
    return MlflowTracker(
        tracking_uri=f'sqlite:///{tmp_path / "mlflow.db"}',
        artifact_folder=str(tmp_path / 'artifacts'),
    )


EDITION = dg.StaticPartitionsDefinition(['sample'])


@dg.asset(partitions_def=EDITION)
def index() -> dg.MaterializeResult:
    return dg.MaterializeResult(data_version=dg.DataVersion('abc'))


@dg.asset(partitions_def=EDITION, deps=[index])
def good(context: dg.AssetExecutionContext, mlflow: MlflowTracker) -> None:
    with mlflow.job_run(context) as run:
        assert run.environment['MLFLOW_RUN_ID'] == run.run_id
        run.log_outcome({'loss': 0.5})


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
        linked = instance.get_run_by_id(result.run_id).tags['mlflow/run_id']
    runs = runs_of(tracker)
    job = runs['good · sample']
    parent = next(run for name, run in runs.items() if name.startswith('pipeline'))
    assert parent.info.run_id == linked
    assert job.data.tags['mlflow.parentRunId'] == parent.info.run_id
    assert job.data.tags['dagster/run_id'] == result.run_id
    assert job.data.tags['naics/input/index'] == 'abc'
    assert job.data.metrics == parent.data.metrics == {'loss': 0.5}
    assert {run.info.status for run in runs.values()} == {'FINISHED'}


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
    assert statuses == {'good': 'FINISHED', 'bad': 'FAILED', 'pipeline': 'FAILED'}


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
