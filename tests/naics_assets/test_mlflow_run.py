"""A run in MLflow while its job is at work: what it is told, and what a tracker away costs."""

import os
import re
import socket
import sqlite3
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isnan, nan
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from naics_assets.lib import mlflow_run
from naics_assets.lib.launcher import JobLauncher
from naics_assets.lib.mlflow_tracker import MlflowTracker

PATIENCE = 120
AWAY = 'MLflow does not answer'
EDITION = dg.StaticPartitionsDefinition(['sample'])
# A job that tells a figure, and waits for a word before the next.
JOB = """
import os, sys, time
from pathlib import Path

from naics_model.jobs.reporting import JobResult, open_reporter

folder = Path(sys.argv[1])
(folder / 'pid').write_text(str(os.getpid()))
with open_reporter(folder / 'result.json') as reporter:
    for step in range(3):
        reporter.track('figures', values={'loss': float(step)}, step=step)
        while not (folder / f'after-{step}').exists():
            time.sleep(0.05)
    reporter.finish(JobResult({'loss': 2.0}, {'self': Path(__file__)}))
"""


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, 'this took too long'
        time.sleep(0.05)


def run_of(tracking_uri: str, name: str = 'model · sample') -> Run:
    client = MlflowClient(tracking_uri)
    experiment = client.get_experiment_by_name('naics')
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    return next(run for run in runs if run.info.run_name == name)


def curve(tracking_uri: str, name: str = 'loss') -> list[tuple[int, float]]:
    """Return a run's figures of a name, by step."""
    run = run_of(tracking_uri)
    points = MlflowClient(tracking_uri).get_metric_history(run.info.run_id, name)
    return [(point.step, point.value) for point in points]


def materialize(
    tracker: MlflowTracker,
    work: Callable[[dg.AssetExecutionContext, Any], Any],
    instance: dg.DagsterInstance | None = None,
) -> dg.ExecuteInProcessResult:
    """Run an asset `model` that does some work while its run is open."""

    @dg.asset(partitions_def=EDITION)
    def model(context: dg.AssetExecutionContext, mlflow: MlflowTracker) -> dg.MaterializeResult:
        with mlflow.job_run(context) as run:
            work(context, run)
        return dg.MaterializeResult(metadata={'mlflow_run': run.link})

    return dg.materialize(
        [model],
        partition_key='sample',
        resources={'mlflow': tracker},
        raise_on_error=False,
        instance=instance,
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for a job, which can be launched as `waiting_job`."""
    (tmp_path / 'waiting_job.py').write_text(textwrap.dedent(JOB))
    monkeypatch.setenv('PYTHONPATH', str(tmp_path), prepend=os.pathsep)
    return tmp_path


def launch(folder: Path) -> Callable[[dg.AssetExecutionContext, Any], Any]:
    return lambda context, run: JobLauncher().run(
        context, 'waiting_job', [folder], folder / 'result.json', run.hear
    )


def log_of(instance: dg.DagsterInstance) -> list[str]:
    [record] = instance.get_run_records()
    return [entry.user_message for entry in instance.all_logs(record.dagster_run.run_id)]


def test_what_a_job_tells_is_in_its_run(
    tracker: MlflowTracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL', '1')
    exported = tmp_path / 'model'
    exported.mkdir()
    (exported / 'config.json').write_text('{}')
    told = {'kind': 'checkpoint', 'time': 9.0, 'sha256': '12', 'step': 6}
    messages = [
        {'kind': 'settings', 'time': 1.0, 'values': {'rank': '8', 'long': 'x' * 9000}},
        # Of a second start in the same run: what is there stays.
        {'kind': 'settings', 'time': 1.5, 'values': {'rank': '16', 'rate': '0.1'}},
        {'kind': 'figures', 'time': 2.5, 'values': {'loss': 0.5}, 'step': 1},
        {'kind': 'epoch', 'time': 2.5, 'epoch': 0, 'metrics': {'loss': 0.5}},
        {'kind': 'figures', 'time': 3.5, 'values': {'loss': 0.25, 'lr[0]': nan}, 'step': 3},
        # More than a server takes in one request.
        {'kind': 'figures', 'time': 4.5, 'values': {f'f{i}': i for i in range(2500)}, 'step': 3},
        {**told, 'path': '/c/epoch=1-val_loss=0.4.ckpt', 'score': 0.4, 'exported': None},
        {**told, 'path': '/c/last.ckpt', 'score': None, 'exported': str(exported)},
    ]

    def work(context: dg.AssetExecutionContext, run: Any) -> None:
        run.hear(messages)
        client, run_id = run.require().client, run.require().run_id
        wait_for(lambda: any(n.startswith('system/') for n in client.get_run(run_id).data.metrics))

    assert materialize(tracker, work).success
    run = run_of(tracker.tracking_uri)
    assert run.data.params == {'rank': '8', 'rate': '0.1', 'long': 'x' * 6000}
    assert curve(tracker.tracking_uri) == [(1, 0.5), (3, 0.25)]
    assert run.data.metrics['f2499'] == 2499
    assert isnan(run.data.metrics['lr0'])
    assert 'system/cpu_utilization_percentage' in run.data.metrics
    client = MlflowClient(tracker.tracking_uri)
    [first, _] = client.get_metric_history(run.info.run_id, 'loss')
    assert first.timestamp == 2500
    models = {model.name: model for model in client.search_logged_models([run.info.experiment_id])}
    assert set(models) == {'model-epoch_1', 'model-last'}
    kept, product = models['model-epoch_1'], models['model-last']
    assert {model.status for model in models.values()} == {'READY'}
    assert kept.source_run_id == run.info.run_id
    assert kept.tags['checkpoint_sha256'] == '12'
    [measured] = kept.metrics
    assert (measured.key, measured.step, measured.value) == ('checkpoint/val_loss', 6, 0.4)
    assert (kept.model_type, product.model_type) == ('checkpoint', 'exported')
    files = [file.path for file in client.list_logged_model_artifacts(product.model_id)]
    assert files == ['config.json']
    outputs = {output.model_id for output in run.outputs.model_outputs}
    assert outputs == {model.model_id for model in models.values()}


@contextmanager
def beside(play: Callable[[], None]) -> Iterator[None]:
    """Have something happen meanwhile; what goes wrong with it is raised here."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            play()
        except BaseException as error:  # noqa: BLE001  raised below
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join()
    if failed:
        raise failed[0]


@pytest.mark.slow
def test_a_server_that_is_restarted_costs_neither_the_job_nor_a_figure(
    server: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_run, '_CLOSE_SECONDS', PATIENCE)
    tracker = MlflowTracker(tracking_uri=server.address, url='http://mlflow')
    directly = f'sqlite:///{folder / "mlflow.db"}'
    with dg.instance_for_test() as instance:

        def play() -> None:
            wait_for((folder / 'pid').exists)
            wait_for(lambda: any(said.startswith('MLflow run: ') for said in log_of(instance)))
            wait_for(lambda: curve(directly) == [(0, 0.0)])
            server.kill()
            (folder / 'after-0').touch()
            wait_for(lambda: any(AWAY in said for said in log_of(instance)))
            server.start()
            wait_for(lambda: curve(directly) == [(0, 0.0), (1, 1.0)])
            # Once more, and back only when the job has ended.
            server.kill()
            (folder / 'after-1').touch()
            (folder / 'after-2').touch()
            wait_for((folder / 'result.json').exists)
            server.start()

        with beside(play):
            done = materialize(tracker, launch(folder), instance)
        assert done.success
        assert len([said for said in log_of(instance) if AWAY in said]) == 1
    assert curve(directly) == [(0, 0.0), (1, 1.0), (2, 2.0)]
    assert run_of(directly).info.status == 'FINISHED'


def test_a_tracker_that_stays_away_costs_no_job(
    tracker: MlflowTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_run, '_CLOSE_SECONDS', 0.5)
    database = Path(tracker.tracking_uri.removeprefix('sqlite:///'))
    locks = []

    def work(context: dg.AssetExecutionContext, run: Any) -> None:
        run.require()
        lock = sqlite3.connect(database, timeout=60, check_same_thread=False)
        lock.execute('BEGIN EXCLUSIVE')
        locks.append(lock)
        run.log_outcome({'loss': 0.5})

    with dg.instance_for_test() as instance:
        assert materialize(tracker, work, instance).success
        [warning] = [said for said in log_of(instance) if 'MLflow has not taken' in said]
        assert 'left open there' in warning
    [lock] = locks
    lock.rollback()
    lock.close()
    # Where the step's process lives on, it goes on trying.
    wait_for(lambda: run_of(tracker.tracking_uri).info.status == 'FINISHED')
    assert curve(tracker.tracking_uri) == [(0, 0.5)]


@pytest.mark.parametrize('small_disk', ['tmpfs'], indirect=True)
def test_a_full_disk_under_the_tracker_costs_neither_the_job_nor_a_figure(small_disk: Any) -> None:
    tracker = MlflowTracker(
        tracking_uri=f'sqlite:///{small_disk.path / "mlflow.db"}',
        artifact_folder=str(small_disk.path / 'artifacts'),
    )
    with dg.instance_for_test() as instance:

        def work(context: dg.AssetExecutionContext, run: Any) -> None:
            run.require()
            with small_disk.full():
                # More than the database has room for in the pages it holds already.
                run.log_outcome({f'figure {number}': 0.5 for number in range(900)})
                wait_for(lambda: run.hear([]) or any(AWAY in said for said in log_of(instance)))

        assert materialize(tracker, work, instance).success
    run = run_of(tracker.tracking_uri)
    assert run.info.status == 'FINISHED'
    assert run.data.metrics['figure 899'] == 0.5


def test_what_mlflow_refuses_is_told_once_and_holds_up_nothing(tracker: MlflowTracker) -> None:
    def work(context: dg.AssetExecutionContext, run: Any) -> None:
        for step in range(3):
            refused = {'kind': 'settings', 'time': 1.0, 'values': {f'a name with {step} #': '1'}}
            run.hear([refused])
        run.log_outcome({'loss': 0.5})

    with dg.instance_for_test() as instance:
        assert materialize(tracker, work, instance).success
        warnings = [said for said in log_of(instance) if 'MLflow does not take all' in said]
    assert len(warnings) == 1
    assert curve(tracker.tracking_uri) == [(0, 0.5)]


def test_where_nobody_answers_nothing_is_started_and_the_last_result_stays(folder: Path) -> None:
    (folder / 'result.json').write_text('{}')
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        nobody = f'http://127.0.0.1:{free.getsockname()[1]}'
        done = materialize(MlflowTracker(tracking_uri=nobody), launch(folder))
    assert why(done).startswith('MLflow opened no run for this step, which was stopped: ')
    assert not (folder / 'pid').exists()
    assert (folder / 'result.json').read_text() == '{}'


def test_a_tracker_that_refuses_stops_the_step_and_its_job(
    folder: Path, httpserver: HTTPServer
) -> None:
    def refuse(_: Request) -> Response:
        wait_for((folder / 'pid').exists)
        return Response('no', 403)

    httpserver.expect_request(re.compile('.*')).respond_with_handler(refuse)
    done = materialize(
        MlflowTracker(tracking_uri=httpserver.url_for('').rstrip('/')), launch(folder)
    )
    said = why(done)
    assert said.startswith('MLflow opened no run for this step, which was stopped: API request')
    assert said.count('\n') == 0
    pid = int((folder / 'pid').read_text())
    wait_for(lambda: not psutil.pid_exists(pid))
    assert not (folder / 'result.json').exists()


def why(done: dg.ExecuteInProcessResult) -> str:
    failure = done.failure_data_for_node('model')
    assert failure is not None
    return str(failure.user_failure_data.description)
