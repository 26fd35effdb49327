"""The Lightning module of training: encode each code of a step once, compare, weigh the losses.

No sampling and no files here. What is learned beside the embedder: the temperatures, and the scale
of the hierarchy fit.
"""

import math
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from naics_model.curriculum.sadc import NegativeSettings
from naics_model.curriculum.stage import Stage
from naics_model.encoder.embedder import EmbedderOutput, NaicsEmbedder
from naics_model.encoder.moe import gate_entropy, least_use, router_entropy
from naics_model.encoder.tokens import TokenCache
from naics_model.errors import ConfigurationError
from naics_model.geometry.lorentz import pairwise_distance, radius
from naics_model.jobs.checkpoints import TrainableCheckpoint
from naics_model.jobs.collective import summed_over_ranks
from naics_model.jobs.lightning import require_finite
from naics_model.jobs.optimiser import parameter_groups, warmup_cosine
from naics_model.jobs.seeds import derived_seed
from naics_model.losses.contrastive import dcl, info_nce
from naics_model.losses.hierarchy import hierarchy_fit
from naics_model.losses.load_balance import load_balance
from naics_model.losses.multi_level import common_depth, multi_level
from naics_model.losses.radius import radius_ladder
from naics_model.losses.ranking import lambda_rank
from naics_model.losses.triplet import adaptive_margin
from naics_model.taxonomy.tree import LEVELS
from naics_model.training.bank import CodeBank
from naics_model.training.data import Queries, StepBatch
from naics_model.training.dynamic import Contrast, DynamicNegatives
from naics_model.training.weights import LossWeights
from naics_model.triplets.relation_index import RelationIndex

# Outside this range the contrast is a hard maximum or says nothing.
_TEMPERATURES = (0.05, 5.0)


# One object each: a default argument is evaluated once, and these can not change.
_DEFAULT_WEIGHTS = LossWeights()
_DEFAULT_NEGATIVES = NegativeSettings()


class TripletModule(TrainableCheckpoint):
    """`NaicsEmbedder` under the contrast of anchors, positives and graded negatives.

    Attributes:
        bank: where six-digit codes were last seen, for queries; None until `remember_codes`.
        dynamic: chooses negatives in training; None until `choose_negatives`, and where those of
            the sampler are kept.

    Args:
        init_from: exported model of the previous stage (`RUN_DIR/model`) to start from.
        learning_rate: peak of the schedule.
        head_rate: how fast fusion and projection learn, as a share of the rate. They start from
            what the backbone knows, and have many weights for few entries.
        weight_decay: of matrices; biases, norms and scalars have none.
        warmup_share: part of the fit's steps in which the rate climbs.
        temperature: start value of the items' temperature, which is learned (with DCL it stays).
        query_temperature: the same of queries, which have to tell near codes apart.
        contrast: of items: InfoNCE, or DCL, which has no positive in its denominator.
        margin: m₀ of the margin m₀ sech(r) that is added to the distance of a positive from an
            anchor at radius r; 0 is none.
        weights: how much each loss counts.
        negatives: how the negatives of items are chosen.
        seed: of dropout, and of what is random in choosing negatives.
        embedder: settings of the encoder, see `NaicsEmbedder`.
    """

    carried = ('bank', 'dynamic')

    def __init__(
        self,
        *,
        init_from: Path | None = None,
        learning_rate: float = 1e-3,
        head_rate: float = 0.35,
        weight_decay: float = 0.01,
        warmup_share: float = 0.1,
        temperature: float = 0.5,
        query_temperature: float = 0.1,
        contrast: Literal['info_nce', 'dcl'] = 'info_nce',
        margin: float = 0.0,
        weights: LossWeights = _DEFAULT_WEIGHTS,
        negatives: NegativeSettings = _DEFAULT_NEGATIVES,
        seed: int = 0,
        **embedder: Any,
    ) -> None:
        super().__init__()
        self.bank: CodeBank | None = None
        self.dynamic: DynamicNegatives | None = None
        self._validated = False
        self.embedder = NaicsEmbedder(**embedder)
        self.untrained = init_from is None
        if init_from is not None:
            self.embedder.load_weights(init_from)
        self.learning_rate = learning_rate
        self.head_rate = head_rate
        self.weight_decay = weight_decay
        self.warmup_share = warmup_share
        if negatives.false_negatives in ('attract', 'hybrid') and weights.attraction == 0:
            raise ConfigurationError(
                f'negatives.false_negatives is {negatives.false_negatives}, but weights.attraction '
                'is 0: give it a weight, or choose eliminate.'
            )
        self.weights = weights
        self.negatives = negatives
        self.seed = seed
        self.curvature = self.embedder.curvature
        self.contrast = {'info_nce': info_nce, 'dcl': dcl}[contrast]
        self.margin = margin
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))
        self.log_query_temperature = nn.Parameter(torch.tensor(math.log(query_temperature)))
        if weights.hierarchy_fit > 0:
            self.log_scale = nn.Parameter(torch.zeros(()))
        # The backbone comes in eval mode, which Lightning would keep: with it, LoRA's dropout.
        self.train()

    def remember_codes(self, codes: int) -> None:
        """Contrast queries with the codes of earlier steps, too.

        Args:
            codes: number of codes of the edition.
        """
        self.bank = CodeBank(codes, self.embedder.settings['hyperbolic_dim'])

    def choose_negatives(self, index: RelationIndex, stage: Stage, cache: TokenCache) -> None:
        """Choose the negatives of training steps as the settings say.

        Args:
            index: the edition's relations.
            stage: what is trained on.
            cache: tokens of the edition.
        """
        if self.negatives.strategy != 'stage':
            settings = self.embedder.settings
            width = settings['hyperbolic_dim']
            if settings['fusion'] == 'moe':
                width += settings['experts']
            self.dynamic = DynamicNegatives(index, stage, cache, self.negatives, self.seed, width)

    @property
    def temperature(self) -> Tensor:
        """τ of items, within the range in which the contrast has a gradient."""
        return _in_range(self.log_temperature)

    @property
    def _item_temperature(self) -> Tensor:
        # DCL falls with the temperature wherever the positive is nearest: learned from it, it would
        # run to its lower bound.
        return self.temperature.detach() if self.contrast is dcl else self.temperature

    @property
    def query_temperature(self) -> Tensor:
        """τ of queries, within the same range."""
        return _in_range(self.log_query_temperature)

    def losses(self, batch: StepBatch) -> tuple[dict[str, Tensor], EmbedderOutput]:
        """Return each loss of a step alone, unweighted, and what the embedder said of its codes;
        with the sampler's negatives."""
        output: EmbedderOutput = self.embedder(batch.tokens, len(batch.codes))
        return self.losses_of(batch, output), output

    def losses_of(
        self, batch: StepBatch, output: EmbedderOutput, contrast: Contrast | None = None
    ) -> dict[str, Tensor]:
        """Return each loss of a step alone, unweighted.

        Args:
            batch: the step.
            output: what the embedder said of its codes.
            contrast: what its items are contrasted with; the sampler's negatives when None.
        """
        # All pairs of the pool at once: one matrix product, from which every item takes its
        # distances.
        distances = pairwise_distance(output.tangent, output.tangent, self.curvature)
        radii = radius(output.tangent, self.curvature)
        weights = self.weights
        losses = {}
        if weights.contrastive > 0:
            positive = distances[batch.anchor, batch.positive]
            if self.margin > 0:
                positive = positive + adaptive_margin(
                    radii[batch.anchor], self.margin, self.curvature
                )
            if contrast is None:
                negative, counts = distances[batch.anchor.unsqueeze(1), batch.negatives], None
            else:
                negative, counts = contrast.negatives, contrast.counts
            losses['contrastive'] = self.contrast(
                positive, negative, self._item_temperature, counts
            )
            if counts is not None and self.contrast is dcl:
                # Which is a mean over the items that have a negative.
                losses['contrastive'] = losses['contrastive'] * _share(counts.any(dim=1))
            if weights.attraction > 0 and contrast is not None and contrast.mates is not None:
                losses['attraction'] = self._attraction(contrast, contrast.mates)
        if weights.activities > 0 and batch.queries is not None:
            clusters = None if contrast is None else contrast.clusters_of_queries
            losses['activities'] = self._asked(batch.queries, batch, output.tangent, clusters)
        if weights.multi_level > 0 or weights.lambda_rank > 0:
            common = common_depth(batch.tree, batch.levels)
            if weights.multi_level > 0:
                losses['multi_level'] = multi_level(distances, common, self.temperature)
            if weights.lambda_rank > 0:
                losses['lambda_rank'] = lambda_rank(
                    distances, common.exp2() - 1, temperature=self.temperature
                )
        if weights.hierarchy_fit > 0:
            losses['hierarchy_fit'] = hierarchy_fit(distances, batch.tree, self.log_scale)
        if weights.radius_ladder > 0:
            losses['radius_ladder'] = radius_ladder(radii, batch.levels)
        if weights.load_balance > 0 and output.gate_probabilities is not None:
            losses['load_balance'] = load_balance(
                output.gate_probabilities, self.embedder.settings['top_k'], summed_over_ranks
            )
        return losses

    def _attraction(self, contrast: Contrast, mates: Tensor) -> Tensor:
        """Contrast anchors with a code of their cluster as the positive, where they have one."""
        has = contrast.has_mate
        assert has is not None
        share = _share(has)
        if not has.any():
            return mates.sum() * 0
        return share * info_nce(
            mates[has], contrast.negatives[has], self.temperature, contrast.counts[has]
        )

    def _asked(
        self, queries: Queries, batch: StepBatch, codes: Tensor, clusters: Tensor | None
    ) -> Tensor:
        """Contrast queries with all codes of the step and, in training, with those in the bank;
        without those of the own code's cluster where clusters (n,) are given."""
        count = len(queries.owner)
        # Ancestors of the own code, and itself: as far in the tree as they are levels apart. They
        # are right answers, only less precise ones.
        above = batch.tree == batch.levels.unsqueeze(1) - batch.levels
        candidates, wrong = codes, ~above[queries.owner]
        # Not in validation: as the bank fills, a loss with it grows, and epochs would not compare.
        if self.bank is not None and self.training:
            others = self.bank.others(batch.codes)
            candidates = torch.cat([codes, self.bank.points[others]])
            wrong = torch.cat([wrong, wrong.new_ones(count, len(others))], dim=1)
            if clusters is not None:
                of_all = clusters[torch.cat([batch.codes, others])]
                wrong &= of_all[queries.owner].unsqueeze(1) != of_all
            # Six-digit codes only: those are what a query is answered with.
            leaves = batch.levels == LEVELS[-1]
            self.bank.update(batch.codes[leaves], codes[leaves])
        if count == 0:
            return codes.sum() * 0
        asked = self.embedder({'title': queries.tokens}, count).tangent
        distances = pairwise_distance(asked, candidates, self.curvature)
        own = distances[torch.arange(count, device=codes.device), queries.owner]
        return info_nce(own, distances, self.query_temperature, wrong)

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """Return the weighted sum."""
        return torch.stack(
            [getattr(self.weights, name) * value for name, value in losses.items()]
        ).sum()

    def on_train_batch_start(self, batch: StepBatch, batch_idx: int) -> None:
        # Dropout becomes a function of shard and step: exact on resume without storing every rank's
        # random state, and the same however many processes share the shards.
        own = self.trainer.accumulate_grad_batches
        step, part = divmod(self.trainer.fit_loop.total_batch_idx, own)
        torch.manual_seed(derived_seed(self.seed, self.trainer.global_rank * own + part, step))

    def training_step(self, batch: StepBatch, batch_idx: int) -> dict[str, Tensor]:
        output: EmbedderOutput = self.embedder(batch.tokens, len(batch.codes))
        contrast = None
        if self.dynamic is not None:
            progress = self.global_step / self.trainer.estimated_stepping_batches
            contrast = self.dynamic.contrast(
                batch, output, self.embedder, progress, self.current_epoch
            )
        losses = self.losses_of(batch, output, contrast)
        loss = self.total(losses)
        require_finite(loss, self.global_step)
        figures = {
            **losses,
            'temperature': self.temperature,
            'query_temperature': self.query_temperature,
            'radius': radius(output.tangent, self.curvature).mean(),
        }
        hardness = batch.hardness
        if contrast is not None:
            hardness = contrast.hardness
            figures |= contrast.figures
        counted = (hardness > 0).sum().clamp_min(1)
        figures['mean_hardness'] = hardness.sum() / counted
        if output.gate_probabilities is not None:
            figures['gate_entropy'] = gate_entropy(output.gate_probabilities)
            figures['router_entropy'] = router_entropy(output.gate_probabilities)
            figures['least_used_expert'] = least_use(
                output.gate_probabilities, self.embedder.settings['top_k']
            )
        self._log('train', loss, figures)
        # The callback that counts negatives by hardness gets those that were contrasted.
        return {'loss': loss, 'hardness': hardness}

    def on_validation_epoch_end(self) -> None:
        self._validated = True

    def on_train_epoch_end(self) -> None:
        # Only what was measured in this epoch: the figures of an earlier one are still there.
        if self.dynamic is not None and self._validated:
            progress = self.global_step / self.trainer.estimated_stepping_batches
            loss = self.trainer.callback_metrics['val/loss']
            self.dynamic.clock.observe(progress, float(loss))
        self._validated = False

    def validation_step(self, batch: StepBatch, batch_idx: int) -> None:
        losses, _ = self.losses(batch)
        self._log('val', self.total(losses), losses)

    def _log(self, room: str, loss: Tensor, figures: dict[str, Tensor]) -> None:
        values = {f'{room}/loss': loss, **{f'{room}/{name}': v for name, v in figures.items()}}
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=1, sync_dist=True)

    def configure_optimizers(self) -> dict[str, Any]:
        head: list[tuple[str, nn.Parameter]] = []
        others: list[tuple[str, nn.Parameter]] = []
        for name, parameter in self.named_parameters():
            is_head = name.startswith(('embedder.fusion.', 'embedder.projection.'))
            (head if is_head else others).append((name, parameter))
        groups = parameter_groups(others, self.weight_decay)
        for group in parameter_groups(head, self.weight_decay):
            groups.append({**group, 'lr': self.head_rate * self.learning_rate})
        optimizer = torch.optim.AdamW(groups, lr=self.learning_rate)
        total = int(self.trainer.estimated_stepping_batches)
        shape = partial(warmup_cosine, warmup=round(self.warmup_share * total), total=total)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, shape)
        return {'optimizer': optimizer, 'lr_scheduler': {'scheduler': schedule, 'interval': 'step'}}


def _share(chosen: Tensor) -> Tensor:
    """Return what a mean over this rank's chosen rows (B,) counts in a mean over all ranks' where
    processes are averaged: 1 where each has as many. Every process has to call it."""
    count = chosen.sum()
    everywhere = torch.stack([count, torch.ones_like(count)])
    total, ranks = summed_over_ranks(everywhere).unbind()
    return count * ranks / total.clamp_min(1)


def _in_range(log_temperature: Tensor) -> Tensor:
    low, high = _TEMPERATURES
    return log_temperature.clamp(math.log(low), math.log(high)).exp()
