"""A job is heard while it runs, its failure is told in its own words, and it is stopped whole."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from naics_assets.definitions import defs
from naics_assets.lib import launcher
from naics_assets.lib.launcher import Crash, JobLauncher, _failure, _Said, _stop
from naics_model.storage.files import write_json

EDITION = dg.StaticPartitionsDefinition(['sample'])


@pytest.fixture
def job_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module `pretend_job` that a job process can run; what it does is its first argument."""
    (tmp_path / 'pretend_job.py').write_text(
        textwrap.dedent(
            """
            import os, signal, subprocess, sys, time
            from pathlib import Path

            from naics_model.jobs.reporting import JobResult, open_reporter

            what, result = sys.argv[1], Path(sys.argv[2])
            with open_reporter(result) as reporter:
                if what == 'breaks':
                    print('Error: The cupboard is bare.')
                    sys.exit(1)
                if what == 'crashes':
                    raise ValueError('a mistake in the program')
                if what == 'is killed once':
                    seen = result.with_suffix('.seen')
                    if not seen.exists():
                        seen.touch()
                        os.kill(os.getpid(), signal.SIGKILL)
                if what in ('sleeps', 'leaves a child'):
                    # As torchrun starts its ranks: in a session of their own.
                    child = subprocess.Popen(
                        [sys.executable, '-c', 'import time; time.sleep(600)'],
                        start_new_session=what == 'leaves a child',
                    )
                    result.with_suffix('.pids').write_text(str(child.pid))
                    if what == 'leaves a child':
                        os.kill(os.getpid(), signal.SIGKILL)
                    child.wait()
                reporter.epoch(0, {'train/loss': 2.0})
                reporter.epoch(1, {'train/loss': 1.0})
                reporter.finish(JobResult({'loss': 1.0}, {'self': Path(__file__)}))
            """
        )
    )
    monkeypatch.setenv('PYTHONPATH', str(tmp_path), prepend=os.pathsep)
    return 'pretend_job'


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, 'RETRY_SECONDS', 0)


def run_asset(what: str, module: str, result_path: Path) -> dg.ExecuteInProcessResult:
    heard: list[Any] = []

    @dg.asset(partitions_def=EDITION)
    def model(context: dg.AssetExecutionContext, jobs: JobLauncher) -> dg.MaterializeResult:
        arguments = [what, result_path]
        result = jobs.train(context, module, arguments, result_path.parent, heard.extend)
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


def tries(result: dg.ExecuteInProcessResult) -> int:
    starts = (dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_RESTARTED)
    return sum(event.event_type in starts for event in result.all_events)


def test_only_a_job_that_was_killed_is_tried_again(job_module: str, tmp_path: Path) -> None:
    killed = run_asset('is killed once', job_module, tmp_path / 'result.json')
    assert killed.success
    assert tries(killed) == 2
    for what in ('breaks', 'crashes'):
        result = run_asset(what, job_module, tmp_path / 'result.json')
        assert not result.success
        assert tries(result) == 1


def test_torchrun_s_word_for_a_killed_rank_allows_a_retry() -> None:
    said = _Said()
    page = ['  exitcode  : -9 (pid: 77)', '  traceback : Signal 9 (SIGKILL) received by PID 77']
    # The other machines' agents have more to say than what is kept.
    said.follow(f'{line}\n' for line in [*page, *['W1126 the rendezvous is closed'] * 500])
    failure = _failure('naics_model.training', 1, said)
    assert isinstance(failure, Crash)
    assert str(failure.description).startswith('naics_model.training was killed (SIGKILL):')
    said.follow(['Error: The loss became nan.\n'])
    told = _failure('naics_model.training', 1, said)
    assert not isinstance(told, Crash)
    assert told.description == 'The loss became nan.'


@pytest.mark.parametrize(('code', 'by'), [(-9, 'SIGKILL'), (143, 'SIGTERM'), (1, None), (2, None)])
def test_exit_codes_that_tell_of_a_signal(code: int, by: str | None) -> None:
    failure = _failure('naics_model.training', code, _Said())
    assert isinstance(failure, Crash) is (by is not None)
    assert (by or f'exit code {code}') in str(failure.description)


def test_a_killed_leader_leaves_none_of_its_processes(job_module: str, tmp_path: Path) -> None:
    result = run_asset('leaves a child', job_module, tmp_path / 'result.json')
    assert not result.success
    # Each try was killed.
    assert tries(result) == 3
    error = result.failure_data_for_node('model').error
    while error.cause:
        error = error.cause
    assert 'pretend_job was killed (SIGKILL)' in error.message
    ended(int((tmp_path / 'result.pids').read_text()))


def ended(pid: int) -> None:
    """Check that a process is gone; it may take a moment to be reaped by its new parent."""
    _gone, alive = psutil.wait_procs(
        [psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=10
    )
    assert alive == []


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
    assert tries(result) == 1
    ended(int(pid_file.read_text()))


def test_stopping_an_ended_job_does_nothing() -> None:
    process = subprocess.Popen(['true'], text=True, start_new_session=True)
    process.wait()
    _stop(process, 'nothing')
    assert process.returncode == 0


def test_a_job_is_read_where_its_words_find_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise it would wait for ever, once the pipe is full."""
    said = _Said()
    says = 'for number in range(20_000): print("line", number)'
    with (
        Path('/dev/full').open('w') as full,
        subprocess.Popen([sys.executable, '-c', says], stdout=subprocess.PIPE, text=True) as job,
    ):
        assert job.stdout is not None
        monkeypatch.setattr(sys, 'stderr', full)
        said.follow(job.stdout)
        monkeypatch.undo()
        with suppress(OSError):
            full.close()
    assert job.returncode == 0
    assert said.last[-1] == 'line 19999'


def test_what_starts_a_job_is_told_by_the_environment_alone(
    job_module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, told = tmp_path / 'launch', tmp_path / 'told'
    script.write_text(f'#!/bin/sh\necho "$@" > {told}\nexec {sys.executable} -m "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv('NAICS_LAUNCH', f'{script}')
    assert run_asset('trains', job_module, tmp_path / 'result.json').success
    assert told.read_text().startswith(f'{job_module} trains ')
    # Whoever reaches the UI chooses a run's settings, and so may choose no command.
    job = defs().resolve_job_def('full_edition')
    for setting, known in (('max_steps', True), ('launch', False)):
        config = {'resources': {'jobs': {'config': {setting: 2}}}}
        with nullcontext() if known else pytest.raises(dg.DagsterInvalidConfigError):
            dg.validate_run_config(job, config)
