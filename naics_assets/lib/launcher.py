"""Running a job of `naics_model` as a process of its own, heard while it runs, and stopped whole.

Not in this process, because Lightning's launcher re-executes the current command line, the GPU is
freed when a job's process ends, the code location stays free of torch, and people run the very
same command in a shell.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import dagster as dg
import yaml

from naics_model import training
from naics_model.jobs.command import profile_path
from naics_model.jobs.watchdog import LAUNCHER_PID
from naics_model.storage.files import read_json

TRAINING_PROFILES = Path(training.__file__).with_name('profiles')
POLL_SECONDS = 0.25
LINES_KEPT = 60
# On SIGINT a job ends in its own time: a large checkpoint may be half written.
SAVE_SECONDS = 120
TERMINATE_SECONDS = 10


class JobLauncher(dg.ConfigurableResource):
    """Launches jobs; its settings are what a person chooses before a run.

    Attributes:
        profile: the profile of training and refinement: `smoke`, `cpu` or `gpu`.
        processes: of a job that trains (one for each GPU); 0 is what the profile says.
    """

    profile: str = 'smoke'
    processes: int = 0

    def trainer(self) -> list[str]:
        """Return what these settings say to a job that trains."""
        devices = ['--trainer.devices', str(self.processes)] if self.processes else []
        return ['--config', self.profile, *devices]

    def backbone(self) -> str:
        """Return the name of the profile's backbone, which the token cache has to be cut for."""
        settings = yaml.safe_load(profile_path(self.profile, TRAINING_PROFILES).read_text('utf-8'))
        return str(settings['model']['backbone'])

    def run(
        self,
        context: dg.AssetExecutionContext,
        module: str,
        arguments: Sequence[str | Path],
        result_path: Path,
        environment: Mapping[str, str] | None = None,
    ) -> Any:
        """Run `python -m module arguments` to its end and return its parsed `result.json`.

        Each epoch that the job reports becomes an AssetObservation while it runs, so that the UI
        plots the loss live.

        Args:
            context: the step's context.
            module: a package with a command line, such as `naics_model.training`.
            arguments: its arguments.
            result_path: where the job writes `result.json`, its contract with this step.
            environment: variables beside those of this process.

        Raises:
            dagster.Failure: the job ended with an error; the last lines it said are in the text.
        """
        with dg.open_pipes_session(
            context=context,
            context_injector=dg.PipesTempFileContextInjector(),
            message_reader=dg.PipesTempFileMessageReader(),
        ) as session:
            command = [sys.executable, '-m', module, *map(str, arguments)]
            context.log.debug(f'Launching: {shlex.join(command)}')
            process = subprocess.Popen(
                command,
                env={
                    # Waiting threads sleep: where a neighbour keeps a core busy, threads that spin
                    # for it make a step of two cores take 16 seconds in place of 3.
                    'OMP_WAIT_POLICY': 'PASSIVE',
                    **os.environ,
                    **session.get_bootstrap_env_vars(),
                    **(environment or {}),
                    LAUNCHER_PID: str(os.getpid()),
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors='replace',
                start_new_session=True,
            )
            last_lines: deque[str] = deque(maxlen=LINES_KEPT)
            reader = threading.Thread(
                target=_forward, args=(process.stdout, last_lines), daemon=True
            )
            reader.start()
            observed = 0
            try:
                while True:
                    ended = _wait(process, POLL_SECONDS)
                    observed = _observe_epochs(context, session, observed)
                    if ended:
                        break
            finally:
                _stop(process)
                reader.join(TERMINATE_SECONDS)
        _observe_epochs(context, session, observed)
        if process.returncode != 0:
            raise dg.Failure(_reason(module, process.returncode, last_lines), allow_retries=False)
        return read_json(result_path)


def _reason(module: str, code: int, last_lines: Sequence[str]) -> str:
    """Return why a job ended: its own sentence if it said one, otherwise the last it wrote."""
    # torchrun adds a page about itself after what the job said.
    sentences = [line for line in last_lines if line.startswith('Error: ')]
    if sentences:
        return sentences[-1].removeprefix('Error: ')
    return '\n'.join([f'{module} ended with exit code {code}:', *last_lines])


def _forward(stream: IO[str], last_lines: deque[str]) -> None:
    """Pass a job's lines on to this step's own output, and keep the last of them."""
    for line in stream:
        last_lines.append(line.rstrip())
        print(line, end='', file=sys.stderr, flush=True)


def _wait(process: subprocess.Popen[str], seconds: float) -> bool:
    """Return whether the process has ended, waiting at most some seconds for it."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _observe_epochs(context: dg.AssetExecutionContext, session: Any, observed: int) -> int:
    """Log every epoch message not seen before as an observation; return how many are seen now."""
    messages = session.get_custom_messages()
    for message in messages[observed:]:
        if isinstance(message, dict) and message.get('kind') == 'epoch':
            context.log_event(
                dg.AssetObservation(
                    asset_key=context.asset_key,
                    partition=context.partition_key,
                    metadata={'epoch': message['epoch'], **message['metrics']},
                )
            )
    return len(messages)


def _stop(process: subprocess.Popen[str]) -> None:
    """End a job and all its ranks: ask, wait, insist.

    The signals go to the whole process group; a signal to torchrun alone would leave ranks alive.
    For the same reason the group is ended even if its leader has ended already.
    """
    for signal_number, seconds in (
        (signal.SIGINT, SAVE_SECONDS),
        (signal.SIGTERM, TERMINATE_SECONDS),
    ):
        if process.poll() is None:
            os.killpg(process.pid, signal_number)
            _wait(process, seconds)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
