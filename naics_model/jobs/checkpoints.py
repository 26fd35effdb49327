"""Checkpoints of trainable weights.

Writing them is Lightning's work (`lightning.make_trainer` says when and where), going on from one
that of `resume.py`; exported models are the encoder's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from naics_model.errors import ConfigurationError


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
