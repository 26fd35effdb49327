"""What a fit would be and would cost, said before it is started; nothing is written."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from naics_model.console import plain_console
from naics_model.jobs.cost import peak_memory_bytes
from naics_model.jobs.lightning import without_chatter
from naics_model.jobs.reporting import is_rank_zero

# The first step prepares what later ones find ready.
_STEPS = 3
# A validation step has no backward pass, which takes twice as long as the forward one.
_VALIDATION = 1 / 3


class _Clock(Callback):
    def __init__(self) -> None:
        self._since = 0.0
        self.seconds: list[float] = []

    def on_train_batch_start(self, *_: Any) -> None:
        self._since = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any
    ) -> None:
        outputs['loss'].item()  # waits for a GPU
        self.seconds.append(time.perf_counter() - self._since)


def time_step(
    settings: Mapping[str, Any], module: LightningModule, processes: int, **data: Any
) -> float:
    """Return the seconds of a training step, measured on two.

    Args:
        settings: the parsed `trainer` group.
        module: is trained by three steps.
        processes: that the fit would have; this one takes its share of the cores.
        data: as for `Trainer.fit`.
    """
    without_chatter()
    threads = torch.get_num_threads()
    torch.set_num_threads(max((os.cpu_count() or 1) // processes, 1))
    clock = _Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            accelerator=settings['accelerator'],
            precision=settings['precision'],
            gradient_clip_val=settings['gradient_clip_val'],
            devices=1,
            max_steps=_STEPS,
            limit_val_batches=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
            callbacks=[clock],
        )
        trainer.fit(module, **data)
    torch.set_num_threads(threads)
    return sum(clock.seconds[1:]) / len(clock.seconds[1:])


def cost_in_words(
    seconds: float, *, epochs: int, steps: int, validation: int, processes: int
) -> str:
    """Return what a fit would take.

    Args:
        seconds: of a step, see `time_step`.
        epochs: number of them.
        steps: batches that a process trains on in an epoch.
        validation: batches that it validates with after each.
        processes: number of them.
    """
    whole = epochs * (steps + validation * _VALIDATION) * seconds
    minutes = f'{whole / 60:.0f} minutes' if whole >= 120 else f'{whole:.0f} seconds'
    memory = peak_memory_bytes() / 1e9
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        memory = torch.cuda.max_memory_allocated() / 1e9
    several = ' for each process' if processes > 1 else ''
    return (
        f'about {minutes}, {memory:.1f} GB{several} (a step took {seconds:.2f} s in one process '
        'here; loading and export come on top)'
    )


def show(rows: Mapping[str, str]) -> None:
    """Print what would be trained: a label and a text in each row."""
    if not is_rank_zero():
        return
    console = plain_console()
    for label, text in rows.items():
        console.print(f'{label:<10} {text}')
    console.print('Nothing was written.')
