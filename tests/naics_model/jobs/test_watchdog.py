"""A job ends with its launcher."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from naics_model.jobs.watchdog import LAUNCHER_PID

JOB = """
import time
from naics_model.jobs.watchdog import heed_signals, watch_launcher
heed_signals()
watch_launcher(interval=0.05)
print('watching', flush=True)
time.sleep(60)
"""


def start(launcher: int | str | None, rank: str = '0') -> subprocess.Popen[str]:
    env = {**os.environ, 'LOCAL_RANK': rank}
    env.pop(LAUNCHER_PID, None)
    if launcher is not None:
        env[LAUNCHER_PID] = str(launcher)
    return subprocess.Popen(
        [sys.executable, '-c', JOB],
        env=env,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def said(job: subprocess.Popen[str]) -> str:
    assert job.stdout is not None
    return job.stdout.readline()


def test_the_job_ends_when_its_launcher_does() -> None:
    launcher = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)
    job = start(launcher.pid)
    assert said(job) == 'watching\n'
    assert job.poll() is None
    launcher.kill()
    # Not reaped yet: a zombie launcher is a dead one.
    assert job.wait(timeout=30) == -signal.SIGTERM
    launcher.wait()


def test_a_launcher_that_is_gone_already_ends_the_job_at_once() -> None:
    gone = subprocess.Popen([sys.executable, '-c', ''])
    gone.wait()
    assert start(gone.pid).wait(timeout=30) == -signal.SIGTERM


def test_nobody_is_watched_unasked_or_from_another_rank() -> None:
    gone = subprocess.Popen([sys.executable, '-c', ''])
    gone.wait()
    for job in (start(None), start(gone.pid, rank='1')):
        assert said(job) == 'watching\n'
        assert job.poll() is None
        job.kill()
        job.wait()


def test_a_launcher_of_another_machine_is_not_watched() -> None:
    job = start('1@elsewhere')
    assert said(job) == 'watching\n'
    assert job.poll() is None
    job.kill()
    job.wait()


def test_a_job_started_in_the_background_can_be_stopped() -> None:
    # Ignored signals are handed down to children.
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        jobs = [start(None), start(None)]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for job, number in zip(jobs, before, strict=True):
        assert said(job) == 'watching\n'
        job.send_signal(number)
        assert job.wait(timeout=30) != 0
