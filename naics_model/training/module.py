"""The Lightning module of the text model: phrases against the points of all codes, in two readings.

No sampling and no files here. What is learned beside the embedder: a point for each code, the
temperatures, and the scale of the hierarchy fit.
"""

import math
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from naics_model.curriculum.sadc import NegativeSettings, PhaseClock, plan_at
from naics_model.curriculum.stage import Stage
from naics_model.encoder.embedder import EmbedderOutput, NaicsEmbedder
from naics_model.encoder.moe import gate_entropy, least_use, router_entropy
from naics_model.encoder.points import CodePoints, Readings
from naics_model.encoder.tokens import TokenCache
from naics_model.errors import ConfigurationError
from naics_model.geometry.lorentz import distance, pairwise_distance, radius
from naics_model.jobs.checkpoints import TrainableCheckpoint
from naics_model.jobs.collective import gathered_over_ranks, of_rank_zero, summed_over_ranks
from naics_model.jobs.lightning import require_finite
from naics_model.jobs.optimiser import linear_between, parameter_groups
from naics_model.jobs.seeds import derived_seed
from naics_model.losses.contrastive import info_nce
from naics_model.losses.hierarchy import hierarchy_fit
from naics_model.losses.load_balance import load_balance
from naics_model.losses.phrases import tree_cross_entropy
from naics_model.losses.radius import radius_ladder
from naics_model.losses.triplet import adaptive_margin
from naics_model.taxonomy.distances import tree_distances
from naics_model.taxonomy.tree import LEVELS, Taxonomy
from naics_model.training.data import ItemBatch, PhraseBatch, StepBatch
from naics_model.training.negatives import NegativeWeights, Weighed
from naics_model.training.weights import LossWeights
from naics_model.triplets.relation_index import RelationIndex

# What is learned beside encoder and points, and goes from stage to stage with them.
_SCALARS = ('log_temperature', 'log_item_temperature', 'log_scale')
# Below the first the softmax is a hard maximum; above the second it says nothing.
_TEMPERATURES = (0.01, 5.0)
# HiMulCon's weights of the levels, coarse to fine, see `losses/phrases.py`.
_LEVEL_WEIGHTS = tuple(2 ** (1 / (len(LEVELS) - depth)) for depth in range(len(LEVELS)))

# One object each: a default argument is evaluated once, and these can not change.
_DEFAULT_WEIGHTS = LossWeights()
_DEFAULT_NEGATIVES = NegativeSettings()

Kernel = Literal['distance', 'squared']


class TextModule(TrainableCheckpoint):
    """`NaicsEmbedder` and a point per code, under the softmax of phrases over all six-digit codes.

    Attributes:
        embedder: the text encoder.
        points: of the edition's codes.
        negatives: weighs codes as negatives of phrases; holds the clusters.
        clock: ends the phases of the dynamic curriculum by a plateau, where that is asked for.

    Args:
        init_from: exported model of the previous stage (`RUN_DIR/model`) to start from.
        learning_rate: peak rate of the adapters.
        head_rate: rate of fusion, projection and temperatures, over that of the adapters.
        point_rate: rate of the points' flat vectors, over that of the adapters.
        offset_rate: rate of the points' hyperbolic offsets, over that of the adapters.
        weight_decay: of the encoder's matrices; points, biases, norms and scalars have none.
        warmup_share: part of the fit's steps in which the rates climb.
        flat_temperature: of cosines; it stays.
        temperature: start value of the hyperbolic reading's temperature, which is learned; a
            model to start from brings its own.
        item_temperature: the same of the items of codes.
        kernel: of the hyperbolic softmax: the negated distance, or its square.
        margin: m₀ of the margin m₀ sech(r) that is added to the distance of right answers, for
            phrases at radius r, and to that of positives, for anchors at radius r; 0 is none.
        levels: whether phrases are also told apart at the coarser levels of the tree, by the
            weights of HiMulCon; otherwise at their label's own level alone.
        live_documents: whether the documents of a step stand in for their codes' points, so that
            codes without a learned point are found by their texts.
        tree_codes: how many codes the hierarchy fit compares in a step.
        weights: how much each loss counts.
        negatives: how codes are weighed as negatives.
        seed: of dropout, and of what is random in a step.
        embedder: settings of the encoder, see `NaicsEmbedder`.
    """

    carried = ('weighing',)

    def __init__(
        self,
        *,
        init_from: Path | None = None,
        learning_rate: float = 5e-4,
        head_rate: float = 2.0,
        point_rate: float = 10.0,
        offset_rate: float = 20.0,
        weight_decay: float = 0.01,
        warmup_share: float = 0.1,
        flat_temperature: float = 0.05,
        temperature: float = 0.2,
        item_temperature: float = 0.5,
        kernel: Kernel = 'distance',
        margin: float = 0.0,
        levels: bool = False,
        live_documents: bool = True,
        tree_codes: int = 256,
        weights: LossWeights = _DEFAULT_WEIGHTS,
        negatives: NegativeSettings = _DEFAULT_NEGATIVES,
        seed: int = 0,
        **embedder: Any,
    ) -> None:
        super().__init__()
        if negatives.false_negatives in ('attract', 'hybrid') and weights.attraction == 0:
            raise ConfigurationError(
                f'negatives.false_negatives is {negatives.false_negatives}, but weights.attraction '
                'is 0: give it a weight, or choose eliminate.'
            )
        self.weights = weights
        self.negatives = negatives
        self.seed = seed
        self.kernel = kernel
        self.margin = margin
        self.levels = levels
        self.live_documents = live_documents
        self.tree_codes = tree_codes
        self.flat_temperature = flat_temperature
        self.rates = {
            'adapters': learning_rate,
            'head': learning_rate * head_rate,
            'vectors': learning_rate * point_rate,
            'offsets': learning_rate * offset_rate,
        }
        self.weight_decay = weight_decay
        self.warmup_share = warmup_share
        self.clock = PhaseClock(negatives.patience)
        self._validated = False

        self.embedder = NaicsEmbedder(**embedder)
        self.init_from = init_from
        if init_from is not None:
            self.embedder.load_weights(init_from)
        self.curvature = self.embedder.curvature
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))
        self.log_item_temperature = nn.Parameter(torch.tensor(math.log(item_temperature)))
        self.log_scale = nn.Parameter(torch.zeros(()))
        self._cache: TokenCache | None = None
        self._starts = False
        # The backbone comes in eval mode, which Lightning would keep: with it, LoRA's dropout.
        self.train()

    points: CodePoints
    weighing: NegativeWeights
    leaves: Tensor
    below: Tensor
    ancestors: Tensor
    code_levels: Tensor
    tree: Tensor

    def bind(self, index: RelationIndex, stage: Stage) -> None:
        """Take the codes that are trained on; to be called once, before the fit.

        Args:
            index: the edition's relations.
            stage: says how the learning rates move.

        Raises:
            DataError: the model to start from has no points, or damaged ones.
            ConfigurationError: its points are of other codes.
        """
        self.rate_shares = (stage.rate_start, stage.rate_end)
        shape = self.embedder.channels.width, self.embedder.settings['hyperbolic_dim']
        if self.init_from is None:
            self.points = CodePoints(index.codes, *shape)
        else:
            self.points = CodePoints.load(self.init_from, *shape)
            if self.points.codes != index.codes:
                raise ConfigurationError(
                    f'The points in {self.init_from} are of other codes than the relation index: '
                    'train all stages on the same files.'
                )
            for name in _SCALARS:
                if name in self.points.scalars:
                    self.get_parameter(name).data.fill_(self.points.scalars[name])
        self._relate(index)
        settings = self.embedder.settings
        experts = settings['experts'] if settings['fusion'] == 'moe' else 0
        self.weighing = NegativeWeights(
            index, self.leaves.clone(), self.negatives, self.seed, experts
        )

    def _relate(self, index: RelationIndex) -> None:
        """Keep what the tree says, on the device of the model and out of checkpoints."""
        taxonomy = Taxonomy.from_codes(index.codes)
        levels = torch.from_numpy(taxonomy.levels).long()
        leaves = torch.nonzero(levels == LEVELS[-1]).squeeze(1)
        # -1 where a code has no ancestor of a level, itself among them.
        ancestors = torch.from_numpy(taxonomy.ancestors).long()
        nodes = torch.arange(len(levels)).unsqueeze(1)
        of_leaf = ancestors[leaves]
        below = (of_leaf.unsqueeze(0) == nodes.unsqueeze(2).expand(-1, 1, 1)).any(dim=2)
        for name, tensor in (
            ('leaves', leaves),
            ('below', below),
            ('ancestors', ancestors),
            ('code_levels', levels),
            ('tree', torch.from_numpy(tree_distances(taxonomy))),
        ):
            self.register_buffer(name, tensor, persistent=False)

    def prepare(self, cache: TokenCache, *, resumed: bool) -> None:
        """Have documents encoded where a fit needs them: a new model's points begin there, and
        mining by the router compares phrases with their gates.

        Args:
            cache: tokens of the codes.
            resumed: whether the fit goes on from a checkpoint, which has the points.
        """
        self._cache = cache
        self._starts = not resumed and self.init_from is None

    def on_fit_start(self) -> None:
        if self._cache is None or not self._starts:
            return
        output = self.embedder.start_along(self._document_features(self._cache))
        # Of the first process: another kind of processor may find directions of other signs.
        for parameter in self.embedder.projection.parameters():
            parameter.data.copy_(of_rank_zero(parameter.data))
        self.points.start_at(of_rank_zero(output.unit))

    def _document_features(self, cache: TokenCache) -> Tensor:
        """Return the channel vectors (n, C, width) of all codes; each process encodes a part."""
        every, ranks = np.arange(len(cache)), self.trainer.world_size
        own = self.embedder.document_features(cache, every[self.global_rank :: ranks])
        features = own.new_empty(len(cache), *own.shape[1:])
        for first, part in enumerate(gathered_over_ranks(own)):
            features[first::ranks] = part
        return features

    def export(self, folder: Path) -> None:
        """Write the model that can be embedded with, or started from: encoder, points, scalars."""
        self.embedder.save_pretrained(folder)
        self.points.scalars = {name: self.get_parameter(name).item() for name in _SCALARS}
        self.points.save(folder)

    @property
    def leaves_some_unused(self) -> bool:
        """Whether a step may leave a parameter without a gradient: one of a loss that does not
        count, of a channel that no document has, or of an expert that none chose."""
        settings, weights = self.embedder.settings, self.weights
        counted = (weights.flat, weights.lorentz, weights.items, weights.hierarchy_fit)
        plain = settings['channels'] == 'one' and settings['fusion'] == 'mean'
        return not plain or 0 in counted

    @property
    def temperature(self) -> Tensor:
        """τ of the hyperbolic reading, within the range in which the softmax has a gradient."""
        return _in_range(self.log_temperature)

    @property
    def item_temperature(self) -> Tensor:
        """τ of items, within the same range."""
        return _in_range(self.log_item_temperature)

    def losses(
        self, batch: StepBatch, progress: float = 0.0, clock: PhaseClock | None = None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return each loss of a step alone, unweighted, and figures to be logged.

        Args:
            batch: the step.
            progress: done share of the fit.
            clock: of phases by plateau; None weighs all negatives alike, as in validation.
        """
        phrases = self.embedder(
            {self.embedder.text_channel: batch.phrases.tokens}, len(batch.phrases.nodes)
        )
        documents = None
        if batch.documents is not None:
            documents = self.embedder(batch.documents.tokens, len(batch.documents.codes))
        # Outside autocast: bfloat16 rounds a logit of 20 to the next eighth.
        with torch.autocast(self.device.type, enabled=False):
            return self._compare(batch, phrases, documents, progress, clock)

    def _compare(
        self,
        batch: StepBatch,
        phrases: EmbedderOutput,
        documents: EmbedderOutput | None,
        progress: float,
        clock: PhaseClock | None,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Compare what was encoded with the points of the codes, see `losses`."""
        points: Readings = self.points(self.embedder.projection)
        candidates = points
        if batch.documents is not None and documents is not None and self.live_documents:
            codes = batch.documents.codes
            candidates = Readings(
                points.unit.index_copy(0, codes, documents.unit),
                points.tangent.index_copy(0, codes, documents.tangent),
            )
        losses, figures = self._phrase_losses(batch.phrases, phrases, candidates, progress, clock)
        if batch.documents is not None and documents is not None:
            losses |= self._document_losses(batch.documents.codes, documents, points)
        if batch.items is not None:
            losses |= self._code_losses(batch.items, candidates)
        figures['radius'] = radius(phrases.tangent, self.curvature).mean()
        if (gates := phrases.gate_probabilities) is not None:
            figures['gate_entropy'] = gate_entropy(gates)
            figures['router_entropy'] = router_entropy(gates)
            figures['least_used_expert'] = least_use(gates, self.embedder.settings['top_k'])
        return losses, figures

    def _phrase_losses(
        self,
        batch: PhraseBatch,
        phrases: EmbedderOutput,
        candidates: Readings,
        progress: float,
        clock: PhaseClock | None,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Contrast phrases with all leaves, in both readings."""
        right = self.below[batch.nodes]
        leaves = self.leaves
        flat = phrases.unit @ candidates.unit[leaves].T / self.flat_temperature
        away = pairwise_distance(phrases.tangent, candidates.tangent[leaves], self.curvature)
        lorentz = -self._kernel(self._with_margin(away, right, phrases)) / self.temperature
        weighed = None
        if clock is not None and self.negatives.strategy != 'uniform':
            weighed = self._weigh(batch, right, away, phrases, progress, clock)
        targets = self._targets(batch.nodes)
        losses = {}
        for name, logits in (('flat', flat), ('lorentz', lorentz)):
            if getattr(self.weights, name) > 0:
                seen = logits if weighed is None else logits + weighed.log_weights
                losses[name] = tree_cross_entropy(seen, targets, _LEVEL_WEIGHTS).mean()
        if weighed is not None and self.negatives.false_negatives in ('attract', 'hybrid'):
            losses['attraction'] = _attraction(lorentz, weighed.mates)
        with torch.no_grad():
            figures = {
                f'{name}_hit_at_1': right.gather(1, logits.argmax(dim=1, keepdim=True))
                .float()
                .mean()
                for name, logits in (('flat', flat), ('lorentz', lorentz))
            }
        return losses, figures | ({} if weighed is None else weighed.figures)

    def _with_margin(self, away: Tensor, right: Tensor, phrases: EmbedderOutput) -> Tensor:
        if self.margin == 0:
            return away
        radii = radius(phrases.tangent, self.curvature)
        margin = adaptive_margin(radii, self.margin, self.curvature)
        return away + right * margin.unsqueeze(1)

    def _kernel(self, away: Tensor) -> Tensor:
        return away if self.kernel == 'distance' else away.square()

    def _weigh(
        self,
        batch: PhraseBatch,
        right: Tensor,
        away: Tensor,
        phrases: EmbedderOutput,
        progress: float,
        clock: PhaseClock,
    ) -> Weighed:
        plan = plan_at(self.negatives, progress, clock.ends)
        divergence = self.weighing.divergence(phrases.gate_probabilities)
        weighed: Weighed = self.weighing(plan, batch.nodes, right, away.detach(), divergence)
        return weighed

    def _targets(self, nodes: Tensor) -> Tensor:
        """Return the leaves (B, levels, L) below the label's node at each level that counts."""
        above = self.ancestors[nodes]
        if not self.levels:
            own = self.code_levels[nodes].unsqueeze(1) == torch.tensor(LEVELS, device=nodes.device)
            above = above.masked_fill(~own, -1)
        return self.below[above.clamp_min(0)] & (above >= 0).unsqueeze(2)

    def _document_losses(
        self, codes: Tensor, documents: EmbedderOutput, points: Readings
    ) -> dict[str, Tensor]:
        """Contrast documents with the points of all codes of their level, in both readings."""
        weights, losses = self.weights, {}
        if weights.load_balance > 0 and documents.gate_probabilities is not None:
            losses['load_balance'] = load_balance(
                documents.gate_probabilities, self.embedder.settings['top_k'], summed_over_ranks
            )
        if weights.documents == 0:
            return losses
        other_level = self.code_levels[codes].unsqueeze(1) != self.code_levels
        flat = documents.unit @ points.unit.T / self.flat_temperature
        away = pairwise_distance(documents.tangent, points.tangent, self.curvature)
        total = flat.new_zeros(())
        for weight, logits in (
            (weights.flat, flat),
            (weights.lorentz, -self._kernel(away) / self.temperature),
        ):
            if weight > 0:
                seen = logits.masked_fill(other_level, torch.finfo(logits.dtype).min)
                total = total + weight * nn.functional.cross_entropy(seen, codes)
        losses['documents'] = total
        return losses

    def _code_losses(self, items: ItemBatch, candidates: Readings) -> dict[str, Tensor]:
        """Compare codes with each other: items of the curriculum, the tree, and radii."""
        weights, tangent, losses = self.weights, candidates.tangent, {}
        if weights.items > 0:
            anchors = tangent[items.anchor]
            positive = distance(anchors, tangent[items.positive], self.curvature)
            if self.margin > 0:
                radii = radius(anchors, self.curvature)
                positive = positive + adaptive_margin(radii, self.margin, self.curvature)
            negative = distance(anchors.unsqueeze(1), tangent[items.negatives], self.curvature)
            counted = items.hardness > 0
            losses['items'] = info_nce(positive, negative, self.item_temperature, counted)
        if weights.hierarchy_fit > 0:
            rows = torch.randperm(len(tangent), device=tangent.device)[: self.tree_codes]
            chosen = tangent[rows]
            losses['hierarchy_fit'] = hierarchy_fit(
                pairwise_distance(chosen, chosen, self.curvature),
                self.tree[rows][:, rows].to(chosen),
                self.log_scale,
            )
        if weights.radius_ladder > 0:
            losses['radius_ladder'] = radius_ladder(
                radius(tangent, self.curvature), self.code_levels
            )
        return losses

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """Return the weighted sum."""
        return torch.stack(
            [getattr(self.weights, name) * value for name, value in losses.items()]
        ).sum()

    @torch.no_grad()
    def on_train_epoch_start(self) -> None:
        if self.negatives.strategy != 'sadc':
            return
        plan, epoch = plan_at(self.negatives, self._progress(), self.clock.ends), self.current_epoch
        if plan.without_false_negatives and self.weighing.are_due(epoch):
            points: Readings = self.points(self.embedder.projection)
            self.weighing.cluster(points.tangent[self.leaves], self.curvature, epoch)
        if plan.by_router > 0 and self._cache is not None and self.weighing.gates_are_due(epoch):
            features = self._document_features(self._cache)[self.leaves]
            gates = self.embedder.fusion(features.flatten(start_dim=1)).gate_probabilities
            self.weighing.route(gates, epoch)

    def on_train_batch_start(self, batch: StepBatch, batch_idx: int) -> None:
        # Dropout becomes a function of shard and step: exact on resume without storing every rank's
        # random state, and the same however many processes share the shards.
        own = self.trainer.accumulate_grad_batches
        step, part = divmod(self.trainer.fit_loop.total_batch_idx, own)
        torch.manual_seed(derived_seed(self.seed, self.trainer.global_rank * own + part, step))

    def training_step(self, batch: StepBatch, batch_idx: int) -> dict[str, Tensor]:
        losses, figures = self.losses(batch, self._progress(), self.clock)
        loss = self.total(losses)
        require_finite(loss, self.global_step)
        assert batch.items is not None
        hardness = batch.items.hardness
        counted = (hardness > 0).sum().clamp_min(1)
        self._log(
            'train',
            loss,
            {
                **losses,
                **figures,
                'temperature': self.temperature,
                'item_temperature': self.item_temperature,
                'mean_hardness': hardness.sum() / counted,
            },
        )
        return {'loss': loss, 'hardness': hardness}

    def on_validation_epoch_end(self) -> None:
        self._validated = True

    def on_train_epoch_end(self) -> None:
        # Only what was measured in this epoch: the figures of an earlier one are still there.
        if self._validated:
            loss = self.trainer.callback_metrics['val/loss']
            self.clock.observe(self._progress(), float(loss))
        self._validated = False

    def validation_step(self, batch: StepBatch, batch_idx: int) -> None:
        losses, figures = self.losses(batch)
        self._log('val', self.total(losses), {**losses, **figures})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint['phase_clock'] = self.clock.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        if 'phase_clock' in checkpoint:
            self.clock.restore(checkpoint['phase_clock'])

    def _progress(self) -> float:
        return self.global_step / self.trainer.estimated_stepping_batches

    def _log(self, room: str, loss: Tensor, figures: dict[str, Tensor]) -> None:
        values = {f'{room}/loss': loss, **{f'{room}/{name}': v for name, v in figures.items()}}
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=1, sync_dist=True)

    def configure_optimizers(self) -> dict[str, Any]:
        named: dict[str, list[tuple[str, nn.Parameter]]] = {name: [] for name in self.rates}
        for name, parameter in self.named_parameters():
            named[_group_of(name)].append((name, parameter))
        groups = [
            {**group, 'lr': self.rates[kind]}
            for kind, parameters in named.items()
            for group in parameter_groups(
                parameters, 0.0 if kind in ('vectors', 'offsets') else self.weight_decay
            )
        ]
        optimizer = torch.optim.AdamW(groups)
        total = int(self.trainer.estimated_stepping_batches)
        start, end = self.rate_shares
        shape = partial(
            linear_between,
            warmup=round(self.warmup_share * total),
            total=total,
            start=start,
            end=end,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, shape)
        return {'optimizer': optimizer, 'lr_scheduler': {'scheduler': schedule, 'interval': 'step'}}


def _group_of(name: str) -> str:
    """Return which learning rate a parameter has, see `TextModule.rates`."""
    if name.startswith('points.'):
        return name.removeprefix('points.')
    is_adapter = name.startswith('embedder.channels.')
    return 'adapters' if is_adapter else 'head'


def _attraction(logits: Tensor, mates: Tensor) -> Tensor:
    """Return the mean over phrases of -log P(mates), 0 for those that have none."""
    log_p = torch.log_softmax(logits, dim=1)
    lowest = torch.finfo(log_p.dtype).min
    cost = -torch.logsumexp(log_p.masked_fill(~mates, lowest), dim=1)
    return cost.masked_fill(~mates.any(dim=1), 0.0).mean()


def _in_range(log_temperature: Tensor) -> Tensor:
    low, high = _TEMPERATURES
    return log_temperature.clamp(math.log(low), math.log(high)).exp()
