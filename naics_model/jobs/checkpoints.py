"""Checkpoints of trainable weights.

Going on from one is the work of `resume.py`; exported models are the encoder's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from naics_model.errors import ConfigurationError
from naics_model.storage.files import atomic_write

LAST = 'last.ckpt'


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place, and moves it there when it is whole.

    Lightning's own writes it into the folder of temporary files, from where it is copied if that is
    on another disk: a process killed meanwhile would leave half of it.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        with atomic_write(Path(path)) as temporary:
            torch.save(checkpoint, temporary)


def kept_checkpoints(folder: Path, keep_best: int) -> list[ModelCheckpoint]:
    """Return the callbacks that write the best checkpoints by `val/loss`, and the last epoch's.

    Two, and in this order: with `save_last` Lightning writes the last epoch only where it was among
    the best, and each has to know of what the one before it kept.

    Args:
        folder: the loggers of rank 0 and of the others differ; without an explicit folder each rank
            would choose its own.
        keep_best: how many of the best.
    """
    best = ModelCheckpoint(
        dirpath=folder,
        filename='epoch={epoch}-val_loss={val/loss:.4f}',
        auto_insert_metric_name=False,
        monitor='val/loss',
        save_top_k=keep_best,
        # After the epoch is closed, so that a resumed fit starts with the next one.
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    last = ModelCheckpoint(
        dirpath=folder,
        filename=Path(LAST).stem,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    return [best, last]


class TrainableCheckpoint(LightningModule):
    """A module whose checkpoints hold trainable weights only.

    Frozen ones are found again by their name and digest.

    Attributes:
        carried: names of modules whose state goes with them, because a fit goes on from it too.
    """

    carried: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        # Frozen weights are never in the checkpoint; `on_load_checkpoint` is strict about the rest.
        self.strict_loading = False

    def trainable_names(self) -> set[str]:
        """Return the names of all parameters that training changes."""
        return {name for name, parameter in self.named_parameters() if parameter.requires_grad}

    def _kept_names(self) -> set[str]:
        carried = {name for name in self.state_dict() if name.partition('.')[0] in self.carried}
        return self.trainable_names() | carried

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Drop what training does not change."""
        kept = self._kept_names()
        checkpoint['state_dict'] = {
            name: value for name, value in checkpoint['state_dict'].items() if name in kept
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that nothing trainable is missing: lenient loading would leave it at its start
        value unnoticed.

        Raises:
            ConfigurationError: the checkpoint belongs to other settings.
        """
        expected, found = self._kept_names(), set(checkpoint['state_dict'])
        if expected != found:
            odd = sorted(expected ^ found)
            raise ConfigurationError(
                f'The checkpoint was written by a model with other settings: {len(odd)} weights do '
                f'not match, such as {odd[0]}; give the settings it was trained with.'
            )

    def load_trainable(self, path: Path) -> None:
        """Load the weights of a checkpoint into this module."""
        checkpoint = torch.load(path, map_location='cpu', weights_only=True)
        self.on_load_checkpoint(checkpoint)
        self.load_state_dict(checkpoint['state_dict'], strict=False)


def best_checkpoint(trainer: Trainer) -> tuple[Path, float]:
    """Return the best checkpoint of a finished fit and its `val/loss`.

    Raises:
        ConfigurationError: the settings made the fit end before an epoch did.
    """
    callback = trainer.checkpoint_callback
    if not isinstance(callback, ModelCheckpoint) or not callback.best_model_path:
        raise ConfigurationError(
            'The fit ended without a checkpoint: let it run at least one epoch with validation '
            '(--trainer.max_epochs, --trainer.limit_val_batches).'
        )
    assert callback.best_model_score is not None
    return Path(callback.best_model_path), float(callback.best_model_score)
