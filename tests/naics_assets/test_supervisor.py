"""Services are started in order, kept alive, and stopped whole."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from naics_assets.lib.supervisor import ServiceError, require_free
from tests.processes import is_alive

SECONDS = 60
# Two services that tell of their starts and stops in `told`; `wait` leaves a process in the group.
SERVE = """
import sys
from pathlib import Path
from naics_assets.lib.supervisor import Service, ServiceError, serve

folder = Path(sys.argv[1])

def service(name, body, log='', check='test'):
    says = f"echo {name} stops >> told; exit 0"
    script = f"echo {name} starts >> told; trap '{says}' TERM; {body}"
    check = (check, '-s', str(folder / f'{name}.pid'))
    log = folder / (log or f'{name}.log')
    return Service(name, ('sh', '-c', script), check, log=log, folder=folder)

try:
    one = service('one', 'echo $$ > one.pid; sleep 600 & wait')
    serve([one, service('two', *sys.argv[2:])], ready=['Ready.'])
except ServiceError as error:
    sys.exit(f'Error: {error}')
"""
STANDS = 'echo $$ > two.pid; sleep 600 & wait'
# Takes its time to stop: longer than the quarter of a second that Python gives it on Ctrl-C.
STOPS_LATE = f"trap 'touch asked; sleep 1; echo two stops >> told; exit 0' TERM; {STANDS}"


def until(true: Callable[[], bool], what: str) -> None:
    """Wait until something is so; fail after a while."""
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline, f'{what}: not within {SECONDS} s'
        time.sleep(0.02)


@contextmanager
def supervised(folder: Path, *second: str) -> Iterator[subprocess.Popen[str]]:
    """Run a supervisor in a process of its own; `second` says what its second service is."""
    process = subprocess.Popen(
        [sys.executable, '-c', SERVE, folder, *second],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS)


def processes_of(folder: Path) -> list[int]:
    """Return the processes that were started in a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def test_the_second_starts_when_the_first_answers_and_stops_before_it(tmp_path: Path) -> None:
    with supervised(tmp_path, STANDS) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == 'Ready.\n'
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0
    assert (tmp_path / 'told').read_text().splitlines() == [
        'one starts',
        'two starts',
        'two stops',
        'one stops',
    ]
    assert processes_of(tmp_path) == []


def test_a_closed_terminal_stops_all(tmp_path: Path) -> None:
    with supervised(tmp_path, STANDS) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == 'Ready.\n'
        # Nobody reads any more either.
        process.stdout.close()
        process.send_signal(signal.SIGHUP)
        process.wait(SECONDS)
        assert processes_of(tmp_path) == []
        process.stdout = None


def test_under_nohup_a_closed_terminal_stops_none(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with supervised(tmp_path, STANDS) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == 'Ready.\n'
            process.send_signal(signal.SIGHUP)
            # It is still at its work, though there is nobody whom it could tell.
            process.stdout.close()
            process.stdout = None
            os.kill(int((tmp_path / 'one.pid').read_text()), signal.SIGKILL)
            until(
                lambda: (tmp_path / 'told').read_text().count('one starts') == 2,
                'it is started again',
            )
            assert 'two stops' not in (tmp_path / 'told').read_text()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_hangups_of_the_kernel_and_of_the_shell_leave_services_their_time(tmp_path: Path) -> None:
    with supervised(tmp_path, STOPS_LATE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == 'Ready.\n'
        process.send_signal(signal.SIGHUP)
        until((tmp_path / 'asked').exists, 'the second is asked to stop')
        process.send_signal(signal.SIGHUP)
        assert process.wait(SECONDS) == 0
    assert (tmp_path / 'told').read_text().splitlines()[-2:] == ['two stops', 'one stops']


def test_a_service_that_can_not_be_started_again_leaves_the_others_alone(tmp_path: Path) -> None:
    log = tmp_path / 'one.log'
    with supervised(tmp_path, STANDS) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == 'Ready.\n'
        log.unlink()
        log.mkdir()
        os.kill(int((tmp_path / 'one.pid').read_text()), signal.SIGKILL)
        assert 'one was killed (SIGKILL)' in process.stdout.readline()
        said = process.stdout.readline()
        assert 'one was not started (Is a directory); it is started again in 2 s.' in said
        log.rmdir()
        until(
            lambda: (tmp_path / 'told').read_text().count('one starts') == 2,
            'it is started again',
        )
        assert 'two stops' not in (tmp_path / 'told').read_text()


def test_a_killed_service_is_started_again_without_what_it_left(tmp_path: Path) -> None:
    with supervised(tmp_path, STANDS) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == 'Ready.\n'
        first = int((tmp_path / 'one.pid').read_text())
        (left,) = psutil.Process(first).children()
        os.kill(first, signal.SIGKILL)
        assert 'one was killed (SIGKILL); it is started again in 1 s.' in process.stdout.readline()
        until(lambda: not is_alive(left), 'what it left is gone')
        until(
            lambda: (tmp_path / 'told').read_text().count('one starts') == 2,
            'it is started again',
        )
        assert 'two stops' not in (tmp_path / 'told').read_text()


def test_a_service_that_does_not_start_ends_all_and_its_last_words_are_told(tmp_path: Path) -> None:
    with supervised(tmp_path, 'echo no database; exit 3') as process:
        said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert 'Error: two ended with exit code 3; the end of its log' in said
    assert 'no database' in said
    assert (tmp_path / 'told').read_text().splitlines()[-1] == 'one stops'
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize(
    ('second', 'said'),
    [
        ((STANDS, 'gone/two.log'), 'two was not started: [Errno 2] No such file or directory: '),
        ((STANDS, '', 'no-such-program'), 'It can not be found out whether two answers: [Errno 2]'),
        (('rm two.log; exit 3',), 'two ended with exit code 3; its log was not read: [Errno 2]'),
    ],
)
def test_what_the_system_refuses_at_the_start_is_a_sentence(
    second: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    with supervised(tmp_path, *second) as process:
        lines = process.communicate(timeout=SECONDS)[0].splitlines()
    assert process.returncode == 1
    assert len(lines) == 1
    assert lines[0].startswith(f'Error: {said}')
    assert (tmp_path / 'told').read_text().splitlines()[-1].endswith('stops')
    assert processes_of(tmp_path) == []


def test_a_port_in_use_is_named_with_the_option_that_chooses_another() -> None:
    with socket.create_server(('127.0.0.1', 0)) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(ServiceError, match=rf'Port {port} is in use.* MLFLOW_PORT={port + 1}'):
            require_free({'mlflow_port': port})
