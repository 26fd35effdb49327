"""A job's MLflow run: made by the launcher before the job, written by the job, closed by the
launcher.

A job that is started by hand writes CSV files instead; so mlflow, which takes two seconds to
import, is imported where it is used.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, Logger, MLFlowLogger

from naics_model.jobs.reporting import Reporter, is_rank_zero
from naics_model.storage.files import sha256_of

_SYSTEM_SECONDS = 5


class LauncherOwnedRun(MLFlowLogger):
    """An MLflow logger for a run that the launcher made and will close.

    Lightning's own marks the run as finished when the fit ends, before the job has exported
    anything, and as finished even if a later step of the job fails.
    """

    def __init__(self, tracking_uri: str, run_id: str) -> None:
        # Its environment is read when Lightning is imported, hence in words. Lightning would copy
        # whole checkpoints, optimiser included, as plain files; see `log_checkpoints`.
        super().__init__(tracking_uri=tracking_uri, run_id=run_id, log_model=False)
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        self._machine = SystemMetricsMonitor(
            run_id,
            tracking_uri=tracking_uri,
            sampling_interval=_SYSTEM_SECONDS,
            resume_logging=True,
        )
        self._machine.start()

    def finalize(self, status: str = 'success') -> None:
        """Leave the run as it is: its status is the launcher's to set."""
        self._machine.finish()


def choose_logger(run_dir: Path, settings: Mapping[str, Any]) -> Logger | bool:
    """Return the logger: the launcher's MLflow run if the environment names one, CSV files in
    `run_dir` otherwise.

    What the machine does meanwhile is logged there, too.

    Args:
        run_dir: the job's folder.
        settings: flat settings, written as the run's parameters. MLflow keeps a parameter's first
            value for good, so those already there are left alone.
    """
    tracking_uri = os.environ.get('MLFLOW_TRACKING_URI')
    run_id = os.environ.get('MLFLOW_RUN_ID')
    if not (tracking_uri and run_id):
        return CSVLogger(save_dir=run_dir, name='metrics')
    if not is_rank_zero():
        return False  # one voice per job, and one connection to the tracking server
    logger = LauncherOwnedRun(tracking_uri, run_id)
    known = logger.experiment.get_run(run_id).data.params
    logger.log_hyperparams({name: v for name, v in settings.items() if name not in known})
    return logger


def log_checkpoints(
    trainer: Trainer, exported_from: Path, exported: Path | None, reporter: Reporter
) -> None:
    """Make the kept checkpoints logged models of the run, each with its `val/loss`.

    They stay where they are, and are named with their digest: with the optimiser's state they are
    three times the model. The exported one has its model as its artifacts, which can be loaded.

    A tracking server that fails here costs these entries, not the finished fit.

    Args:
        trainer: of the finished fit.
        exported_from: the checkpoint whose weights became the job's product.
        exported: the folder of the model, if it is one.
        reporter: is told of a failure.
    """
    logger, kept = trainer.logger, trainer.checkpoint_callback
    if not isinstance(logger, LauncherOwnedRun) or not isinstance(kept, ModelCheckpoint):
        return
    from mlflow.exceptions import MlflowException

    scores = {Path(path): float(score) for path, score in kept.best_k_models.items()}
    try:
        for path in sorted({*scores, exported_from}):
            folder = exported if path == exported_from else None
            _log_checkpoint(logger, path, scores.get(path), folder)
    except (MlflowException, OSError) as error:
        reporter.log(f'warning: MLflow did not take the checkpoints: {error}')


def _log_checkpoint(
    logger: LauncherOwnedRun, path: Path, score: float | None, folder: Path | None
) -> None:
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric

    client, run_id = logger.experiment, logger.run_id
    step = torch.load(path, map_location='cpu', weights_only=True, mmap=True)['global_step']
    run = client.get_run(run_id)
    asset = run.data.tags.get('dagster/asset', 'checkpoint')
    # Names take no dots and slashes.
    name = f'{asset}-{path.stem.partition("-val_loss")[0]}'.replace('=', '_')
    model = client.create_logged_model(
        run.info.experiment_id,
        name=name,
        source_run_id=run_id,
        model_type='exported' if folder is not None else 'checkpoint',
        tags={'checkpoint': str(path), 'checkpoint_sha256': sha256_of(path)},
    )
    if score is not None:
        # Not under the name of the epochs' own figure, whose curve it would bend.
        now = int(time.time() * 1000)
        measured = Metric('checkpoint/val_loss', score, now, step, model.model_id, run_id=run_id)
        client.log_batch(run_id, metrics=[measured])
    if folder is not None:
        client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step)])
