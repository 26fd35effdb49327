"""A job is heard while it runs, its failure is told in its own words, and it is stopped whole."""

import os
import signal
import subprocess
import textwrap
import threading
import time
from pathlib import Path

import dagster as dg
import psutil
import pytest

from naics_assets.lib.launcher import JobLauncher, _stop
from naics_model.storage.files import write_json

EDITION = dg.StaticPartitionsDefinition(['sample'])


@pytest.fixture
def job_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module `pretend_job` that a job process can run; what it does is its first argument."""
    (tmp_path / 'pretend_job.py').write_text(
        textwrap.dedent(
            """
            import subprocess, sys, time
            from pathlib import Path

            from naics_model.jobs.reporting import JobResult, open_reporter

            what, result = sys.argv[1], Path(sys.argv[2])
            with open_reporter(result) as reporter:
                if what == 'breaks':
                    print('Error: The cupboard is bare.')
                    sys.exit(1)
                if what == 'crashes':
                    raise ValueError('a mistake in the program')
                if what == 'sleeps':
                    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])
                    result.with_suffix('.pids').write_text(str(child.pid))
                    child.wait()
                reporter.epoch(0, {'train/loss': 2.0})
                reporter.epoch(1, {'train/loss': 1.0})
                reporter.finish(JobResult({'loss': 1.0}, {'self': Path(__file__)}))
            """
        )
    )
    monkeypatch.setenv('PYTHONPATH', str(tmp_path), prepend=os.pathsep)
    return 'pretend_job'


def run_asset(what: str, module: str, result_path: Path) -> dg.ExecuteInProcessResult:
    @dg.asset(partitions_def=EDITION)
    def model(context: dg.AssetExecutionContext, jobs: JobLauncher) -> dg.MaterializeResult:
        result = jobs.run(context, module, [what, result_path], result_path)
        return dg.MaterializeResult(metadata={'loss': result['metrics']['loss']})

    return dg.materialize(
        [model], partition_key='sample', resources={'jobs': JobLauncher()}, raise_on_error=False
    )


def test_each_epoch_becomes_an_observation(job_module: str, tmp_path: Path) -> None:
    result = run_asset('trains', job_module, tmp_path / 'result.json')
    assert result.success
    observed = [
        event.event_specific_data.asset_observation.metadata
        for event in result.all_events
        if event.event_type == dg.DagsterEventType.ASSET_OBSERVATION
    ]
    assert [metadata['train/loss'].value for metadata in observed] == [2.0, 1.0]
    [made] = result.asset_materializations_for_node('model')
    assert made.metadata['loss'].value == 1.0


def test_a_failure_says_what_the_job_said(job_module: str, tmp_path: Path) -> None:
    # A finished job of an earlier run must not be taken for this one.
    write_json({'metrics': {'loss': 0.0}}, tmp_path / 'result.json')
    result = run_asset('breaks', job_module, tmp_path / 'result.json')
    assert not result.success
    failure = result.failure_data_for_node('model')
    assert failure is not None
    assert failure.user_failure_data.description == 'The cupboard is bare.'
    assert not (tmp_path / 'result.json').exists()


def test_a_crash_shows_the_last_lines(job_module: str, tmp_path: Path) -> None:
    result = run_asset('crashes', job_module, tmp_path / 'result.json')
    failure = result.failure_data_for_node('model')
    assert failure is not None
    assert 'exit code 1' in failure.user_failure_data.description
    assert 'ValueError: a mistake in the program' in failure.user_failure_data.description


def test_an_interrupt_ends_the_job_and_its_children(job_module: str, tmp_path: Path) -> None:
    pid_file = tmp_path / 'result.pids'

    def interrupt_when_running() -> None:
        deadline = time.monotonic() + 60
        while not (pid_file.exists() and pid_file.read_text()) and time.monotonic() < deadline:
            threading.Event().wait(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt_when_running, daemon=True).start()
    result = run_asset('sleeps', job_module, tmp_path / 'result.json')
    assert not result.success
    child = int(pid_file.read_text())
    # The child may take a moment to be reaped by its new parent.
    _gone, alive = psutil.wait_procs(
        [psutil.Process(child)] if psutil.pid_exists(child) else [], timeout=10
    )
    assert alive == []


def test_stopping_an_ended_job_does_nothing() -> None:
    process = subprocess.Popen(['true'], text=True, start_new_session=True)
    process.wait()
    _stop(process)
    assert process.returncode == 0
