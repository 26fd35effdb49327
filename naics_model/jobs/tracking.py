"""What a job tells for the experiment tracker: its settings, its figures, its kept checkpoints.

It tells its launcher, who has the tracker's run and writes it: so no job waits for a tracker, or
ends because one is away. Started by hand, a job writes CSV files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dagster_pipes import DAGSTER_PIPES_CONTEXT_ENV_VAR
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, Logger

from naics_model.jobs.checkpoints import read_checkpoint
from naics_model.jobs.reporting import Reporter
from naics_model.storage.files import sha256_of


class LauncherLogger(Logger):
    """Passes on to the launcher what Lightning logs: `settings` and `figures`."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__()
        self._reporter = reporter

    @property
    def name(self) -> str:
        return 'launcher'

    @property
    def version(self) -> str:
        return ''

    def log_hyperparams(self, params: Mapping[str, Any], *args: Any, **kwargs: Any) -> None:
        values = {name: str(value) for name, value in params.items()}
        self._reporter.track('settings', values=values)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        values = {name: float(value) for name, value in metrics.items()}
        self._reporter.track('figures', values=values, step=step or 0)


def choose_logger(reporter: Reporter, run_dir: Path, settings: Mapping[str, Any]) -> Logger | bool:
    """Return the logger: the launcher if there is one, CSV files in `run_dir` otherwise.

    Args:
        reporter: the job's voice.
        run_dir: the job's folder.
        settings: flat settings, told to the launcher as the parameters of its run.
    """
    if DAGSTER_PIPES_CONTEXT_ENV_VAR not in os.environ:
        return CSVLogger(save_dir=run_dir, name='metrics')
    if not reporter.is_heard:
        return False  # another rank than the one that speaks
    logger = LauncherLogger(reporter)
    logger.log_hyperparams(settings)
    return logger


def tell_checkpoints(
    trainer: Trainer, exported_from: Path, exported: Path | None, reporter: Reporter
) -> None:
    """Tell the launcher each kept checkpoint, with its digest and its `val/loss`.

    Args:
        trainer: of the finished fit.
        exported_from: the checkpoint whose weights became the job's product.
        exported: the folder of the model, if it is one.
        reporter: the job's voice.
    """
    kept = trainer.checkpoint_callback
    if not reporter.is_heard or not isinstance(kept, ModelCheckpoint):
        return
    scores = {Path(path): float(score) for path, score in kept.best_k_models.items()}
    for path in sorted({*scores, exported_from}):
        saved = read_checkpoint(path, mmap=True)
        reporter.track(
            'checkpoint',
            path=str(path),
            sha256=sha256_of(path),
            step=saved['global_step'],
            score=scores.get(path),
            exported=str(exported) if exported and path == exported_from else None,
        )
