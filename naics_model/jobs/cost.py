"""What a piece of work took: seconds, processor time, memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Cost:
    """What a step took: wall seconds, CPU seconds of this process, peak resident bytes."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0


@contextmanager
def measured() -> Iterator[Cost]:
    """Yield a `Cost` that is filled in when the block ends without an error."""
    cost = Cost()
    _reset_peak_memory()
    wall, cpu = time.monotonic(), time.process_time()
    yield cost
    cost.seconds = time.monotonic() - wall
    cost.cpu_seconds = time.process_time() - cpu
    cost.peak_memory_bytes = peak_memory_bytes()


def _reset_peak_memory() -> None:
    # Several steps may share a process; Linux can restart the high-water mark, others cannot.
    # Where a container forbids it, the figure is the process's peak so far.
    if sys.platform == 'linux':
        with suppress(OSError):
            Path('/proc/self/clear_refs').write_text('5')


def peak_memory_bytes() -> int:
    """Return the most memory that this process has held at once, in bytes."""
    if sys.platform == 'linux':
        for line in Path('/proc/self/status').read_text().splitlines():
            if line.startswith('VmHWM:'):
                return int(line.split()[1]) * 1024
    # Linux counts ru_maxrss in kibibytes, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == 'darwin' else peak * 1024
