"""A chain of jobs, each a process: run in order, those that ended already passed over.

Nothing is known here of what the jobs do.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagster_pipes import DAGSTER_PIPES_CONTEXT_ENV_VAR, DAGSTER_PIPES_MESSAGES_ENV_VAR

from naics_model.errors import DataError
from naics_model.jobs.watchdog import LAUNCHER_PID
from naics_model.storage.files import read_json, write_json

# The launcher's channel is this process's own: a job of the chain that spoke there would be taken
# for the whole.
_OURS = (DAGSTER_PIPES_CONTEXT_ENV_VAR, DAGSTER_PIPES_MESSAGES_ENV_VAR)


@dataclass(frozen=True)
class Job:
    """One job of a chain.

    Attributes:
        name: for people.
        module: its package, such as `naics_model.training`.
        arguments: its command line.
        result: the result.json that it writes at its end.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    result: Path


def run_chain(
    jobs: Sequence[Job],
    inputs: Any,
    record: Path,
    log: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run jobs in their order.

    A job is passed over when all before it were, its result is there, and the record says that it
    ended with these inputs and this command line.

    Args:
        jobs: in order; each may read what those before it wrote.
        inputs: any JSON value that says what the chain reads: of other inputs all is run again.
        record: the file that says which jobs ended.
        log: told each job.
        environment: variables of the jobs' own, beside this process's.

    Raises:
        DataError: a job failed; what it said is above.
    """
    known = _read(record, inputs)
    ended: dict[str, str] = {}
    passed = True
    for job in jobs:
        command = [sys.executable, '-m', job.module, *job.arguments]
        said = shlex.join(['python', *command[1:]])
        if passed and known.get(job.name) == said and job.result.is_file():
            log(f'{job.name}: done before')
            ended[job.name] = said
            continue
        if passed:
            # What follows was made from another result than the one to come: it counts no more,
            # even if this process is stopped before it gets there.
            passed = False
            write_json({'inputs': inputs, 'ended': ended}, record)
        log(f'{job.name}: {said}')
        inherited = {name: value for name, value in os.environ.items() if name not in _OURS}
        process = subprocess.run(
            command,
            env={**inherited, **(environment or {}), LAUNCHER_PID: str(os.getpid())},
            check=False,
        )
        if process.returncode != 0:
            raise DataError(
                f'{job.name} ended with exit code {process.returncode} (what it said is above); '
                f'try it alone: {said}'
            )
        ended[job.name] = said
        write_json({'inputs': inputs, 'ended': ended}, record)


def _read(record: Path, inputs: Any) -> dict[str, str]:
    """Return the commands that ended with these inputs, by job."""
    known = read_json(record) if record.is_file() else {}
    return dict(known['ended']) if known.get('inputs') == inputs else {}
