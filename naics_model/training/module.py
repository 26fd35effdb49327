"""The Lightning module of training: encode each code of a step once, compare, weigh the losses.

No sampling and no files here. What is learned beside the embedder: the temperature, and the scale
of the hierarchy fit.
"""

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from naics_model.encoder.embedder import EmbedderOutput, NaicsEmbedder
from naics_model.geometry.lorentz import pairwise_distance, radius
from naics_model.jobs.checkpoints import TrainableCheckpoint
from naics_model.jobs.lightning import require_finite
from naics_model.jobs.optimiser import parameter_groups, warmup_cosine
from naics_model.jobs.seeds import derived_seed
from naics_model.losses.contrastive import info_nce
from naics_model.losses.hierarchy import hierarchy_fit
from naics_model.losses.load_balance import load_balance
from naics_model.losses.radius import radius_ladder
from naics_model.training.data import StepBatch

# Outside this range the contrast is a hard maximum or says nothing.
_TEMPERATURES = (0.05, 5.0)


@dataclass(frozen=True)
class LossWeights:
    """How much each loss counts beside the contrast, which counts 1.

    Attributes:
        load_balance: even use of the experts.
        radius_ladder: each level at its own distance from the origin.
        hierarchy_fit: embedding distances against tree distances within the step; 0 leaves it out.
    """

    load_balance: float = 0.01
    radius_ladder: float = 0.1
    hierarchy_fit: float = 0.0


# One object: a default argument is evaluated once, and this one can not change.
_DEFAULT_WEIGHTS = LossWeights()


class TripletModule(TrainableCheckpoint):
    """`NaicsEmbedder` under the contrast of anchors, positives and graded negatives.

    Args:
        init_from: exported model of the previous stage (`RUN_DIR/model`) to start from.
        learning_rate: peak of the schedule.
        weight_decay: of matrices; biases, norms and scalars have none.
        warmup_share: part of the fit's steps in which the rate climbs.
        temperature: start value; it is learned.
        weights: how much each loss counts.
        seed: of dropout.
        embedder: settings of the encoder, see `NaicsEmbedder`.
    """

    def __init__(
        self,
        *,
        init_from: Path | None = None,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.01,
        warmup_share: float = 0.1,
        temperature: float = 0.5,
        weights: LossWeights = _DEFAULT_WEIGHTS,
        seed: int = 0,
        **embedder: Any,
    ) -> None:
        super().__init__()
        self.embedder = NaicsEmbedder(**embedder)
        if init_from is not None:
            self.embedder.load_weights(init_from)
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warmup_share = warmup_share
        self.weights = weights
        self.seed = seed
        self.curvature = self.embedder.curvature
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))
        if weights.hierarchy_fit > 0:
            self.log_scale = nn.Parameter(torch.zeros(()))
        # The backbone comes in eval mode, which Lightning would keep: with it, LoRA's dropout.
        self.train()

    @property
    def temperature(self) -> Tensor:
        """τ, within the range in which the contrast has a gradient."""
        low, high = _TEMPERATURES
        return self.log_temperature.clamp(math.log(low), math.log(high)).exp()

    def losses(self, batch: StepBatch) -> tuple[dict[str, Tensor], EmbedderOutput]:
        """Return each loss of a step alone, unweighted, and what the embedder said."""
        output: EmbedderOutput = self.embedder(batch.tokens, len(batch.codes))
        # All pairs of the pool at once: one matrix product, from which every item takes its
        # distances.
        distances = pairwise_distance(output.tangent, output.tangent, self.curvature)
        losses = {
            'contrastive': info_nce(
                distances[batch.anchor, batch.positive],
                distances[batch.anchor.unsqueeze(1), batch.negatives],
                self.temperature,
            ),
            'radius_ladder': radius_ladder(radius(output.tangent, self.curvature), batch.levels),
        }
        if output.gate_probabilities is not None:
            losses['load_balance'] = load_balance(
                output.gate_probabilities, self.embedder.settings['top_k']
            )
        if self.weights.hierarchy_fit > 0:
            losses['hierarchy_fit'] = hierarchy_fit(distances, batch.tree, self.log_scale)
        return losses, output

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """Return the contrast plus the weighted others."""
        others = (
            getattr(self.weights, name) * value
            for name, value in losses.items()
            if name != 'contrastive'
        )
        return sum(others, start=losses['contrastive'])

    def on_train_batch_start(self, batch: StepBatch, batch_idx: int) -> None:
        # Dropout becomes a function of step and rank: exact on resume without storing every rank's
        # random state.
        words = [self.seed, self.trainer.global_rank, self.trainer.fit_loop.total_batch_idx]
        torch.manual_seed(derived_seed(*words))

    def training_step(self, batch: StepBatch, batch_idx: int) -> Tensor:
        losses, output = self.losses(batch)
        loss = self.total(losses)
        require_finite(loss, self.global_step)
        figures = {
            **losses,
            'temperature': self.temperature,
            'radius': radius(output.tangent, self.curvature).mean(),
        }
        if output.gate_probabilities is not None:
            figures['gate_entropy'] = gate_entropy(output.gate_probabilities)
        self._log('train', loss, figures)
        return loss

    def validation_step(self, batch: StepBatch, batch_idx: int) -> None:
        losses, _ = self.losses(batch)
        self._log('val', self.total(losses), losses)

    def _log(self, room: str, loss: Tensor, figures: dict[str, Tensor]) -> None:
        values = {f'{room}/loss': loss, **{f'{room}/{name}': v for name, v in figures.items()}}
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=1, sync_dist=True)

    def configure_optimizers(self) -> dict[str, Any]:
        groups = parameter_groups(self.named_parameters(), self.weight_decay)
        optimizer = torch.optim.AdamW(groups, lr=self.learning_rate)
        total = int(self.trainer.estimated_stepping_batches)
        shape = partial(warmup_cosine, warmup=round(self.warmup_share * total), total=total)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, shape)
        return {'optimizer': optimizer, 'lr_scheduler': {'scheduler': schedule, 'interval': 'step'}}


def gate_entropy(probabilities: Tensor) -> Tensor:
    """Return the entropy of the mean gate distribution (M, E) -> scalar, over its maximum.

    1 when the experts are used alike, 0 when one of them gets everything: collapsed.
    """
    mean = probabilities.detach().float().mean(0)
    return torch.special.entr(mean).sum() / math.log(len(mean))
