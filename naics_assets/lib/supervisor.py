"""Processes that serve, side by side: started in order, kept alive, stopped in reverse order.

What belongs here: how such processes are kept. Which ones there are is the business of the commands
that people start (`naics_assets/dev.py`, `naics_assets/stack.py`).
"""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from naics_model.errors import NaicsError

HOST = '127.0.0.1'
"""All that is served is served to this machine only."""

POLL_SECONDS = 0.25
CHECK_SECONDS = 60
START_SECONDS = 300
# The wait before a restart doubles up to the longest, until the service has stood for a while.
LONGEST_WAIT_SECONDS = 60
STEADY_SECONDS = 120
LINES_SHOWN = 15


class ServiceError(NaicsError):
    """A service did not start."""


def require_free(options: Mapping[str, int]) -> None:
    """See that nobody listens where services are to.

    Args:
        options: ports by the names of the options that choose them, in Python's spelling.

    Raises:
        ServiceError: somebody listens there.
    """
    for option, port in options.items():
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                raise ServiceError(
                    f'Port {port} is in use: stop what listens there, or choose another one, as in '
                    f'make ... {option.upper()}={port + 1}.'
                )


@dataclass(frozen=True)
class Service:
    """A process that is to run until a person stops it.

    Attributes:
        name: what people call it.
        command: what is started.
        check: a command that ends with 0 if the service answers.
        environment: what is set for both, beside this process's own environment.
        log: the file that its output is added to; None for this terminal.
        user: who it runs as, if this process may choose.
        folder: where it is started; None for here.
        stop_signal: what asks it to stop.
        stop_seconds: how long it may take to; then it is killed, with all processes of its group.
    """

    name: str
    command: Sequence[str]
    check: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    log: Path | None = None
    user: str | None = None
    folder: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 20


class _Running:
    """A service with its process."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._deaths = 0
        self._again_at: float | None = None
        try:
            self._start()
        except OSError as error:
            raise ServiceError(f'{service.name} was not started: {error}.') from error

    def _start(self) -> None:
        service = self.service
        output = service.log.open('ab') if service.log else None
        try:
            # A session of its own: Ctrl-C reaches the supervisor alone, which stops in order.
            self.process = subprocess.Popen(
                service.command,
                env={**os.environ, **service.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=service.folder,
                start_new_session=True,
                **as_user(service.user),
            )
        finally:
            if output:
                output.close()
        self._started, self._again_at = time.monotonic(), None

    def await_health(self) -> None:
        """Wait until the service answers.

        Raises:
            ServiceError: it ended, or did not answer in time.
        """
        service, deadline = self.service, time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                answers = _answers(service)
            except OSError as error:
                raise ServiceError(
                    f'It can not be found out whether {service.name} answers: {error}.'
                ) from error
            if self.process.poll() is not None:
                raise ServiceError(f'{service.name} {_how(self.process)}{self._last_words()}')
            if answers:
                return
            time.sleep(POLL_SECONDS)
        raise ServiceError(
            f'{service.name} did not answer within {START_SECONDS} s{self._last_words()}'
        )

    def keep(self) -> None:
        """Start the service again if it has ended, after a while that grows with each time."""
        now = time.monotonic()
        if self._again_at is not None:
            if now >= self._again_at:
                try:
                    self._start()
                except OSError as error:
                    # No memory for it just now, or no place for its log: the others stand.
                    self._start_later(f'was not started ({error.strerror})')
        elif self.process.poll() is not None:
            # What it has left, a worker that holds its port or a run, ends with it: as in a
            # container.
            self._kill_group()
            if now - self._started > STEADY_SECONDS:
                self._deaths = 0
            self._start_later(_how(self.process))

    def _start_later(self, what: str) -> None:
        wait = min(2**self._deaths, LONGEST_WAIT_SECONDS)
        self._deaths += 1
        self._again_at = time.monotonic() + wait
        log = f' Its log: {self.service.log}' if self.service.log else ''
        say(f'{self.service.name} {what}; it is started again in {wait} s.{log}')

    def stop(self) -> None:
        """Ask the service to end, wait, then kill what is left."""
        try:
            if self.process.poll() is None:
                self.process.send_signal(self.service.stop_signal)
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(self.service.stop_seconds)
        finally:
            self._kill_group()
            self.process.wait()

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def _last_words(self) -> str:
        log = self.service.log
        if log is None:
            return '.'
        try:
            lines = log.read_text('utf-8', errors='replace').splitlines()[-LINES_SHOWN:]
        except OSError as error:
            return f'; its log was not read: {error}.'
        return '\n'.join([f'; the end of its log ({log}):', *lines])


def as_user(user: str | None) -> dict[str, Any]:
    """Return what `subprocess` takes to start a process as another user, without our groups."""
    if user is None:
        return {}
    return {'user': user, 'group': pwd.getpwnam(user).pw_gid, 'extra_groups': []}


def say(line: str) -> None:
    """Tell the person at the terminal, or the log that the terminal is."""
    # There is none any more where the terminal was closed.
    with suppress(OSError):
        print(line, flush=True)


def serve(services: Iterable[Service], ready: Sequence[str]) -> None:
    """Run services until a person (Ctrl-C, a closed terminal) or the system (SIGTERM) stops them.

    Each is started when the one before it answers. One that dies later is started again, after a
    second at first, and up to a minute if it goes on dying.

    Args:
        services: in the order of their starts; they are stopped in reverse.
        ready: lines that are shown once all of them answer.

    Raises:
        ServiceError: one did not start; those before it are stopped.
    """
    # Also where a shell has started us in the background, with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    # Otherwise they would outlive the terminal, and us. Under nohup they are meant to.
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _interrupt)
    running: list[_Running] = []
    try:
        for service in services:
            running.append(_Running(service))
            running[-1].await_health()
        for line in ready:
            say(line)
        while True:
            for one in running:
                one.keep()
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        say('Stopping.')
    finally:
        # A second Ctrl-C kills what is being waited for, and the rest is then stopped likewise.
        for one in reversed(running):
            with suppress(KeyboardInterrupt):
                one.stop()


def _interrupt(number: int, frame: FrameType | None) -> None:
    # Both the kernel and the shell tell of a closed terminal. The second time is not, as a second
    # Ctrl-C is, the wish of a person in a hurry.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    raise KeyboardInterrupt


def _answers(service: Service) -> bool:
    try:
        return not subprocess.run(
            service.check,
            env={**os.environ, **service.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=CHECK_SECONDS,
        ).returncode
    except subprocess.TimeoutExpired:
        return False


def _how(process: subprocess.Popen[bytes]) -> str:
    code = process.returncode
    if code < 0:
        return f'was killed ({signal.Signals(-code).name})'
    return f'ended with exit code {code}'


def python(*arguments: str) -> tuple[str, ...]:
    """Return the command that runs a module with this Python."""
    return (sys.executable, '-m', *arguments)
