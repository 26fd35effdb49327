"""Ends a job whose launcher is gone, so that no rank trains on for nobody.

A launcher that wants this puts its own process id into the environment. The kernel's parent-death
signal would not do: torchrun stands between the launcher and the ranks, and survives the launcher.
"""

from __future__ import annotations

import os
import signal
import threading
import time

import psutil

from naics_model.jobs.ranks import are_started
from naics_model.jobs.reporting import is_rank_zero

LAUNCHER_PID = 'NAICS_LAUNCHER_PID'
"""The environment variable that names the process to watch. The launcher must start the job in a
session of its own: the watchdog ends the whole process group, or torchrun and with it every rank.
"""


def _is_alive(process: psutil.Process) -> bool:
    # is_running compares creation times too, so that a recycled process id is not taken for the
    # launcher.
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _end_job() -> None:
    if are_started():
        # torchrun, which ends every rank. One rank that ended alone would leave the others waiting
        # for it, each in a group of its own.
        os.kill(os.getppid(), signal.SIGTERM)
    else:
        os.killpg(os.getpgrp(), signal.SIGTERM)


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
    """Start the watch, in rank 0 only and only where the launcher asked for it
    (`NAICS_LAUNCHER_PID`).

    Args:
        interval: seconds between two looks.
    """
    pid = os.environ.get(LAUNCHER_PID)
    if pid is None or not is_rank_zero():
        return
    try:
        launcher = psutil.Process(int(pid))
    except psutil.NoSuchProcess:
        _end_job()
        return

    def watch() -> None:
        while _is_alive(launcher):
            time.sleep(interval)
        _end_job()

    threading.Thread(target=watch, name='watch-launcher', daemon=True).start()
