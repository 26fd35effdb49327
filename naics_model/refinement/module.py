"""The Lightning module of refinement: full-batch steps of the graph network under its losses.

No files here: the command reads embeddings and writes them.
"""

from dataclasses import dataclass, field
from functools import partial
from math import log
from typing import NamedTuple

import torch
from torch import Tensor, nn

from naics_model.geometry.lorentz import pairwise_distance, radius
from naics_model.jobs.checkpoints import TrainableCheckpoint
from naics_model.jobs.lightning import require_finite
from naics_model.jobs.optimiser import parameter_groups, warmup_cosine
from naics_model.jobs.seeds import derived_seed
from naics_model.losses.anchoring import anchoring
from naics_model.losses.hierarchy import hierarchy_fit
from naics_model.losses.radius import radius_ladder
from naics_model.losses.triplet import hyperbolic_triplet
from naics_model.refinement.graph import Edges, EdgeSettings, tree_edges
from naics_model.refinement.hgcn import Aggregation, HyperbolicGCN
from naics_model.taxonomy.distances import tree_distances
from naics_model.taxonomy.tree import LEVELS, Taxonomy

VALIDATION_QUERIES = 4096
# Where distances differ by 1, logits by 50: nothing is learned from what is sharper.
LEAST_TEMPERATURE = 0.02


@dataclass(frozen=True)
class RefinementWeights:
    """How much each loss counts.

    Attributes:
        hierarchy_fit: embedding distances against tree distances.
        triplet: nearer in the tree must be nearer in the space, by an adaptive margin.
        radius_ladder: each level at its own distance from the origin.
        phrases: train phrases, where the encoder puts them, must find their code among all of six
            digits.
        anchoring: nearness to the text embedding, which is where queries look.
    """

    hierarchy_fit: float = 400.0
    triplet: float = 1.0
    radius_ladder: float = 0.1
    phrases: float = 1.0
    anchoring: float = 0.05


@dataclass(frozen=True)
class RefinementSettings:
    """Settings of the network and of its training.

    Attributes:
        layers: rounds of listening to the neighbours.
        max_radius: soft clip, in units of 1/sqrt(c); at least the encoder's.
        gate: start share of what the layers add.
        aggregation: how neighbours are averaged.
        edges: who is a neighbour beside parents and children.
        bare_share: how many of the codes go without their free vector in a step, so that the
            network learns to place a code that has none, being new.
        margin: m₀ of the triplet loss, in units of the distance.
        codes_per_step: how many codes are compared with each other in one step (all pass through
            the network).
        queries_per_step: how many phrases are asked in one step.
        temperature: of the phrases' contrast at the start; it is learned.
        learning_rate: peak of the schedule.
        weight_decay: of matrices; the free vectors are left out of it.
        warmup_share: part of the steps in which the rate climbs.
        weights: how much each loss counts.
    """

    layers: int = 2
    max_radius: float = 6.0
    gate: float = 0.1
    aggregation: Aggregation = 'centroid'
    edges: EdgeSettings = field(default_factory=EdgeSettings)
    bare_share: float = 0.1
    margin: float = 1.0
    codes_per_step: int = 512
    queries_per_step: int = 256
    temperature: float = 0.1
    learning_rate: float = 3e-2
    weight_decay: float = 1e-4
    warmup_share: float = 0.05
    weights: RefinementWeights = field(default_factory=RefinementWeights)


class Queries(NamedTuple):
    """Phrases as the encoder sees them, which is frozen here.

    Attributes:
        tangent: float32 (q, d) tangent vectors at the origin.
        owner: int64 (q,) position of each phrase's code.
    """

    tangent: Tensor
    owner: Tensor


class Sample(NamedTuple):
    """What one step compares.

    Attributes:
        rows: int64 (m,), the codes that are compared with each other.
        bare: bool (n,), the codes that go without their free vector.
        queries: int64 (b,), the phrases that are asked.
    """

    rows: Tensor
    bare: Tensor
    queries: Tensor


def draw_relations(tree: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Draw for each code one nearer and one farther relative, every distance of the tree equally
    likely.

    Uniform pairs would be strangers nearly always: 88 % of all pairs cross sectors.

    Args:
        tree: (m, m) tree distances, 0 on the diagonal.
        generator: source of randomness, on the CPU like `tree`.

    Returns:
        anchor, positive, negative: int64 (b,), b <= m, with tree[anchor, positive] < tree[anchor,
            negative]. A code
        to which all others are equally far is left out.
    """
    counts = torch.zeros(len(tree), int(tree.max()) + 1)
    counts.scatter_add_(1, tree.long(), torch.ones(tree.shape))
    weight = (1 / counts.gather(1, tree.long())).masked_fill(tree == 0, 0.0)
    nearer = weight.masked_fill(tree == tree.amax(1, keepdim=True), 0.0)
    anchor = torch.nonzero(nearer.sum(1) > 0).squeeze(1)
    positive = torch.multinomial(nearer[anchor], 1, generator=generator)
    farther = weight[anchor] * (tree[anchor] > tree[anchor].gather(1, positive))
    negative = torch.multinomial(farther, 1, generator=generator)
    return anchor, positive.squeeze(1), negative.squeeze(1)


class RefinementModule(TrainableCheckpoint):
    """The graph network with its losses; one step sees every code once."""

    levels: Tensor
    asked: Tensor
    owner: Tensor

    def __init__(
        self,
        text: Tensor,
        taxonomy: Taxonomy,
        excluded: Edges,
        queries: Queries,
        *,
        curvature: float,
        settings: RefinementSettings,
        seed: int,
    ) -> None:
        """Args:
        text: (n, d) tangent vectors of the codes as the encoder sees them.
        taxonomy: the same codes in the same order.
        excluded: which codes each code's text excludes; heard if the settings say so.
        queries: the phrases that may be learned from; may be none.
        curvature: c >= 0 of the text's space.
        settings: of network and training.
        seed: of the codes and relations that each step draws.
        """
        super().__init__()
        self.settings = settings
        self.seed = seed
        self.curvature = curvature
        none = Edges(*(part[:0] for part in excluded))
        self.network = HyperbolicGCN(
            text,
            tree_edges(taxonomy.parents, settings.edges),
            excluded if settings.edges.exclusions else none,
            layers=settings.layers,
            max_radius=settings.max_radius,
            curvature=curvature,
            gate=settings.gate,
            aggregation=settings.aggregation,
        )
        # Stays on the CPU, where relations are drawn.
        self.tree = torch.from_numpy(tree_distances(taxonomy))
        self.register_buffer('levels', torch.from_numpy(taxonomy.levels).long(), persistent=False)
        # Not in checkpoints, like the text.
        self.register_buffer('asked', queries.tangent.float(), persistent=False)
        self.register_buffer('owner', queries.owner, persistent=False)
        self.log_temperature = nn.Parameter(torch.tensor(log(settings.temperature)))
        self.log_scale = nn.Parameter(best_log_scale(self.distances(text.float()), self.tree))

    def distances(self, tangent: Tensor) -> Tensor:
        """Return the distances (m, m) of tangent vectors (m, d)."""
        return pairwise_distance(tangent, tangent, self.curvature)

    def forward(self) -> Tensor:
        """Return the refined tangent vectors (n, d)."""
        refined: Tensor = self.network()
        return refined

    def losses(self, sample: Sample, generator: torch.Generator) -> dict[str, Tensor]:
        """Return each loss alone, unweighted.

        Args:
            sample: what is compared.
            generator: draws the relations of the triplets.
        """
        places = self.network(sample.bare)
        rows = sample.rows
        refined = places[rows]
        tree = self.tree[rows.cpu()][:, rows.cpu()]
        distances = self.distances(refined)
        radii = radius(refined, self.curvature)
        anchor, positive, negative = (
            part.to(rows.device) for part in draw_relations(tree, generator)
        )
        found = {
            'hierarchy_fit': hierarchy_fit(distances, tree.to(distances), self.log_scale),
            'triplet': hyperbolic_triplet(
                distances[anchor, positive],
                distances[anchor, negative],
                radii[anchor],
                self.settings.margin,
                self.curvature,
            ),
            'radius_ladder': radius_ladder(radii, self.levels[rows]),
            'anchoring': anchoring(refined, self.network.text[rows], self.curvature),
        }
        if len(sample.queries):
            found['phrases'] = self._contrast(places, sample.queries)
        return found

    def _contrast(self, places: Tensor, queries: Tensor) -> Tensor:
        """Return InfoNCE of phrases (b,) and their codes, all others of six digits negative."""
        # (The loss of `losses/contrastive.py`, where each anchor has its own negatives.)
        candidates = torch.nonzero(self.levels == LEVELS[-1]).squeeze(1)
        distances = pairwise_distance(self.asked[queries], places[candidates], self.curvature)
        temperature = self.log_temperature.exp().clamp_min(LEAST_TEMPERATURE)
        owner = torch.searchsorted(candidates, self.owner[queries])
        return nn.functional.cross_entropy(-distances / temperature, owner)

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """Return the weighted sum."""
        weights = self.settings.weights
        return sum(
            (getattr(weights, name) * value for name, value in losses.items()),
            start=torch.zeros((), device=self.levels.device),
        )

    def training_step(self, batch: int, batch_idx: int) -> Tensor:
        # Drawn from the step's number alone: a resumed fit draws what an uninterrupted one would,
        # and every rank draws the same (a full batch leaves nothing to share out).
        generator = torch.Generator().manual_seed(derived_seed(self.seed, self.global_step))
        losses = self.losses(self.sample(generator), generator)
        loss = self.total(losses)
        require_finite(loss, self.global_step)
        self._log('train', loss, losses)
        for number, layer in enumerate(self.network.layers):
            learned = {'curvature': layer.curvature}
            if layer.repulsion is not None:
                learned['repulsion'] = layer.repulsion
            named = {f'train/{name}_{number}': value for name, value in learned.items()}
            self.log_dict(named, on_step=False, on_epoch=True, batch_size=1)
        return loss

    def sample(self, generator: torch.Generator) -> Sample:
        """Draw what one step compares."""
        settings, device = self.settings, self.levels.device
        rows = torch.randperm(len(self.levels), generator=generator)[: settings.codes_per_step]
        bare = torch.rand(len(self.levels), generator=generator) < settings.bare_share
        queries = torch.randperm(len(self.owner), generator=generator)[: settings.queries_per_step]
        return Sample(rows.to(device), bare.to(device), queries.to(device))

    def everything(self) -> Sample:
        """Return all codes, none bare, with as many phrases as there are up to a limit, always
        the same.
        """
        generator = torch.Generator().manual_seed(self.seed)
        queries = torch.randperm(len(self.owner), generator=generator)[:VALIDATION_QUERIES]
        every = torch.arange(len(self.levels), device=self.levels.device)
        return Sample(every, torch.zeros_like(every, dtype=torch.bool), queries.to(every.device))

    def validation_step(self, batch: int, batch_idx: int) -> None:
        losses = self.losses(self.everything(), torch.Generator().manual_seed(self.seed))
        self._log('val', self.total(losses), losses)

    def _log(self, room: str, loss: Tensor, losses: dict[str, Tensor]) -> None:
        values = {f'{room}/loss': loss, **{f'{room}/{k}': v for k, v in losses.items()}}
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=1, sync_dist=True)

    def configure_optimizers(self) -> dict[str, object]:
        settings = self.settings
        groups = parameter_groups(
            ((n, p) for n, p in self.named_parameters() if n != 'network.residual'),
            settings.weight_decay,
        )
        # Decay would pull the free vectors back to 0, which is the anchoring's work, with a weight
        # of its own.
        groups.append({'params': [self.network.residual], 'weight_decay': 0.0})
        optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate)
        total = int(self.trainer.estimated_stepping_batches)
        shape = partial(warmup_cosine, warmup=round(settings.warmup_share * total), total=total)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, shape)
        return {'optimizer': optimizer, 'lr_scheduler': {'scheduler': schedule, 'interval': 'step'}}


def best_log_scale(distances: Tensor, tree: Tensor) -> Tensor:
    """Return log s of the s that minimises the mean of (s·D/T - 1)² over all pairs."""
    apart = tree > 0
    ratio = distances[apart] / tree[apart]
    return torch.log(ratio.sum() / ratio.square().sum().clamp_min(1e-12)).detach()
