"""Running a job of `naics_model` as a process of its own, heard while it runs, and stopped whole.

Not in this process, because Lightning's launcher re-executes the current command line, the GPU is
freed when a job's process ends, the code location stays free of torch, and people run the very
same command in a shell.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
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
# What a process of a job is known by, wherever it has got to: torchrun's ranks are in sessions of
# their own, and have another parent once torchrun is dead.
_JOB_ID = 'NAICS_JOB_ID'
# How torchrun tells of a rank that did not end by itself.
_KILLED_RANK = re.compile(r'Signal \d+ \((SIG\w+)\) received by PID \d+')

Hear = Callable[[Sequence[Any]], None]
"""Takes what a job has told since the last time."""

LAUNCH = 'NAICS_LAUNCH'
"""The environment variable of what stands in place of `python -m` before a job that trains, to
start it on several machines: `srun torchrun --nnodes 2 … -m`. No setting of a run, because a run's
settings come from whoever reaches the UI, and this is a command."""
RETRIES = 2
RETRY_SECONDS = 5


class Crash(dg.Failure):
    """A job did not end by itself: it was killed."""


class JobLauncher(dg.ConfigurableResource):
    """Launches jobs; its settings are what a person chooses before a run.

    Attributes:
        profile: the profile of training and refinement: `smoke`, `cpu` or `gpu`.
        processes: of a job that trains (one for each GPU); 0 is what the profile says.
        max_steps: the most steps of a job that trains, for a try of the whole graph; 0 is what the
            profile says.
    """

    profile: str = 'smoke'
    processes: int = 0
    max_steps: int = 0

    @property
    def choices(self) -> dict[str, str]:
        """What was chosen for jobs that train, in words, without what was left to the profile."""
        said = {'profile': self.profile, 'processes': self.processes, 'max_steps': self.max_steps}
        return {name: str(value) for name, value in said.items() if value}

    def backbone(self) -> str:
        """Return the name of the profile's backbone, which the token cache has to be cut for."""
        settings = yaml.safe_load(profile_path(self.profile, TRAINING_PROFILES).read_text('utf-8'))
        return str(settings['model']['backbone'])

    def train(
        self,
        context: dg.AssetExecutionContext,
        module: str,
        arguments: Sequence[str | Path],
        run_dir: Path,
        hear: Hear,
    ) -> Any:
        """Run a job that trains as these settings say, and return its parsed `result.json`.

        A fit that was cut off goes on from its last checkpoint, whoever starts it again, if
        settings and inputs are the same.

        Args:
            context: the step's context.
            module: `naics_model.training` or `naics_model.refinement`.
            arguments: what is particular to the fit.
            run_dir: the job's folder.
            hear: see `run`.

        Raises:
            dagster.Failure: see `run`.
            dagster.RetryRequested: the job was killed; a few times. (Not by a policy of the asset:
                Dagster follows that after a cancellation, too.)
        """
        settings: list[str | Path] = ['--config', self.profile, '--run_dir', run_dir]
        settings += ['--ckpt_path', 'unfinished']
        if self.processes:
            settings += ['--trainer.devices', str(self.processes)]
        if self.max_steps:
            settings += ['--max_steps', str(self.max_steps)]
        try:
            return self.run(
                context,
                module,
                [*arguments, *settings],
                run_dir / 'result.json',
                hear,
                launch=shlex.split(os.environ.get(LAUNCH, '')),
            )
        except Crash as crash:
            context.log.warning(str(crash.description).partition('\n')[0])
            raise dg.RetryRequested(RETRIES, RETRY_SECONDS) from crash

    def run(
        self,
        context: dg.AssetExecutionContext,
        module: str,
        arguments: Sequence[str | Path],
        result_path: Path,
        hear: Hear,
        launch: Sequence[str] = (),
    ) -> Any:
        """Run `python -m module arguments` to its end and return its parsed `result.json`.

        Each epoch that the job reports becomes an AssetObservation while it runs, so that the UI
        plots the loss live.

        Args:
            context: the step's context.
            module: a package with a command line, such as `naics_model.training`.
            arguments: its arguments.
            result_path: where the job writes `result.json`, its contract with this step.
            hear: called a few times a second with the messages that the job has sent since, if any;
                what it raises ends the job.
            launch: in place of `python -m`.

        Raises:
            dagster.Failure: the job ended with an error; the last lines it said are in the text. It
                is a `Crash` where the job did not end by itself, but was killed.
        """
        job_id = uuid.uuid4().hex
        # Whatever is there at the end is of this job.
        result_path.unlink(missing_ok=True)
        with dg.open_pipes_session(
            context=context,
            context_injector=dg.PipesTempFileContextInjector(),
            message_reader=dg.PipesTempFileMessageReader(),
        ) as session:
            command = [*(launch or (sys.executable, '-m')), module, *map(str, arguments)]
            context.log.debug(f'Launching: {shlex.join(command)}')
            process = subprocess.Popen(
                command,
                env={
                    # Waiting threads soon sleep: where a neighbour keeps a core busy, threads that
                    # spin for it make a step of two cores take 16 seconds in place of 3; threads
                    # that never spin make one take a sixth longer on a quiet machine.
                    'GOMP_SPINCOUNT': '20000',
                    # As long as the job gets from here.
                    'TORCH_ELASTIC_SHUTDOWN_TIMEOUT': str(SAVE_SECONDS),
                    **os.environ,
                    **session.get_bootstrap_env_vars(),
                    LAUNCHER_PID: f'{os.getpid()}@{socket.gethostname()}',
                    _JOB_ID: job_id,
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors='replace',
                start_new_session=True,
            )
            said = _Said()
            reader = threading.Thread(target=said.follow, args=(process.stdout,), daemon=True)
            reader.start()
            inbox = _Inbox(session)
            try:
                while not _wait(process, POLL_SECONDS):
                    messages = inbox.new()
                    _observe_epochs(context, messages)
                    hear(messages)
            finally:
                _stop(process, job_id)
                reader.join(TERMINATE_SECONDS)
        # The rest is there only now, when the channel is closed; also of a job that was killed.
        messages = inbox.new()
        _observe_epochs(context, messages)
        hear(messages)
        if process.returncode != 0:
            failure = _failure(module, process.returncode, said)
            if not (isinstance(failure, Crash) and result_path.is_file()):
                raise failure
            context.log.warning('The job was killed after it had written its result.')
        return read_json(result_path)


class _Said:
    """What a job says, passed on to this step's own output.

    Attributes:
        last: its last lines.
        sentence: its own word for why it ended, if it had one.
        killed: the signal that ended one of its ranks, by torchrun's word.
    """

    def __init__(self) -> None:
        self.last: deque[str] = deque(maxlen=LINES_KEPT)
        self.sentence: str | None = None
        self.killed: str | None = None

    def follow(self, stream: Iterable[str]) -> None:
        """Read a job's lines to their end."""
        for line in stream:
            self.last.append(line.rstrip())
            # Pages of torchrun's, one for each machine, may follow either.
            if line.startswith('Error: '):
                self.sentence = line.removeprefix('Error: ').rstrip()
            if found := _KILLED_RANK.search(line):
                self.killed = self.killed or found[1]
            # What keeps a step's output may be full. The job is read all the same: it would wait.
            with suppress(OSError):
                print(line, end='', file=sys.stderr, flush=True)


def _failure(module: str, code: int, said: _Said) -> dg.Failure:
    """Return why a job ended: its own sentence if it said one, otherwise the last it wrote."""
    if said.sentence is not None:
        return dg.Failure(said.sentence, allow_retries=False)
    # A shell, and srun, tell of a signal by a code above 128.
    number = -code if code < 0 else code - 128
    by = signal.Signals(number).name if number in set(signal.Signals) else said.killed
    if by:
        return Crash('\n'.join([f'{module} was killed ({by}):', *said.last]))
    lines = [f'{module} ended with exit code {code}:', *said.last]
    return dg.Failure('\n'.join(lines), allow_retries=False)


def _wait(process: subprocess.Popen[str], seconds: float) -> bool:
    """Return whether the process has ended, waiting at most some seconds for it."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


class _Inbox:
    """The messages of a job, each taken out once."""

    def __init__(self, session: dg.PipesSession) -> None:
        self._session = session
        self._taken = 0

    def new(self) -> Sequence[Any]:
        """Return what has come since the last time."""
        messages = self._session.get_custom_messages()[self._taken :]
        self._taken += len(messages)
        return messages


def _observe_epochs(context: dg.AssetExecutionContext, messages: Iterable[Any]) -> None:
    """Log each epoch as an observation."""
    for message in messages:
        if message['kind'] == 'epoch':
            context.log_event(
                dg.AssetObservation(
                    asset_key=context.asset_key,
                    partition=context.partition_key,
                    metadata={'epoch': message['epoch'], **message['metrics']},
                )
            )


def _stop(process: subprocess.Popen[str], job_id: str) -> None:
    """End a job and all its processes: ask, wait, insist.

    SIGINT and SIGTERM go to the job's process group, where torchrun passes them on to its ranks.
    Whatever is still there then is killed, wherever it is on this machine; at once, if this process
    is interrupted a second time.
    """
    try:
        for signal_number, seconds in (
            (signal.SIGINT, SAVE_SECONDS),
            (signal.SIGTERM, TERMINATE_SECONDS),
        ):
            if process.poll() is None:
                os.killpg(process.pid, signal_number)
                _wait(process, seconds)
    finally:
        for left in psutil.process_iter():
            with suppress(psutil.Error):
                if left.environ().get(_JOB_ID) == job_id:
                    left.kill()
        process.wait()
