"""Jobs in processes of their own that need not import torch again: forked from one that has.

For tests that start a job's command, and look at what it says and leaves. Tests of the process
itself (its signals, its launcher) start `python -m` instead.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_JOBS = multiprocessing.get_context('forkserver')
_JOBS.set_forkserver_preload(['naics_model.training.cli', 'naics_model.refinement.cli'])


def run_module(
    module: str, arguments: Sequence[object], environment: Mapping[str, str], timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run what `python -m module arguments` does, to its end, and return what it said."""
    words = [module, *map(str, arguments)]
    with tempfile.TemporaryDirectory() as folder:
        said = [Path(folder, name) for name in ('stdout', 'stderr')]
        job = _JOBS.Process(target=_become, args=(words, dict(environment), said))
        job.start()
        job.join(timeout)
        if job.is_alive():
            job.kill()
            raise subprocess.TimeoutExpired(words, timeout)
        assert job.exitcode is not None
        return subprocess.CompletedProcess(
            words, job.exitcode, *(path.read_text() for path in said)
        )


def _become(words: list[str], environment: dict[str, str], said: list[Path]) -> None:
    for number, path in enumerate(said, start=1):
        file = os.open(path, os.O_CREAT | os.O_WRONLY)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = filter(None, environment.get('PYTHONPATH', '').split(os.pathsep))
    sys.argv = words
    runpy.run_module(words[0], run_name='__main__', alter_sys=True)
