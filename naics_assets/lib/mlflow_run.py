"""A job's MLflow run while the job is at work: opened, written and closed by a thread of its own.

That thread alone speaks to MLflow, and only the step's own tells Dagster of it. So mlflow, which
takes seconds to import, is imported while the job loads what it needs; and a tracker that is slow,
or away for a while, holds up neither the job nor the step that watches it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import dagster as dg

from naics_assets.lib.memory import keep_to_the_end
from naics_assets.lib.mlflow_entries import (
    Figure,
    Opened,
    Write,
    entries_of,
    final_figures,
    first_of,
    log_file,
    log_parameters,
)
from naics_assets.lib.mlflow_machine import watch_machine
from naics_model.errors import first_line

FIRST_WORDS = 'MLflow run: '
"""What a step's first line begins with."""

# Between two tries, while MLflow does not answer: the first, and at most.
_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 30.0
# How long a job that has ended waits for what is still to be written.
_CLOSE_SECONDS = 60.0


class JobRun:
    """The run of one job. Made by `MlflowTracker.job_run`, before the job is launched."""

    def __init__(self, context: dg.AssetExecutionContext, open_run: Callable[[], Opened]) -> None:
        """Args:
        context: the step's context, told of the run.
        open_run: makes the run; called in the thread that speaks to MLflow.
        """
        self._context = context
        self._opening: Future[Opened] = Future()
        self._announced = False
        self._ended = threading.Event()
        self._changed = threading.Condition()
        # Guarded by the condition: what is still to be written, in order; what people are to be
        # warned of, and why, each once.
        self._left: deque[Figure | Write] = deque()
        self._warnings: dict[str, str] = {}
        self._warned: set[str] = set()
        self._thread = threading.Thread(
            target=self._work, args=(open_run,), name='mlflow', daemon=True
        )
        self._thread.start()

    def require(self) -> Opened:
        """Return the run, waiting for it.

        Raises:
            dagster.Failure: MLflow did not make it.
        """
        if error := self._opening.exception():
            raise not_opened(error) from None
        return self._opening.result()

    @property
    def link(self) -> dg.MetadataValue:
        """The run's page, for a materialisation's metadata."""
        return dg.MetadataValue.url(self.require().url)

    def hear(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Take what the job has told since the last time (`naics_model/jobs/tracking.py`).

        Called again and again while the job is at work, also with nothing new: the person who
        watches is told of the run here, and of what is wrong with it.

        Raises:
            dagster.Failure: MLflow did not make a run.
        """
        for message in messages:
            self.write(*entries_of(message))
        if self._opening.done():
            self._announce(self.require())
        self._warn()

    def write(self, *entries: Figure | Write) -> None:
        """Have entries written, after those before them."""
        with self._changed:
            self._left.extend(entries)
            self._changed.notify()

    def log_outcome(self, metrics: Mapping[str, float], group: str = '') -> None:
        """Log final figures here and on the parent, where whole runs of the graph are compared.

        Args:
            metrics: by name.
            group: what their names begin with on the parent, where jobs have figures of one name.
        """
        prefix = group and f'{group}/'
        self.write(*final_figures(metrics))
        self.write(*final_figures({f'{prefix}{k}': v for k, v in metrics.items()}, of_parent=True))

    def log_headlines(self, metrics: Mapping[str, float]) -> None:
        """Log the first figures of a report on the parent, where MLflow's charts begin with them:
        groups stand in the order of the alphabet.

        Args:
            metrics: by name, such as `text_nearest/warm_hard/hit_at_1`.
        """
        named = {_headline(name): value for name, value in metrics.items()}
        self.write(*final_figures(named, of_parent=True))

    def log_choices(self, choices: Mapping[str, str]) -> None:
        """Log what a person chose for the whole run of the graph as the parent's parameters."""
        self.write(partial(log_parameters, dict(choices), of_parent=True))

    def log_report(self, files: Iterable[Path]) -> None:
        """Attach the files of a report to the run; its pictures so that runs can be compared."""
        self.write(*(partial(log_file, path) for path in files))

    def close(self, last: Write) -> None:
        """Wait until all is written, for a while; tell the person who watches what is not.

        Args:
            last: closes the run.
        """
        self.write(last)
        self._ended.set()
        self.write()  # wakes the thread
        self._thread.join(_CLOSE_SECONDS)
        if not self._opening.done() or self._opening.exception():
            return
        self._announce(self._opening.result())
        self._warn()
        if self._left:
            self._context.log.warning(
                f'MLflow has not taken the last {len(self._left)} entries of this run, which is '
                'left open there until a later job closes it.'
            )

    def _announce(self, opened: Opened) -> None:
        if self._announced:
            return
        self._announced = True
        self._context.log.info(f'{FIRST_WORDS}{opened.url}')
        if opened.new_tags:
            self._context.instance.add_run_tags(self._context.run.run_id, dict(opened.new_tags))

    def _warn(self) -> None:
        with self._changed:
            new = {k: why for k, why in self._warnings.items() if k not in self._warned}
        for words, why in new.items():
            self._context.log.warning(f'{words}: {why}')
        self._warned.update(new)

    def _work(self, open_run: Callable[[], Opened]) -> None:
        """Open the run, then write what there is, in order, until it is closed."""
        try:
            opened = open_run()
        except Exception as error:  # noqa: BLE001  whatever it is, the step's own thread raises it
            self._opening.set_exception(error)
            return
        self._opening.set_result(opened)
        keep_to_the_end()  # mlflow
        watch_machine(opened, self.write, self._ended)
        pause = _PAUSE_SECONDS
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._left or self._ended.is_set())
                if not self._left:
                    return
                count, write = first_of(self._left)
            if self._is_settled(write, opened):
                pause = _PAUSE_SECONDS
                with self._changed:
                    for _ in range(count):
                        self._left.popleft()
            elif self._ended.is_set():
                time.sleep(_PAUSE_SECONDS)
            else:
                self._ended.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _is_settled(self, write: Write, opened: Opened) -> bool:
        """Try to write; return whether that is done with: written, or refused for good."""
        from mlflow.exceptions import MlflowException

        try:
            write(opened)
        except Exception as error:  # noqa: BLE001  a mistake costs the entry, not those after it
            status = error.get_http_status_code() if isinstance(error, MlflowException) else 0
            may_pass = status >= 500 or status == HTTPStatus.TOO_MANY_REQUESTS
            words = (
                'MLflow does not answer; what it is to be told is kept, and tried again'
                if may_pass
                else 'MLflow does not take all that it is told, and the run goes without'
            )
            with self._changed:
                self._warnings.setdefault(words, first_line(error))
            return not may_pass
        return True


def not_opened(error: BaseException) -> dg.Failure:
    """Return why a step can not go on without its run.

    To be raised from None: Dagster stores what an error comes from, and that has the address of the
    server as it was given, with its password.
    """
    return dg.Failure(
        f'MLflow opened no run for this step, which was stopped: {first_line(error)}. '
        'Start its server, or have MLFLOW_TRACKING_URI name another.',
        allow_retries=False,
    )


def _headline(name: str) -> str:
    """Return a figure's name over a chart, which has room for some twenty characters: what is
    measured first, so that one measure of all models stands together.
    """
    model, part, measure = name.split('/')
    hard = ' hard' if part.endswith('_hard') else ''
    return f'all/{measure}{hard} {model.replace("_nearest", " known")}'
