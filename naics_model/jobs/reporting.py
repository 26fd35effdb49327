"""Progress out of a job while it runs, and `result.json` at its end.

`result.json` is the contract: whoever launched the job reads it. The live channel (Dagster Pipes
when the launcher offers it, the console otherwise) only lets people watch.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dagster_pipes import DAGSTER_PIPES_CONTEXT_ENV_VAR, PipesContext, open_dagster_pipes

from naics_model.jobs.cost import peak_memory_bytes
from naics_model.storage.files import sha256_of, write_json


@dataclass(frozen=True)
class JobResult:
    """What a job produced.

    Attributes:
        metrics: final figures by name.
        files: the files it wrote, by what they are.
        details: anything else worth keeping; must be JSON.
    """

    metrics: Mapping[str, float]
    files: Mapping[str, Path]
    details: Mapping[str, Any] = field(default_factory=dict)


def is_rank_zero() -> bool:
    """Return whether this process speaks for the job. torchrun's children all inherit the
    launcher's channel, and if each of them reported, the launching step would fail after training;
    so only rank 0 does.
    """
    return os.environ.get('RANK', '0') == '0'


class Reporter:
    """The voice of a job. Made by `open_reporter`; silent on every rank but 0."""

    def __init__(self, result_path: Path, pipes: PipesContext | None) -> None:
        self._result_path = result_path
        self._pipes = pipes
        self._started = time.monotonic()

    def log(self, message: str) -> None:
        """Say one line to the person who watches."""
        if not is_rank_zero():
            return
        if self._pipes is not None:
            self._pipes.log.info(message)
        else:
            print(message, file=sys.stderr, flush=True)

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Report the figures of one epoch while the job goes on."""
        if not is_rank_zero():
            return
        if self._pipes is not None:
            self._pipes.report_custom_message(
                {
                    'kind': 'epoch',
                    'epoch': epoch,
                    'metrics': {k: float(v) for k, v in metrics.items()},
                }
            )
        # All of them are in the message and in the logger; a person who watches follows the loss.
        watched = {name: value for name, value in metrics.items() if name.endswith('/loss')}
        figures = '  '.join(f'{name} {v:.4f}' for name, v in (watched or metrics).items())
        self.log(f'epoch {epoch + 1}: {figures}')

    @property
    def is_heard(self) -> bool:
        """Whether a launcher listens, who keeps what is told to it by `track`."""
        return self._pipes is not None

    def track(self, kind: str, **content: Any) -> None:
        """Tell the launcher something for its experiment tracker; nothing where none listens.

        Args:
            kind: what it is; `jobs/tracking.py` has the kinds.
            content: JSON values.
        """
        if self._pipes is not None:
            self._pipes.report_custom_message({'kind': kind, 'time': time.time(), **content})

    def finish(self, result: JobResult) -> None:
        """Write `result.json` atomically: metrics, files with sha256 and bytes, details, the
        command, seconds, peak memory.
        """
        if not is_rank_zero():
            return
        write_json(
            {
                'metrics': {name: float(value) for name, value in result.metrics.items()},
                'files': {
                    name: {
                        'path': str(path),
                        'sha256': sha256_of(path),
                        'bytes': path.stat().st_size,
                    }
                    for name, path in result.files.items()
                },
                'details': dict(result.details),
                'command': shlex.join(['python', *sys.orig_argv[1:]]),
                'seconds': round(time.monotonic() - self._started, 2),
                'peak_memory_bytes': peak_memory_bytes(),
            },
            self._result_path,
        )


@contextmanager
def open_reporter(result_path: Path) -> Iterator[Reporter]:
    """Yield the job's reporter: over Dagster Pipes when launched by the asset graph, to the console
    otherwise.

    Args:
        result_path: where `finish` writes `result.json`. An older one is removed first, so that a
            crashed job can not be taken for a finished one.
    """
    if is_rank_zero():
        result_path.unlink(missing_ok=True)
    if is_rank_zero() and DAGSTER_PIPES_CONTEXT_ENV_VAR in os.environ:
        with open_dagster_pipes() as pipes:
            yield Reporter(result_path, pipes)
    else:
        yield Reporter(result_path, None)
