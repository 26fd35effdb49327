"""What the Lightning jobs share: their options, their trainer, and the reports of each epoch.

Models, losses and data are in their own rooms; checkpoints, the tracker's run and the optimiser in
the modules beside this one.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from dagster_pipes import DAGSTER_PIPES_CONTEXT_ENV_VAR
from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import Logger
from pytorch_lightning.strategies import DDPStrategy

from naics_model.errors import ConfigurationError, NaicsError
from naics_model.jobs.checkpoints import AtomicCheckpoints, kept_checkpoints
from naics_model.jobs.ranks import MEETING, are_started
from naics_model.jobs.reporting import Reporter
from naics_model.storage.layout import CHECKPOINTS

# What the job decides itself: where files go, which logger, how many nodes (torchrun says), how
# many batches make a step (the data's shards), no trial modes that leave no checkpoint behind.
_DECIDED_BY_THE_JOB = {
    'accumulate_grad_batches',
    'barebones',
    'default_root_dir',
    'enable_checkpointing',
    'enable_model_summary',
    'fast_dev_run',
    'limit_predict_batches',
    'limit_test_batches',
    'logger',
    'max_steps',
    'model_registry',
    'num_nodes',
    'num_sanity_val_steps',
    'use_distributed_sampler',
}

# Said by Lightning to everyone, and answered here.
_EXPECTED_WARNINGS = (
    # Composing a step takes milliseconds beside encoding it: worker processes would cost more.
    '.*does not have many workers.*',
    # An epoch has the same number of steps on every rank, whatever those hold.
    '.*`IterableDataset` has `__len__` defined.*',
    # On resume it is meant not to be.
    '.*Checkpoint directory .* exists and is not empty.*',
    # The frozen backbone, on purpose.
    '.*module\\(s\\) in eval mode at the start of training.*',
    # Between Lightning and torch; nothing of ours.
    '.*treespec, LeafSpec.*',
)


def job_parser(command: str, description: str) -> ArgumentParser:
    """Return a parser with the options that every Lightning job has.

    Args:
        command: how the job is started.
        description: what it does, in a sentence.
    """
    parser = ArgumentParser(
        prog=command, description=description, exit_on_error=False, allow_abbrev=False
    )
    parser.add_argument(
        '--config',
        action='config',
        help='A profile (smoke, cpu, gpu) or a YAML file; of several the later wins.',
    )
    parser.add_argument(
        '--run_dir',
        type=Path,
        required=True,
        help='Folder of checkpoints, result.json, and what the job exports.',
    )
    parser.add_argument('--seed', type=int, default=0, help='Of everything random.')
    parser.add_argument(
        '--keep_best', type=int, default=1, help='How many of the best checkpoints to keep.'
    )
    parser.add_argument(
        '--ckpt_path',
        type=str | None,
        default=None,
        help='A checkpoint to go on from; `last` is the latest in --run_dir, if any; `unfinished` '
        'the same, if it is of this very fit, which was cut off.',
    )
    parser.add_argument(
        '--max_steps',
        '--max-steps',
        type=PositiveInt | None,
        default=None,
        help='At most so many optimiser steps, in epochs of equal length: for a try.',
    )
    parser.add_argument(
        '--dry_run',
        '--dry-run',
        action='store_true',
        help='Say what would be trained and what it would cost, measured on two steps; write '
        'nothing.',
    )
    return parser


def add_trainer_options(parser: ArgumentParser) -> None:
    """Add Lightning's trainer settings under `--trainer`, except those the job decides."""
    parser.add_class_arguments(
        Trainer, 'trainer', instantiate=False, fail_untyped=False, skip=_DECIDED_BY_THE_JOB
    )


def check_placement(settings: Mapping[str, Any]) -> None:
    """Refuse devices that this process can not have, before anything is loaded for them.

    Args:
        settings: the parsed `trainer` group.

    Raises:
        ConfigurationError: the accelerator is not on this machine, or the devices are not a number.
    """
    accelerator, devices = settings['accelerator'], settings['devices']
    if accelerator in ('gpu', 'cuda') and not torch.cuda.is_available():
        raise ConfigurationError(
            f'--trainer.accelerator is {accelerator}, but this machine offers no GPU: choose the '
            'profile cpu or smoke.'
        )
    if devices != 'auto' and not (str(devices).isdigit() and int(devices) > 0):
        raise ConfigurationError(
            f'--trainer.devices {devices} is not a number of devices: say how many, or '
            'auto for one.'
        )


def fastest_precision(accelerator: str) -> str:
    """Return the precision in which this machine trains fastest, for settings that name none.

    bfloat16 where the hardware multiplies it: on GPUs, and on CPUs with AMX, where a step of the
    text model takes two thirds of the CPU time. CPUs without such instructions emulate it and
    are several times slower than in float32.
    """
    on_gpu = accelerator != 'cpu' and torch.cuda.is_available()
    return 'bf16-mixed' if on_gpu or torch.cpu.get_capabilities().get('amx_bf16') else '32-true'


def _placement(accelerator: str, some_unused: bool) -> dict[str, Any]:
    """Return the trainer's devices: as torchrun started us, or one.

    Args:
        accelerator: as the settings name it.
        some_unused: whether a step may leave parameters without a gradient, such as an expert that
            no code chose. Plain DDP would wait for them for ever.
    """
    if not are_started():
        return {'devices': 1}
    local, world = int(os.environ['LOCAL_WORLD_SIZE']), int(os.environ['WORLD_SIZE'])
    placement: dict[str, Any] = {'devices': local, 'num_nodes': world // local}
    if world > 1:
        # Buffers are equal on all ranks by what computes them, and large: not to be sent each step.
        placement['strategy'] = DDPStrategy(
            find_unused_parameters=some_unused, broadcast_buffers=False
        )
        if meeting := os.environ.get(MEETING):
            # Before Lightning would, whose way to meet listens on every interface.
            on_gpu = accelerator in ('auto', 'gpu', 'cuda') and torch.cuda.is_available()
            dist.init_process_group(
                'nccl' if on_gpu else 'gloo',
                init_method=f'file://{meeting}',
                rank=int(os.environ['RANK']),
                world_size=world,
            )
            atexit.register(dist.destroy_process_group)
    return placement


def make_trainer(
    settings: Mapping[str, Any],
    *,
    run_dir: Path,
    logger: Logger | bool,
    keep_best: int,
    callbacks: Sequence[Callback],
    batches_per_step: int = 1,
    some_unused: bool = True,
) -> Trainer:
    """Return the trainer of a job.

    Args:
        settings: the parsed `trainer` group.
        run_dir: the job's folder; checkpoints go to `run_dir/checkpoints`.
        logger: see `choose_logger`.
        keep_best: how many of the best checkpoints by `val/loss` to keep, beside `last.ckpt`.
        callbacks: the job's own, added to those of the settings.
        batches_per_step: how many each process has before an optimiser step.
        some_unused: whether a step may leave parameters without a gradient.
    """
    without_chatter()
    values = {**settings, **_placement(settings['accelerator'], some_unused)}
    checkpoints = kept_checkpoints(run_dir / CHECKPOINTS, keep_best)
    values['callbacks'] = [*_as_list(values.get('callbacks')), *callbacks, *checkpoints]
    values['plugins'] = [*_as_list(values.get('plugins')), AtomicCheckpoints()]
    if values['enable_progress_bar'] is None:
        values['enable_progress_bar'] = watched_in_terminal()
    return Trainer(
        **values,
        accumulate_grad_batches=batches_per_step,
        logger=logger,
        default_root_dir=run_dir,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


def without_chatter() -> None:
    """Leave out what Lightning says to everyone; what concerns this job comes through."""
    logging.getLogger('pytorch_lightning').setLevel(logging.WARNING)
    for expected in _EXPECTED_WARNINGS:
        warnings.filterwarnings('ignore', message=expected)


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def watched_in_terminal() -> bool:
    """Return whether a person sees a terminal: then a bar moves; otherwise lines are written."""
    return sys.stderr.isatty() and DAGSTER_PIPES_CONTEXT_ENV_VAR not in os.environ


def within_steps(most: int | None, epochs: int | None, steps: int) -> tuple[int | None, int]:
    """Return the number of epochs and of steps in each, so that there are at most so many steps.

    In whole epochs, because what is exported is chosen by the figures at an epoch's end.

    Args:
        most: steps in all; None leaves the others as they are.
        epochs: as asked for.
        steps: of an epoch.
    """
    if most is None:
        return epochs, steps
    # Lightning has two words for no end.
    if epochs is None or epochs < 0:
        epochs = most
    if most >= epochs * steps:
        return epochs, steps
    epochs = min(-(-most // steps), epochs)
    return epochs, most // epochs


class EpochReport(Callback):
    """Reports each epoch while the job runs, a line every few steps, and keeps the history across a
    resume.

    A fit that goes on has a run of its own in the tracker, which gets the epochs before, too.
    """

    def __init__(self, reporter: Reporter, *, lines: bool) -> None:
        """Args:
        reporter: the job's voice.
        lines: whether to write a line every `log_every_n_steps` steps (where no bar is shown).
        """
        self._reporter = reporter
        self._lines = lines
        self._steps: list[int] = []
        self.history: list[dict[str, float]] = []

    def state_dict(self) -> dict[str, Any]:
        return {'history': self.history, 'steps': self._steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = list(state_dict['history'])
        self._steps = list(state_dict['steps'])

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.logger is not None:
            for epoch, (step, figures) in enumerate(zip(self._steps, self.history, strict=True)):
                trainer.logger.log_metrics({'epoch': epoch, **figures}, step)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if self._lines and stepped and step % trainer.log_every_n_steps == 0:
            # Lightning has divided it, for the sum over a step's batches.
            loss = outputs['loss'].item() * trainer.accumulate_grad_batches
            self._reporter.log(f'step {step}/{trainer.estimated_stepping_batches}: loss {loss:.4f}')

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        figures = {
            name: float(value)
            for name, value in sorted(trainer.callback_metrics.items())
            if name.startswith(('train/', 'val/', 'mix/'))
        }
        self.history.append(figures)
        # The last step of the epoch, to which Lightning counts an epoch's figures.
        self._steps.append(trainer.global_step - 1)
        self._reporter.epoch(trainer.current_epoch, figures)


def require_finite(loss: torch.Tensor, step: int) -> None:
    """Stop the job at a loss that is not a number, before it reaches the weights.

    Raises:
        NaicsError: the loss is NaN or infinite.
    """
    if not torch.isfinite(loss):
        raise NaicsError(
            f'The loss became {loss.item()} at step {step}: lower --model.learning_rate, or look '
            'for a damaged input file; checkpoints/last.ckpt has the last finished epoch.'
        )
