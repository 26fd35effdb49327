"""The weight of each code as a negative of a phrase: the dynamic curriculum at work in the softmax.

Which plan holds when is said in `curriculum/sadc.py`; here it becomes one matrix of log-weights a
step, which is added to the logits. Nothing here has a gradient.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from naics_model.curriculum.sadc import NegativeSettings, Plan
from naics_model.geometry.kmeans import kmeans
from naics_model.jobs.collective import of_rank_zero
from naics_model.jobs.seeds import derived_seed
from naics_model.taxonomy.distances import UNRELATED
from naics_model.triplets.relation_index import RelationIndex

# Curriculum distances of siblings, in half steps; a grandparent is half a step nearer.
_SIBLING = 4


class Weighed(NamedTuple):
    """What a plan makes of B phrases and L leaves.

    Attributes:
        log_weights: (B, L), to be added to the logits; 0 of right answers, -inf of a code that is
            left out.
        mates: bool (B, L), codes that are attracted as false negatives.
        figures: scalars to be logged.
    """

    log_weights: Tensor
    mates: Tensor
    figures: dict[str, Tensor]


class NegativeWeights(nn.Module):
    """Weighs the leaves as negatives of phrases, and keeps the clusters that this needs.

    Clusters and gates go with a checkpoint; relations are read again.

    Attributes:
        labels: int64 (L,), the cluster of each leaf; -1 before the first clustering.
        clustered: int64 scalar, the epoch of the last clustering; -1 before the first.
        gates: (L, E), the gate of each leaf's document over the E experts.
        routed: int64 scalar, the epoch in which the gates were read; -1 before.
    """

    half_steps: Tensor
    apart: Tensor
    labels: Tensor
    clustered: Tensor
    gates: Tensor
    routed: Tensor

    def __init__(
        self,
        index: RelationIndex,
        leaves: Tensor,
        settings: NegativeSettings,
        seed: int,
        experts: int = 0,
    ) -> None:
        """Args:
        index: the edition's relations.
        leaves: int64 (L,), indices of the six-digit codes.
        settings: how negatives are weighed.
        seed: of the clusterings.
        experts: of the model's gate; 0 of a model without one.
        """
        super().__init__()
        self.settings = settings
        self._seed = seed
        columns = leaves.numpy()
        excluded = torch.from_numpy(index.excluded)
        # A cross-reference, in either direction, says that two codes are told apart: such a sibling
        # is a negative from the start, and such a code never a false negative.
        for name, tensor in (
            ('half_steps', torch.from_numpy(index.distance[:, columns].copy())),
            ('apart', (excluded | excluded.T)[:, leaves]),
        ):
            self.register_buffer(name, tensor, persistent=False)
        self.register_buffer('labels', torch.full((len(leaves),), -1))
        self.register_buffer('clustered', torch.tensor(-1))
        self.register_buffer('gates', torch.zeros(len(leaves), experts))
        self.register_buffer('routed', torch.tensor(-1))

    @torch.no_grad()
    def forward(
        self,
        plan: Plan,
        nodes: Tensor,
        right: Tensor,
        distance: Tensor,
        divergence: Tensor | None = None,
    ) -> Weighed:
        """Weigh all leaves for some phrases.

        Args:
            plan: how.
            nodes: int64 (B,), the code of any level that each phrase belongs to.
            right: bool (B, L), the leaves below that code.
            distance: (B, L), from phrases to leaves.
            divergence: (B, L), how differently phrases and leaves are routed; None without a gate.
        """
        half_steps = self.half_steps[nodes].long()
        apart = self.apart[nodes]
        siblings = (half_steps == _SIBLING) & ~apart & ~right
        near = (half_steps < UNRELATED) & ~right
        # A code that is told apart by a cross-reference weighs as a sibling does: people look for
        # one under the other.
        steps = (half_steps.clamp_min(1) / 2).masked_fill(apart, _SIBLING / 2)
        weight = steps.pow(-plan.alpha)
        weight = torch.where(siblings, plan.sibling_weight * weight, weight).masked_fill(right, 0.0)
        mates = self._mates(plan, right, apart, near)
        allowed = weight > 0
        eliminated = allowed & self._same_cluster(plan, right, apart)
        weight = weight.masked_fill(eliminated, 0.0)
        allowed = allowed & ~eliminated
        if plan.near_share is not None:
            weight = _shared(weight, allowed & near, allowed & ~near, plan.near_share)
        shares = {'negatives_by_distance': plan.by_distance, 'negatives_by_router': plan.by_router}
        if divergence is None:
            # Without a gate all that is mined is mined by distance.
            shares = {
                'negatives_by_distance': plan.by_distance + plan.by_router,
                'negatives_by_router': 0.0,
            }
        total = _mean_one(weight, allowed)
        mined = (1 - sum(shares.values())) * total
        for share, hardness in zip(shares.values(), (distance, divergence), strict=True):
            if share > 0 and hardness is not None:
                nearest = _lowest(hardness, allowed, self.settings.hardest)
                mined = mined + share * _mean_one(nearest.to(total), allowed)
        log_weights = mined.log().masked_fill(right, 0.0)
        return Weighed(
            log_weights,
            mates,
            {
                'phase': distance.new_tensor(float(plan.phase)),
                'alpha': distance.new_tensor(plan.alpha),
                'eliminated_share': eliminated.sum() / (~right).sum().clamp_min(1),
                'attracted_share': mates.any(dim=1).float().mean(),
                **{name: distance.new_tensor(share) for name, share in shares.items()},
            },
        )

    def are_due(self, epoch: int) -> bool:
        """Return whether the leaves are to be clustered (again) in this epoch."""
        return self._is_old(self.clustered, epoch)

    def gates_are_due(self, epoch: int) -> bool:
        """Return whether the gates of the leaves are to be read (again) in this epoch."""
        return self.gates.shape[1] > 0 and self._is_old(self.routed, epoch)

    def _is_old(self, made: Tensor, epoch: int) -> bool:
        last = int(made)
        return last < 0 or epoch - last >= self.settings.every

    @torch.no_grad()
    def route(self, gates: Tensor, epoch: int) -> None:
        """Keep the gates (L, E) of the leaves' documents."""
        self.gates.copy_(gates)
        self.routed.fill_(epoch)

    def divergence(self, gates: Tensor | None) -> Tensor | None:
        """Return how differently phrases (B, E) and leaves are routed: (B, L); None without gates
        to compare.
        """
        if gates is None or int(self.routed) < 0:
            return None
        return router_divergence(gates.detach(), self.gates, self.settings.router_measure)

    @torch.no_grad()
    def cluster(self, tangent: Tensor, curvature: float, epoch: int) -> None:
        """Cluster the leaves by their points (L, d); all processes take those of the first."""
        generator = torch.Generator().manual_seed(derived_seed(self._seed, epoch))
        wanted = max(min(self.settings.clusters, len(tangent) // 4), 1)
        found = kmeans(tangent.detach(), wanted, curvature, generator=generator)
        self.labels.copy_(of_rank_zero(found.labels.to(self.labels.device)))
        self.clustered.fill_(epoch)

    def _same_cluster(self, plan: Plan, right: Tensor, apart: Tensor) -> Tensor:
        """Return the false negatives (B, L): leaves in a cluster of a right one, not told apart."""
        if not plan.without_false_negatives or int(self.clustered) < 0:
            return torch.zeros_like(right)
        count = int(self.labels.max()) + 1
        one_hot = nn.functional.one_hot(self.labels, count).float()
        clusters = (right.float() @ one_hot) > 0
        # Only of labels with one right answer: a sector shares clusters with half of all codes.
        single = right.sum(dim=1, keepdim=True) == 1
        return clusters[:, self.labels] & ~right & ~apart & single

    def _mates(self, plan: Plan, right: Tensor, apart: Tensor, near: Tensor) -> Tensor:
        """Return the leaves (B, L) that are attracted."""
        kind = self.settings.false_negatives
        if kind not in ('attract', 'hybrid'):
            return torch.zeros_like(right)
        same = self._same_cluster(plan, right, apart)
        return same & near if kind == 'hybrid' else same


def router_divergence(gates: Tensor, others: Tensor, measure: str = 'kl') -> Tensor:
    """Return how differently texts are routed: (B, E) and (N, E) -> (B, N), 0 where alike.

    KL(gate || other), or 1 - cosine. In float64 and outside autocast: of gates that are nearly
    uniform, as they are at first, both are small differences of numbers near 1, which bfloat16
    makes ties of.
    """
    with torch.autocast(gates.device.type, enabled=False):
        own, others = gates.double(), others.double()
        if measure == 'cosine':
            unit = nn.functional.normalize
            return 1 - unit(own, dim=1) @ unit(others, dim=1).T
        # A gate that has lost an expert to underflow is far from others, not infinitely far.
        log = others.clamp_min(1e-12).log()
        return (own * own.clamp_min(1e-12).log()).sum(dim=1, keepdim=True) - own @ log.T


def _mean_one(weight: Tensor, allowed: Tensor) -> Tensor:
    """Return weights (B, L) scaled so that each row's mean over the allowed is 1.

    Weights that are all alike so leave the softmax as it is.
    """
    count = allowed.sum(dim=1, keepdim=True)
    total = weight.sum(dim=1, keepdim=True)
    return weight * torch.where(total > 0, count / total.clamp_min(1e-30), 0.0)


def _shared(weight: Tensor, first: Tensor, second: Tensor, share: float) -> Tensor:
    """Return weights (B, L): `first` has a share of each row's sum, and `second` the rest."""
    result = torch.zeros_like(weight)
    for chosen, part in ((first, share), (second, 1 - share)):
        own = weight.masked_fill(~chosen, 0.0)
        result = result + part * own / own.sum(dim=1, keepdim=True).clamp_min(1e-30)
    return result


def _lowest(value: Tensor, among: Tensor, k: int) -> Tensor:
    """Return the k lowest values of each row among some: bool (B, L); fewer where there are."""
    k = min(k, value.shape[1])
    best, column = value.masked_fill(~among, math.inf).topk(k, dim=1, largest=False)
    return torch.zeros_like(among).scatter(1, column, best < math.inf)
