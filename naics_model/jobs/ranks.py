"""The ranks of a job: as many processes as its trainer has devices, which meet on this machine.

No torch: this is decided before a model is loaded. What ranks say to each other once they have met
is in `collective.py`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from typing import NoReturn

import psutil

MEETING = 'NAICS_MEETING_FILE'
"""The environment variable that names the file in which the ranks find each other."""


def are_started() -> bool:
    """Return whether this process is a rank already, of torchrun's."""
    return 'LOCAL_WORLD_SIZE' in os.environ


def become_ranks(devices: int | str, module: str, arguments: Sequence[str]) -> None:
    """Replace this process by torchrun with the same command, where several devices are asked for.

    Each device gets a process, and each process its share of the cores. On a CPU two processes of
    one thread are nearly twice as fast as one of two threads: an encoder's products are too small
    to be shared out (measured with MiniLM on two cores: 4.1 seconds for what takes 7.1).

    Nothing listens beyond this machine: ranks meet in files, and talk over the loopback interface.

    Args:
        devices: `--trainer.devices`; `auto` is one.
        module: the job's package.
        arguments: its command line.
    """
    if not are_started() and ranks_of(devices) > 1:
        _exec_torchrun(ranks_of(devices), module, arguments)


def ranks_of(devices: int | str) -> int:
    """Return how many processes a fit has; what torchrun started, or what it would be asked for."""
    if are_started():
        return int(os.environ['WORLD_SIZE'])
    return 1 if devices == 'auto' else int(devices)


def _exec_torchrun(count: int, module: str, arguments: Sequence[str]) -> NoReturn:
    """Torchrun's `--standalone` would open a port on every interface, and unpickle what comes in
    there; so would its workers' store."""
    loopback = _loopback()
    defaults = {
        'OMP_NUM_THREADS': str(max((os.cpu_count() or 1) // count, 1)),
        'GLOO_SOCKET_IFNAME': loopback,
        'NCCL_SOCKET_IFNAME': loopback,
    }
    decided = {'TORCH_DISABLE_SHARE_RDZV_TCP_STORE': '1', MEETING: _empty_file()}
    ranks = ['--nnodes', '1', '--nproc-per-node', str(count), '--local-addr', '127.0.0.1']
    ranks += ['--rdzv-backend', 'c10d', '--rdzv-conf', 'store_type=file']
    ranks += ['--rdzv-endpoint', _empty_file(), '--rdzv-id', 'job', '-m', module]
    command = [sys.executable, '-m', 'torch.distributed.run', *ranks, *arguments]
    os.execve(sys.executable, command, {**defaults, **os.environ, **decided})


def _empty_file() -> str:
    """Make a file that only this person can read, in the folder of temporary files.

    The ranks remove theirs at the end; torchrun's own stays, two kilobytes.
    """
    handle, path = tempfile.mkstemp(prefix='naics-ranks-')
    os.close(handle)
    return path


def _loopback() -> str:
    """Return the name of the interface of 127.0.0.1."""
    return next(
        name
        for name, addresses in psutil.net_if_addrs().items()
        if any(address.address == '127.0.0.1' for address in addresses)
    )
