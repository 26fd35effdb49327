"""Choosing the negatives of a step's items from all codes of the global batch, by a plan.

What belongs here: who may be a negative, and who is taken. When which plan holds is
`curriculum/sadc.py`, clusters are made in `dynamic.py`, and what is lost is the module's affair.

Nothing here has a gradient: what is chosen are columns, and distances to those are taken anew.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from naics_model.curriculum.sadc import NegativeSettings, Plan
from naics_model.curriculum.stage import Stage
from naics_model.geometry.lorentz import pairwise_distance
from naics_model.taxonomy.distances import UNRELATED
from naics_model.triplets.hardness import EXCLUDED, margin_levels
from naics_model.triplets.relation_index import RelationIndex

DRAWN, BY_DISTANCE, BY_ROUTER = 0, 1, 2
"""Why a negative was taken: by the plan's draw, as one of the nearest, or by its gate."""

# A cross-reference, of the anchor or of the positive, names the negative.
_NAMED = int(EXCLUDED)
# Siblings, and only they, are two whole steps apart: a grandparent is half a step nearer.
_SIBLING = 4
# Bytes for each entry of the similarity matrix that is in memory at once: its distance in float64
# and what comes before it, the divergence of its gate, scores, noise, and hardness.
_PER_ENTRY = 64


class Candidates(NamedTuple):
    """The N codes of the global batch, in the order of their ranks, and others behind them.

    Attributes:
        codes: int64 (N,), indices in the edition; a code may come from several ranks.
        tangent: (N, d), where they are.
        gate: (N, E), their gate distributions; None without experts.
        first: the columns of this process start here, and
        own: so many are its.
    """

    codes: Tensor
    tangent: Tensor
    gate: Tensor | None
    first: int
    own: int


class Chosen(NamedTuple):
    """The negatives of B items, columns of the candidates.

    Attributes:
        column: int64 (B, K).
        counts: bool (B, K), False where there was no K-th.
        reason: uint8 (B, K), `DRAWN`, `BY_DISTANCE` or `BY_ROUTER`.
        hardness: uint8 (B, K), 0 where it does not count.
        mate: int64 (B,), a candidate of the anchor's cluster to be attracted, and
        has_mate: bool (B,), whether there is one.
        eligible: int64 (B,), candidates that there were before clusters were asked, and
        eliminated: int64 (B,), those of them that are in the anchor's cluster.
    """

    column: Tensor
    counts: Tensor
    reason: Tensor
    hardness: Tensor
    mate: Tensor
    has_mate: Tensor
    eligible: Tensor
    eliminated: Tensor


class NegativeChooser(nn.Module):
    """Knows the relations of an edition, on the device of the model."""

    distance: Tensor
    excluded: Tensor
    levels: Tensor

    def __init__(self, index: RelationIndex, stage: Stage, settings: NegativeSettings) -> None:
        """Args:
        index: the edition's relations.
        stage: says how hard negatives may be, and how many there are.
        settings: how they are chosen.
        """
        super().__init__()
        self.settings = settings
        self.k = stage.k_negatives
        buckets = set(stage.difficulty_buckets)
        self._hardest = max(buckets - {_NAMED}, default=1)
        self._excluded_too = _NAMED in buckets
        for name, array in (
            ('distance', index.distance),
            ('excluded', index.excluded),
            ('levels', margin_levels()),
        ):
            self.register_buffer(name, torch.from_numpy(array.copy()), persistent=False)

    @torch.no_grad()
    def choose(
        self,
        plan: Plan,
        anchor: Tensor,
        positive: Tensor,
        candidates: Candidates,
        clusters: Tensor | None = None,
        curvature: float = 1.0,
    ) -> Chosen:
        """Choose the negatives of items; random draws come from torch's generator of the device.

        Args:
            plan: how.
            anchor, positive: int64 (B,), columns of the candidates.
            candidates: the codes of the global batch.
            clusters: int64 (n,), the cluster of each code of the edition, where they are known.
            curvature: of the space.
        """
        rows = self._rows_at_once(len(candidates.codes))
        parts = [
            self._choose(plan, a, p, candidates, clusters, curvature)
            for a, p in zip(anchor.split(rows), positive.split(rows), strict=True)
        ]
        return Chosen(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def matrix_bytes(self, items: int, candidates: int) -> int:
        """Return how much of the similarity matrix of so many is in memory at once."""
        return min(items, self._rows_at_once(candidates)) * candidates * _PER_ENTRY

    def _rows_at_once(self, candidates: int) -> int:
        return max(self.settings.chunk_mb * 2**20 // (_PER_ENTRY * candidates), 1)

    def _choose(
        self,
        plan: Plan,
        anchor: Tensor,
        positive: Tensor,
        candidates: Candidates,
        clusters: Tensor | None,
        curvature: float,
    ) -> Chosen:
        """Choose for some of the items."""
        codes, anchors = candidates.codes, candidates.codes[anchor]
        half_steps = self.distance[anchors.unsqueeze(1), codes].long()
        hardness = self.hardness(anchors, codes[positive], codes)
        named = hardness == _NAMED
        allowed = (hardness > 0) & ~named & (hardness <= self._hardest)
        if self._excluded_too:
            allowed |= named
        allowed &= _once(candidates)
        # A cross-reference, in either direction, says that two codes are told apart: such a sibling
        # is a negative from the start, and such a code never a false negative.
        apart = named | self.excluded[anchors.unsqueeze(1), codes]
        apart |= self.excluded[codes, anchors.unsqueeze(1)]
        siblings = (half_steps == _SIBLING) & ~apart
        if plan.sibling_weight == 0:
            allowed &= ~siblings
        eligible = allowed.sum(dim=1)
        same = torch.zeros_like(allowed)
        if plan.without_false_negatives and clusters is not None:
            same = (clusters[anchors].unsqueeze(1) == clusters[codes]) & ~apart
        eliminated = (allowed & same).sum(dim=1)
        allowed &= ~same
        mate, has_mate = self._mate(same, half_steps, anchors, codes)

        # The draw: of weights w the K largest of log w + Gumbel noise are a sample without
        # replacement. A cross-reference weighs as a neighbour: people look for one under the other.
        noise = -torch.empty_like(half_steps, dtype=torch.float32).exponential_().log()
        steps = half_steps.clamp_min(1).masked_fill(named, 2) / 2
        draw = noise - plan.alpha * steps.log()
        if 0 < plan.sibling_weight < 1:
            draw = draw + torch.where(siblings, 1.0, 0.0) * torch.tensor(plan.sibling_weight).log()
        k = min(self.k, len(codes))
        if plan.near_share is not None:
            near = allowed & (half_steps < UNRELATED)
            wanted = near & _best(noise, near, round(plan.near_share * k))
            # What the share of the sector leaves is of other sectors, as long as there are any.
            draw = noise + 1e3 * wanted + 1e2 * (half_steps == UNRELATED)
        taken = torch.zeros_like(hardness)
        mined = round((plan.by_distance + plan.by_router) * k)
        if mined > 0:
            pool = _best(draw, allowed, round(self.settings.candidates * k))
            by_router = 0 if candidates.gate is None else round(plan.by_router * k)
            distance = pairwise_distance(candidates.tangent[anchor], candidates.tangent, curvature)
            nearest = _best(-distance, pool, mined - by_router)
            taken[nearest] = BY_DISTANCE
            if candidates.gate is not None and by_router > 0:
                likeness = -router_divergence(
                    candidates.gate[anchor], candidates.gate, self.settings.router_measure
                )
                taken[_best(likeness, pool & ~nearest, by_router)] = BY_ROUTER
        # Those that are taken already, then the draw's.
        score = (draw + 1e6 * (taken > 0)).masked_fill(~allowed, -torch.inf)
        best, column = score.topk(k, dim=1)
        counts = best > -torch.inf
        reason = taken.gather(1, column)
        hardness = hardness.gather(1, column) * counts
        return Chosen(column, counts, reason, hardness, mate, has_mate, eligible, eliminated)

    def hardness(self, anchors: Tensor, positives: Tensor, codes: Tensor) -> Tensor:
        """Return `triplets.hardness.hardness_matrix` on the device: (B,), (B,), (N,) -> uint8
        (B, N)."""
        rows, others = anchors.unsqueeze(1), positives.unsqueeze(1)
        near = self.distance[rows, others].long()
        key = self.distance[rows, codes].long()
        key = key.masked_fill(key % 2 == 1, 0)
        level = self.levels[near, key]
        named = self.excluded[rows, codes] | self.excluded[others, codes]
        return torch.where(named & (level > 0), _NAMED, level)

    def _mate(
        self, same: Tensor, half_steps: Tensor, anchors: Tensor, codes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Choose one code of each anchor's cluster to be attracted, if any: columns, and whether.

        Never the anchor itself; with `hybrid`, only one that the tree, too, has in the sector.
        """
        if self.settings.false_negatives not in ('attract', 'hybrid'):
            same = torch.zeros_like(same)
        same = same & (anchors.unsqueeze(1) != codes)
        if self.settings.false_negatives == 'hybrid':
            same = same & (half_steps < UNRELATED)
        score = torch.rand(same.shape, device=same.device).masked_fill(~same, -1.0)
        best, column = score.max(dim=1)
        return column, best >= 0


def router_divergence(gates: Tensor, others: Tensor, measure: str = 'kl') -> Tensor:
    """Return how differently codes are routed: (B, E) and (N, E) -> (B, N), 0 where alike.

    KL(gate || other), or 1 - cosine. In float64 and outside autocast: of gates that are nearly
    uniform, as they are at first, both are small differences of numbers near 1, which bfloat16
    makes ties of.
    """
    with torch.autocast(gates.device.type, enabled=False):
        own, others = gates.double(), others.double()
        if measure == 'cosine':
            unit = torch.nn.functional.normalize
            return 1 - unit(own, dim=1) @ unit(others, dim=1).T
        # A gate that has lost an expert to underflow is far from others, not infinitely far.
        log = others.clamp_min(1e-12).log()
        return (own * own.clamp_min(1e-12).log()).sum(dim=1, keepdim=True) - own @ log.T


def _best(score: Tensor, among: Tensor, k: int) -> Tensor:
    """Return the k highest scores of each row among some: bool (B, N); fewer where there are."""
    k = min(k, score.shape[1])
    result = torch.zeros_like(among)
    if k > 0:
        value, column = score.masked_fill(~among, -torch.inf).topk(k, dim=1)
        result.scatter_(1, column, value > -torch.inf)
    return result


def _once(candidates: Candidates) -> Tensor:
    """Return which columns count, (1, N): each code once, where this process has it if it does.

    Several ranks may have encoded one code, with other dropout: a negative twice is none the more.
    """
    codes = candidates.codes
    column = torch.arange(len(codes), device=codes.device)
    # This process's columns come first, then those of the others in their order.
    is_own = (column >= candidates.first) & (column < candidates.first + candidates.own)
    priority = column + torch.where(is_own, 0, len(codes))
    best = codes.new_full((int(codes.max()) + 1,), 2 * len(codes))
    best = best.scatter_reduce(0, codes, priority, 'amin')
    return (priority == best[codes]).unsqueeze(0)
