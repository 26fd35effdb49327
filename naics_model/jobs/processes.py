"""How a process is known to others later: by a mark that stands in a file, or on a tracked run."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any

import psutil

# A process's start is told with the clock of the machine, which may be set meanwhile; a process id
# is not given again so soon.
_CLOCK_SECONDS = 60


def this_process() -> dict[str, Any]:
    """Return the mark of this process, as JSON values: its id, its machine, since when it runs."""
    return {
        'pid': os.getpid(),
        'host': socket.gethostname(),
        'since': psutil.Process().create_time(),
    }


def is_alive(mark: Mapping[str, Any]) -> bool | None:
    """Return whether a marked process still runs; None if it is another machine's."""
    if mark['host'] != socket.gethostname():
        return None
    try:
        process = psutil.Process(mark['pid'])
        same = abs(process.create_time() - mark['since']) < _CLOCK_SECONDS
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
