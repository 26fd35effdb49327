"""What a taxonomy can supply of a stage: the mix it asks for against the mix that comes.

What belongs here: counting, one sentence of verdict, and one of advice. Plain values in and out;
printing them is in `terminal.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from naics_model.curriculum.quotas import COLUMNS, TOLERANCE, mix_of, quotas
from naics_model.curriculum.sampler import TripletSampler
from naics_model.curriculum.stage import Stage
from naics_model.triplets.hardness import LEVELS
from naics_model.triplets.relation_index import RelationIndex

# Numbers of one draw: some tens of megabytes, whatever K is.
_DRAWN_AT_ONCE = 2**20
# Drawing compares the K negatives of an item with each other; so many take about five seconds.
_COMPARISONS = 2 * 10**9
# The least share that a mix in words names.
_WORTH_NAMING = 0.01


@dataclass(frozen=True)
class BucketSupply:
    """One hardness of a stage.

    Attributes:
        hardness: 1 to 8.
        requested: the share that the stage asks for.
        quota: how many of an item's K negatives that is.
        expected: the share that draws have in the long run.
        drawn: the share that a number of draws had.
        pairs_with_quota: eligible pairs that have as many negatives of this hardness as the quota.
        pairs_with_none: eligible pairs that have no negative of this hardness.
    """

    hardness: int
    requested: float
    quota: int
    expected: float
    drawn: float
    pairs_with_quota: int
    pairs_with_none: int

    @property
    def gap(self) -> float:
        """How far the draws are from the request in the long run; below 0 where they are short."""
        return self.expected - self.requested

    @property
    def is_off(self) -> bool:
        """Whether that is more than five points."""
        return _off(self.gap)


@dataclass(frozen=True)
class StageSupply:
    """What an edition supplies of a stage.

    Attributes:
        stage: what is asked for.
        pairs: eligible pairs of anchor and positive.
        too_few: pairs that the stage admits, left out because they have fewer than K negatives.
        anchors: different anchors of the eligible pairs.
        effective_pairs: how many equally likely pairs would spread the draws as widely.
        items: how many were drawn, fewer than were asked for where K is large.
        buckets: hardness 1 to 8.
    """

    stage: Stage
    pairs: int
    too_few: int
    anchors: int
    effective_pairs: float
    items: int
    buckets: tuple[BucketSupply, ...]

    @property
    def missed(self) -> tuple[BucketSupply, ...]:
        """The buckets that are more than five points off, the farthest first."""
        off = [bucket for bucket in self.buckets if bucket.is_off]
        return tuple(sorted(off, key=lambda bucket: -abs(bucket.gap)))


def stage_supply(index: RelationIndex, stage: Stage, *, items: int, seed: int) -> StageSupply:
    """Count what an edition has for a stage, and draw items of it.

    Args:
        index: the edition's relations.
        stage: what is asked for.
        items: how many to draw, at most; fewer where K is so large that they would take minutes.
        seed: of the draws.

    Raises:
        ConfigurationError: the stage leaves nothing to draw.
    """
    sampler = TripletSampler(index, stage, seed=seed)
    items = min(items, max(1, _COMPARISONS // stage.k_negatives**2))
    drawn = np.zeros(COLUMNS, np.int64)
    at_once = max(1, _DRAWN_AT_ONCE // stage.k_negatives)
    for start in range(0, items, at_once):
        hardness = sampler.draw(min(at_once, items - start)).hardness
        drawn += np.bincount(hardness.ravel(), minlength=COLUMNS)
    drawn_mix, supply = mix_of(drawn), sampler.pairs.supply
    return StageSupply(
        stage=stage,
        pairs=len(sampler.pairs),
        too_few=sampler.pairs.too_few,
        anchors=len(np.unique(sampler.pairs.anchor)),
        effective_pairs=sampler.effective_pairs,
        items=items,
        buckets=tuple(
            BucketSupply(
                hardness=level,
                requested=sampler.requested_mix[level],
                quota=int(sampler.quota[level]),
                expected=sampler.expected_mix[level],
                drawn=drawn_mix[level],
                pairs_with_quota=int((supply[:, level] >= sampler.quota[level]).sum()),
                pairs_with_none=int((supply[:, level] == 0).sum()),
            )
            for level in LEVELS
        ),
    )


def verdict(supply: StageSupply) -> str:
    """Say in one sentence whether the mix comes as asked, or else which buckets do not, and why."""
    if not supply.missed:
        farthest = max(supply.buckets, key=lambda bucket: abs(bucket.gap))
        side = 'above' if farthest.gap > 0 else 'below'
        return (
            f'Every bucket comes within {100 * TOLERANCE:.0f} points of what the stage asks for; '
            f'the farthest is hardness {farthest.hardness}, {100 * abs(farthest.gap):.1f} points '
            f'{side}.'
        )
    # A bucket above its share takes what others leave: where those are named, it need not be.
    causes = [bucket for bucket in supply.missed if bucket.gap < 0 or _too_coarse(bucket, supply)]
    reasons = '; '.join(_reason(bucket, supply) for bucket in causes or supply.missed)
    return f'This mix does not come as asked: {reasons}.'


def advice(supply: StageSupply) -> str | None:
    """Say what to do about buckets that do not come as asked, or None where all do."""
    if not supply.missed:
        return None
    if any(_too_coarse(bucket, supply) for bucket in supply.missed):
        return f'Set k_negatives to {_fine_enough(supply.stage)}, which can be split so.'
    comes = ', '.join(
        f'{bucket.hardness}: {bucket.expected:.1%}'
        for bucket in supply.buckets
        if bucket.expected >= _WORTH_NAMING
    )
    shortest = min(supply.buckets, key=lambda bucket: bucket.gap)
    return (
        f'The nearest that the draws come is, by hardness, {comes}: keep the stage if that will '
        f'do, or else ask less of hardness {shortest.hardness}, or choose positives that have such '
        'negatives (docs/curriculum_design_guide.md shows which have).'
    )


def _reason(bucket: BucketSupply, supply: StageSupply) -> str:
    found = (
        f'hardness {bucket.hardness} gets {bucket.expected:.1%} instead of {bucket.requested:.1%}'
    )
    if _too_coarse(bucket, supply):
        k = supply.stage.k_negatives
        return f'{found}, because {bucket.quota} of {k} negatives is as near as k_negatives allows'
    if bucket.gap > 0:
        return f'{found}, because it takes what harder buckets leave'
    if bucket.pairs_with_none == supply.pairs:
        return f'{found}, because none of the {supply.pairs:,} pairs has a negative of it'
    whole = f'only {bucket.pairs_with_quota:,} of {supply.pairs:,} pairs have'
    if not bucket.pairs_with_quota:
        whole = f'none of the {supply.pairs:,} pairs has'
    return (
        f'{found}, because {whole} the {bucket.quota} negatives of it that an item asks for, and '
        f'{bucket.pairs_with_none:,} have none'
    )


def _too_coarse(bucket: BucketSupply, supply: StageSupply) -> bool:
    """Whether a whole number of K negatives is already too far from the share."""
    return _off(bucket.quota / supply.stage.k_negatives - bucket.requested)


def _fine_enough(stage: Stage) -> int:
    """Return the next K whose whole numbers are within five points of all shares."""
    k = stage.k_negatives
    # A quota is less than one negative off, so this ends at 20 at the latest.
    while any(
        _off(quotas(stage.bucket_percentages, k)[level] / k - share)
        for level, share in stage.bucket_percentages.items()
    ):
        k += 1
    return k


def _off(gap: float) -> bool:
    # Rounded: 0.2 - 0.15 must not be more than 0.05.
    return round(abs(gap), 9) > TOLERANCE
