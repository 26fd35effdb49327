"""What is watched while a stage trains: the mix of hardness that comes, and the codes encoded."""

from collections.abc import Mapping
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from naics_model.curriculum.quotas import shortfall
from naics_model.jobs.reporting import Reporter
from naics_model.training.data import StepBatch

_HARDNESS_LEVELS = range(1, 9)


class CurriculumWatch(Callback):
    """Counts negatives by hardness and encoded codes, over all ranks and across a resume.

    Attributes:
        history: by epoch, the share of each hardness ('1' to '8') among the negatives.
        negatives: how many there were in all.
        codes_encoded: how many codes were encoded in all, each once per step.
    """

    def __init__(self, codes: int, requested: Mapping[int, float], reporter: Reporter) -> None:
        """Args:
        codes: number of codes of the edition.
        requested: share of each hardness that the stage asks for.
        reporter: gets one warning, after the first epoch, if the shares are not what was asked.
        """
        self.history: list[dict[str, float]] = []
        self.negatives = 0
        self.codes_encoded = 0
        self._seen = torch.zeros(codes, dtype=torch.bool)
        self._counts = torch.zeros(len(_HARDNESS_LEVELS) + 1, dtype=torch.int64)
        self._encoded = 0
        self._requested = requested
        self._reporter = reporter

    @property
    def distinct_codes(self) -> int:
        """How many different codes were encoded at least once."""
        return int(self._seen.sum())

    def state_dict(self) -> dict[str, Any]:
        return {
            'history': self.history,
            'negatives': self.negatives,
            'codes_encoded': self.codes_encoded,
            'seen': self._seen,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = list(state_dict['history'])
        self.negatives = state_dict['negatives']
        self.codes_encoded = state_dict['codes_encoded']
        self._seen = state_dict['seen'].clone()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: StepBatch,
        batch_idx: int,
    ) -> None:
        hardness = outputs['hardness'].flatten().cpu().long()
        self._counts += torch.bincount(hardness, minlength=len(self._counts))
        if batch.documents is not None:
            self._seen[batch.documents.codes.cpu()] = True
            self._encoded += len(batch.documents.codes)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        counts = self._everywhere(trainer, pl_module, self._counts)
        encoded = self._everywhere(trainer, pl_module, torch.tensor([self._encoded]))
        self._seen = self._everywhere(trainer, pl_module, self._seen.long()) > 0
        # New, and not zeroed in place: in one process the sum above is the same tensor.
        self._counts = torch.zeros_like(self._counts)
        self._encoded = 0

        # Hardness 0: an item lacked one.
        total = int(counts[1:].sum())
        effective = {k: int(counts[k]) / max(total, 1) for k in _HARDNESS_LEVELS}
        self.negatives += total
        self.codes_encoded += int(encoded)
        self.history.append({str(k): share for k, share in effective.items()})
        pl_module.log_dict(
            {f'mix/hardness_{k}': share for k, share in effective.items()}, sync_dist=True
        )
        if len(self.history) == 1 and (short := shortfall(self._requested, effective)):
            self._reporter.log(f'warning: {short}')

    @staticmethod
    def _everywhere(trainer: Trainer, pl_module: LightningModule, counts: Tensor) -> Tensor:
        """Return the sum over all ranks, on the CPU."""
        total: Tensor = trainer.strategy.reduce(counts.to(pl_module.device), reduce_op='sum')
        return total.cpu()
