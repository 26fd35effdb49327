"""The dynamic curriculum at work in a fit: the plan that holds, clusters, candidates of all ranks.

What belongs here: what lasts from step to step, and what several processes share. The plan itself
is `curriculum/sadc.py`, the choice `negatives.py`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from naics_model.curriculum.sadc import NegativeSettings, PhaseClock, Plan, plan_at
from naics_model.curriculum.stage import Stage
from naics_model.encoder.embedder import EmbedderOutput, NaicsEmbedder
from naics_model.encoder.tokens import TokenCache
from naics_model.geometry.kmeans import kmeans
from naics_model.geometry.lorentz import distance
from naics_model.jobs.collective import gathered_over_ranks, of_rank_zero, rank
from naics_model.jobs.seeds import derived_seed
from naics_model.training.bank import CodeBank
from naics_model.training.data import StepBatch
from naics_model.training.negatives import (
    BY_DISTANCE,
    BY_ROUTER,
    DRAWN,
    Candidates,
    Chosen,
    NegativeChooser,
)
from naics_model.triplets.relation_index import RelationIndex


class Contrast(NamedTuple):
    """What the items of a step are contrasted with.

    Attributes:
        negatives: (B, K) distances of anchors to their negatives, with a gradient in both.
        counts: bool (B, K), which of them there are.
        mates: (B,) distances of anchors to a code of their cluster, and
        has_mate: bool (B,), which of them have one; None where none is attracted.
        hardness: uint8 (B, K), 0 where a negative does not count.
        clusters_of_queries: int64 (n,), the cluster of each code, whose other codes are no wrong
            answers to its queries; None where all are.
        figures: scalars to be logged.
    """

    negatives: Tensor
    counts: Tensor
    mates: Tensor | None
    has_mate: Tensor | None
    hardness: Tensor
    clusters_of_queries: Tensor | None
    figures: dict[str, Tensor]


class DynamicNegatives(nn.Module):
    """Chooses negatives for each step of a fit, and keeps what that needs between steps.

    The clusters, the clock of the phases, and where codes were last seen go with a checkpoint.

    Attributes:
        labels: int64 (n,), the cluster of each code; -1 before the first clustering.
        clustered: int64 scalar, the epoch of the last clustering; -1 before the first.
    """

    labels: Tensor
    clustered: Tensor

    def __init__(
        self,
        index: RelationIndex,
        stage: Stage,
        cache: TokenCache,
        settings: NegativeSettings,
        seed: int,
        width: int,
    ) -> None:
        """Args:
        index: the edition's relations.
        stage: says how hard negatives may be.
        cache: tokens of the edition, to embed all codes before they are clustered.
        settings: how negatives are chosen.
        seed: of the clusterings.
        width: numbers that tell of a code: of its point and its gate.
        """
        super().__init__()
        self.settings = settings
        self.clock = PhaseClock(settings.patience)
        self._chooser = NegativeChooser(index, stage, settings)
        self._cache = cache
        self._seed = seed
        self.register_buffer('labels', torch.full((len(index),), -1, dtype=torch.int64))
        self.register_buffer('clustered', torch.tensor(-1))
        self._bank = CodeBank(len(index), width) if settings.beyond_step else None

    def get_extra_state(self) -> dict[str, float]:
        return self.clock.state()

    def set_extra_state(self, state: Any) -> None:
        self.clock.restore(state)

    def contrast(
        self,
        batch: StepBatch,
        output: EmbedderOutput,
        embedder: NaicsEmbedder,
        progress: float,
        epoch: int,
    ) -> Contrast | None:
        """Choose negatives for a step's items; every process has to call it.

        Args:
            batch: the step's items.
            output: what the embedder said of its codes.
            embedder: asked for all codes when clusters are due.
            progress: done share of the fit.
            epoch: its number.

        Returns:
            None where the negatives of the sampler are to be kept.
        """
        plan = plan_at(self.settings, progress, self.clock.ends)
        if plan is None:
            return None
        if plan.without_false_negatives and self._are_due(epoch):
            self.cluster(embedder, epoch)
        candidates = _gathered(batch.codes, output)
        if self._bank is not None:
            candidates = _with_bank(candidates, self._bank, batch.codes, output)
        chosen = self._chooser.choose(
            plan,
            batch.anchor + candidates.first,
            batch.positive + candidates.first,
            candidates._replace(
                tangent=candidates.tangent.detach(),
                gate=None if candidates.gate is None else candidates.gate.detach(),
            ),
            self.labels if plan.without_false_negatives else None,
            embedder.curvature,
        )
        anchors = output.tangent[batch.anchor]
        negatives = distance(
            anchors.unsqueeze(1), candidates.tangent[chosen.column], embedder.curvature
        )
        mates = None
        attracts = self.settings.false_negatives in ('attract', 'hybrid')
        if plan.without_false_negatives and attracts:
            mates = distance(anchors, candidates.tangent[chosen.mate], embedder.curvature)
        return Contrast(
            negatives,
            chosen.counts,
            mates,
            None if mates is None else chosen.has_mate,
            chosen.hardness,
            self.labels if plan.without_false_negatives and self.settings.in_queries else None,
            self._figures(plan, chosen, len(candidates.codes)),
        )

    @torch.no_grad()
    def cluster(self, embedder: NaicsEmbedder, epoch: int) -> None:
        """Embed all codes in eval mode, and cluster them anew.

        Every process embeds all of them (they would wait for each other anyway), and takes the
        clusters of the first: sums in another order could give others.
        """
        points = embedder.encode_codes(self._cache)
        generator = torch.Generator().manual_seed(derived_seed(self._seed, epoch))
        wanted = max(min(self.settings.clusters, len(points) // 4), 1)
        found = kmeans(
            points.to(self.labels.device), wanted, embedder.curvature, generator=generator
        )
        self.labels.copy_(of_rank_zero(found.labels))
        self.clustered.fill_(epoch)

    def _figures(self, plan: Plan, chosen: Chosen, candidates: int) -> dict[str, Tensor]:
        """Return what is worth watching of a choice."""
        device = chosen.column.device
        counted = chosen.counts.sum().clamp_min(1)
        matrix = self._chooser.matrix_bytes(len(chosen.column), candidates)
        return {
            'phase': torch.tensor(float(plan.phase), device=device),
            'alpha': torch.tensor(plan.alpha, device=device),
            'eliminated_share': chosen.eliminated.sum() / chosen.eligible.sum().clamp_min(1),
            'attracted_share': chosen.has_mate.float().mean(),
            'similarity_mb': torch.tensor(matrix / 2**20, device=device),
            **{
                name: ((chosen.reason == reason) & chosen.counts).sum() / counted
                for name, reason in (
                    ('negatives_drawn', DRAWN),
                    ('negatives_by_distance', BY_DISTANCE),
                    ('negatives_by_router', BY_ROUTER),
                )
            },
        }

    def _are_due(self, epoch: int) -> bool:
        last = int(self.clustered)
        return last < 0 or epoch - last >= self.settings.every


def _gathered(codes: Tensor, output: EmbedderOutput) -> Candidates:
    """Return the codes of all processes; points with a gradient."""
    of_ranks = gathered_over_ranks(codes)
    gate = output.gate_probabilities
    own = rank()
    return Candidates(
        codes=torch.cat(of_ranks),
        tangent=torch.cat(gathered_over_ranks(output.tangent)),
        gate=None if gate is None else torch.cat(gathered_over_ranks(gate)),
        first=sum(len(part) for part in of_ranks[:own]),
        own=len(codes),
    )


def _with_bank(
    candidates: Candidates, bank: CodeBank, codes: Tensor, output: EmbedderOutput
) -> Candidates:
    """Add the codes that no process has in this step, where they were last seen; then keep where
    this step's are."""
    others = bank.others(candidates.codes)
    known = bank.points[others]
    width = output.tangent.shape[1]
    added = candidates._replace(
        codes=torch.cat([candidates.codes, others]),
        tangent=torch.cat([candidates.tangent, known[:, :width]]),
    )
    told = output.tangent
    if candidates.gate is not None and output.gate_probabilities is not None:
        added = added._replace(gate=torch.cat([candidates.gate, known[:, width:]]))
        told = torch.cat([told, output.gate_probabilities.to(told.dtype)], dim=1)
    bank.update(codes, told)
    return added
