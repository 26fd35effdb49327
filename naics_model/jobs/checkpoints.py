"""Checkpoints of trainable weights.

Going on from one is the work of `resume.py`; exported models are the encoder's. A checkpoint is
read here and nowhere else, as weights and plain values: a file that is to run code is refused.
"""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from naics_model.errors import ConfigurationError, DataError
from naics_model.storage.files import atomic_write

LAST = 'last.ckpt'


def read_checkpoint(path: Path, *, mmap: bool = False) -> dict[str, Any]:
    """Read a checkpoint as weights and plain values.

    A checkpoint is a pickle, which can name any code to be run as it is read: only what torch knows
    to be harmless is made of it.

    Args:
        path: the file.
        mmap: leave weights on disk until they are looked at.

    Raises:
        DataError: the file is missing, damaged, no checkpoint, or holds more than such values.
    """
    try:
        saved = torch.load(path, map_location='cpu', weights_only=True, mmap=mmap)
    except UnpicklingError as error:
        raise DataError(
            f'{path} is no checkpoint of weights and plain values ({_reason(error)}), and was not '
            'opened, because such a file can run code: name one that a job here has written.'
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise DataError(
            f'{path} can not be read as a checkpoint ({_reason(error)}): name another one, or '
            'delete it and start afresh.'
        ) from None
    if not isinstance(saved, dict) or 'state_dict' not in saved:
        raise DataError(f'{path} is no checkpoint: name one that a job here has written.')
    return saved


def _reason(error: Exception) -> str:
    # Torch's own advice, to open the file all the same, is not passed on.
    lines = [line.strip() for line in str(error).splitlines()]
    telling = [line for line in lines if line.startswith(('WeightsUnpickler error', 'Unsupported'))]
    return (telling or lines or [''])[0].rstrip('.') or type(error).__name__


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place, and moves it there when it is whole; reads it as
    `read_checkpoint` does, whatever Lightning and the environment would allow.

    Lightning's own writes it into the folder of temporary files, from where it is copied if that is
    on another disk: a process killed meanwhile would leave half of it.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        with atomic_write(Path(path)) as temporary, temporary.open('wb') as file:
            torch.save(checkpoint, file)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        return read_checkpoint(Path(path))


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
        checkpoint = read_checkpoint(path)
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
