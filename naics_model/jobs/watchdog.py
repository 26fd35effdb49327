"""Ends a job whose launcher is gone, so that no rank trains on for nobody.

A launcher that wants this puts its own process id into the environment. The kernel's parent-death
signal would not do: torchrun stands between the launcher and the ranks, and survives the launcher.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time

import psutil

from naics_model.jobs.ranks import are_started

LAUNCHER_PID = 'NAICS_LAUNCHER_PID'
"""The environment variable that names the process to watch, `pid` or `pid@host`. The launcher must
start the job in a session of its own: the watchdog ends the whole process group, or torchrun and
with it every rank.
"""


def _is_alive(process: psutil.Process) -> bool:
    # is_running compares creation times too, so that a recycled process id is not taken for the
    # launcher.
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _abandon(torchrun: psutil.Process | None) -> None:
    """End the job."""
    if torchrun is None:
        os.killpg(os.getpgrp(), signal.SIGTERM)
    elif _is_alive(torchrun):
        # It ends every rank. One rank that ended alone would leave the others waiting for it, each
        # in a session of its own.
        torchrun.terminate()
    else:
        os.kill(os.getpid(), signal.SIGKILL)


def heed_signals() -> None:
    """Take back the signals by which a job is stopped, where the launcher handed them down ignored.

    A shell ignores SIGINT for what it starts in the background, and Dagster then leaves SIGTERM
    ignored as well: a job that kept both could not be stopped by asking.
    """
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGTERM, signal.SIG_DFL),
    ):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)


def watch_launcher(interval: float = 2.0) -> None:
    """Start the watch: in every rank for torchrun, without which it would train on alone; in the
    first of the launcher's machine for the launcher, where it asked for that
    (`NAICS_LAUNCHER_PID`).

    Args:
        interval: seconds between two looks.
    """
    torchrun = _process(os.getppid()) if are_started() else None
    pid, _, host = os.environ.get(LAUNCHER_PID, '').partition('@')
    first_here = os.environ.get('LOCAL_RANK', '0') == '0'
    launched_here = bool(pid) and first_here and host in ('', socket.gethostname())
    launcher = _process(int(pid)) if launched_here else None
    if not launched_here and torchrun is None:
        return

    def watch() -> None:
        while True:
            if torchrun is not None and not _is_alive(torchrun):
                os.kill(os.getpid(), signal.SIGKILL)
            if launched_here and (launcher is None or not _is_alive(launcher)):
                _abandon(torchrun)
                return
            time.sleep(interval)

    threading.Thread(target=watch, name='watch-launcher', daemon=True).start()


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None
