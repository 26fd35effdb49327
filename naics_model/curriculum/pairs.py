"""The (anchor, positive) pairs of a stage, with what each can supply.

What belongs here: filtering, counting and locating, for all pairs at once and with no random draw
of negatives. The negatives of a pair are laid out as one line, farther codes by ascending
distance with excluded ones taken out, so that hardness 7, 6, … 1 are consecutive ranges of it;
the excluded ones are a line of their own, hardness 8.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from naics_model.curriculum.quotas import COLUMNS, deliver
from naics_model.curriculum.stage import Stage
from naics_model.errors import ConfigurationError
from naics_model.taxonomy.distances import UNRELATED
from naics_model.triplets.hardness import EXCLUDED, margin_levels
from naics_model.triplets.relation_index import RelationIndex


@dataclass(frozen=True)
class PairTable:
    """The P eligible pairs of a stage.

    Attributes:
        anchor, positive: int64 (P,), code indices.
        start: int64 (P,), where in `order[anchor]` the codes farther than the positive begin.
        supply: uint16 (P, 9), negatives of each hardness that there are.
        taken: uint16 (P, 9), negatives of each hardness that an item gets, K in all.
        excluded_start: int64 (P + 1,), and
        excluded: uint16, ascending: the excluded negatives of pair i stand in `order[anchor]` at
            `start + excluded[excluded_start[i]:excluded_start[i + 1]]`.
        too_few: pairs that the stage's filter admits, but that have fewer than K negatives.
    """

    anchor: NDArray[np.int64]
    positive: NDArray[np.int64]
    start: NDArray[np.int64]
    supply: NDArray[np.uint16]
    taken: NDArray[np.uint16]
    excluded_start: NDArray[np.int64]
    excluded: NDArray[np.uint16]
    too_few: int

    def __len__(self) -> int:
        return len(self.anchor)


def pair_table(
    index: RelationIndex, stage: Stage, quota: NDArray[np.int64], generator: np.random.Generator
) -> PairTable:
    """Find the pairs that a stage admits and that have enough negatives.

    Args:
        index: the edition's relations.
        stage: its filters.
        quota: (9,) negatives of each hardness that an item asks for.
        generator: chooses among the positives of an anchor where `max_positives` limits them.

    Raises:
        ConfigurationError: no pair is left.
    """
    anchor, positive = np.nonzero(_admitted(index, stage))
    if not len(anchor):
        raise ConfigurationError(
            f'Stage {stage.name} leaves no pair of anchor and positive: no two codes of one '
            'sector match its positive_levels and positive distances, so widen them.'
        )
    start, supply, owner, place = _supply(index, anchor, positive)
    taken = deliver(supply, quota)
    enough = taken.sum(axis=1) == quota.sum()
    if not enough.any():
        raise ConfigurationError(
            f'Stage {stage.name} asks for {quota.sum()} negatives of an item, but none of its '
            f'{len(anchor):,} pairs of anchor and positive has as many: lower k_negatives.'
        )
    chosen = np.flatnonzero(enough)
    if stage.max_positives is not None:
        chosen = _at_most(chosen, anchor[chosen], stage.max_positives, generator)

    keep = np.zeros(len(anchor), bool)
    keep[chosen] = True
    return PairTable(
        anchor=anchor[chosen],
        positive=positive[chosen],
        start=start[chosen],
        supply=supply[chosen].astype(np.uint16),
        taken=taken[chosen].astype(np.uint16),
        excluded_start=np.concatenate([[0], np.cumsum(supply[chosen, EXCLUDED])]),
        excluded=place[keep[owner]].astype(np.uint16),
        too_few=int((~enough).sum()),
    )


def count_by_hardness(index: RelationIndex) -> dict[int, int]:
    """Count all triplets of an edition by hardness, from the relations alone.

    The same numbers as `triplets.lookup.rows_by_hardness` counts in the published file.
    """
    anchor, positive = np.nonzero((index.distance > 0) & (index.distance < UNRELATED))
    _, supply, _, _ = _supply(index, anchor, positive)
    return {level: int(count) for level, count in enumerate(supply.sum(axis=0)) if level}


def _admitted(index: RelationIndex, stage: Stage) -> NDArray[np.bool_]:
    low = 1 if stage.positive_distance_min is None else 2 * stage.positive_distance_min
    high = UNRELATED if stage.positive_distance_max is None else 2 * stage.positive_distance_max
    near = (index.distance >= low) & (index.distance <= high)
    # Distance 0 is the code itself; other sectors have no positives.
    near &= (index.distance > 0) & (index.distance < UNRELATED)
    return near & np.isin(index.levels, stage.positive_levels)


def _supply(
    index: RelationIndex, anchor: NDArray[np.int64], positive: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return start (P,), supply (P, 9), and pair (e,) and place (e,) of excluded negatives."""
    levels = margin_levels()
    near = index.distance[anchor, positive]
    start = index.offsets[anchor, near.astype(np.int64) + 1].astype(np.int64)

    # By anchor, distance of the positive, and hardness: the number of codes, excluded or not.
    by_key = np.diff(index.offsets[:, : UNRELATED + 2], axis=1)
    of_level = (levels[:, :, None] == np.arange(COLUMNS)).astype(np.int64)
    counts = np.einsum('ak,dkh->adh', by_key, of_level, optimize=True)
    supply = counts[anchor, near]
    supply[:, 0] = 0

    owner, target = (
        np.concatenate(both)
        for both in zip(_targets(index, anchor), _targets(index, positive), strict=True)
    )
    key = index.keys[anchor[owner], target]
    farther = key > near[owner]
    owner, target = owner[farther], target[farther]
    # Both the anchor and the positive may name a code: once is enough.
    line = np.unique(owner * len(index) + index.place[anchor[owner], target])
    owner, place = line // len(index), line % len(index)
    key = index.keys[anchor[owner], index.order[anchor[owner], place]]
    np.subtract.at(supply, (owner, levels[near[owner], key]), 1)
    supply[:, EXCLUDED] = np.bincount(owner, minlength=len(anchor))
    return start, supply, owner, place - start[owner]


def _targets(
    index: RelationIndex, code: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the row (e,) and target (e,) of every cross-reference of the codes (P,)."""
    first = index.exclusion_offsets[code].astype(np.int64)
    count = index.exclusion_offsets[code + 1] - first
    row = np.repeat(np.arange(len(code)), count)
    within = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    return row, index.exclusion_targets[first[row] + within].astype(np.int64)


def _at_most(
    chosen: NDArray[np.int64],
    anchor: NDArray[np.int64],
    most: int,
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """Return, ascending, at most `most` of the chosen pairs of each anchor, at random."""
    order = np.lexsort((generator.random(len(chosen)), anchor))
    sorted_anchor = anchor[order]
    rank = np.arange(len(chosen)) - np.searchsorted(sorted_anchor, sorted_anchor)
    return np.sort(chosen[order[rank < most]])
