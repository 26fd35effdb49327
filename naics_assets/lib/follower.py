"""A run's events as lines for the person who watches a terminal."""

from __future__ import annotations

import logging
from typing import Any

import dagster as dg
from rich.console import Console
from rich.status import Status

from naics_assets.lib.mlflow_run import FIRST_WORDS


class Follower:
    """Prints a run's events as lines for a person: a step, what it made, how long it took."""

    def __init__(self, console: Console, status: Status, steps: int) -> None:
        self._console = console
        self._status = status
        self._steps = steps
        self._done = 0
        self._running = ''
        self._made: dict[str, str] = {}
        self.failures: list[str] = []

    def __call__(self, entry: dg.EventLogEntry) -> None:
        """Take one entry of the run's event log."""
        event = entry.dagster_event
        if event is None:
            said = entry.user_message
            # The links need the servers of `make dev`.
            is_meant_for_people = int(entry.level) >= logging.INFO and not said.startswith(
                ('[pipes]', FIRST_WORDS)
            )
            if is_meant_for_people and entry.step_key == self._running:
                self._console.print(f'         {said}', style='dim', highlight=False, markup=False)
            return
        step = event.step_key or ''
        if event.event_type == dg.DagsterEventType.STEP_START:
            self._running = step
            self._status.update(f'{step} …')
        elif event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
            self._made[step] = _made(event.step_materialization_data.materialization.metadata)
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            self._check(event.asset_check_evaluation_data)
        elif event.event_type == dg.DagsterEventType.STEP_SUCCESS:
            self._done += 1
            seconds = event.step_success_data.duration_ms / 1000
            self._line('green', step, f'{seconds:7.1f} s   {self._made.get(step, "")}')
        elif event.event_type == dg.DagsterEventType.STEP_SKIPPED:
            self._done += 1
            self._line('dim', step, 'skipped')
        elif event.event_type == dg.DagsterEventType.STEP_FAILURE:
            self._line('red', step, 'failed')
            self.failures.append(f'{step}: {_reason(event.step_failure_data)}')

    def _line(self, colour: str, step: str, rest: str) -> None:
        count = f'{self._done:3d}/{self._steps}'
        self._console.print(f'[{colour}]{count}[/]  {step:<28}{rest}', highlight=False)

    def _check(self, check: Any) -> None:
        if check.passed:
            return
        if check.blocking:
            line, style = f'check {check.check_name} failed: {check.description}', 'red'
        else:
            line, style = f'note: {check.description}', 'yellow'
        self._console.print(f'         {line}', style=style, highlight=False, markup=False)


def _made(metadata: Any) -> str:
    """Return what a materialisation made, in a few words."""
    words = []
    if 'dagster/row_count' in metadata:
        words.append(f'{metadata["dagster/row_count"].value:,} rows')
    if 'size_mb' in metadata:
        words.append(f'{metadata["size_mb"].value:.2f} MB')
    return ', '.join(words)


def _reason(data: Any) -> str:
    if data.user_failure_data and data.user_failure_data.description:
        return str(data.user_failure_data.description)
    error = data.error
    while error.cause:
        error = error.cause
    if error.cls_name == dg.DagsterExecutionInterruptedError.__name__:
        return 'interrupted'
    return str(error.message).strip()
