"""Drawing items (anchor, positive, K negatives) of a stage, all of them rows of the triplets.

What belongs here: random choice and shards. Which pairs and how many negatives of each
hardness is decided once, in `pairs.py` and `quotas.py`; a draw touches only the items that it
returns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from naics_model.curriculum.pairs import PairTable, pair_table
from naics_model.curriculum.quotas import (
    balanced_weights,
    effective_number,
    mix_of,
    quotas,
    slots,
)
from naics_model.curriculum.stage import Stage
from naics_model.errors import ConfigurationError
from naics_model.triplets.hardness import EXCLUDED
from naics_model.triplets.relation_index import RelationIndex


class TripletBatch(NamedTuple):
    """B items of K negatives, as code indices.

    Attributes:
        anchor, positive: int64 (B,).
        negatives: int64 (B, K), distinct within an item, hardest first.
        hardness: uint8 (B, K), of each negative.
    """

    anchor: NDArray[np.int64]
    positive: NDArray[np.int64]
    negatives: NDArray[np.int64]
    hardness: NDArray[np.uint8]


class TripletSampler:
    """An endless stream of items of one stage.

    Pairs of anchor and positive are drawn with replacement, by the weights of `balanced_weights`;
    the negatives of an item without, uniformly within each hardness. Every (anchor, positive,
    negative, hardness) is a row of `triplets.parquet`.

    Shards: the pairs are dealt to the ranks, so that no two ranks ever draw the same pair, and each
    has its share of every kind; each rank has its own random stream.
    With several workers per rank, count them as ranks (`rank * workers + worker` of
    `world_size * workers`). Equal arguments give equal draws.

    Resuming: `generator` is the only state; whatever else is here follows from the arguments. So
    nothing is saved. Who wants to resume re-seeds the generator where a stream begins, with a seed
    that names the stream (of training, the epoch's number): equal arguments and an equal seed give
    equal draws, whatever was drawn before.

    Attributes:
        index, stage: as given.
        pairs: the eligible pairs of the stage, of all ranks; `pairs.too_few` were left out.
        quota: int64 (9,), negatives of each hardness that an item asks for.
    """

    def __init__(
        self,
        index: RelationIndex,
        stage: Stage,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Prepare the draws: about a second for the hardest stage of 2022.

        Args:
            index: the edition's relations.
            stage: what to draw.
            seed: of everything that is random here, 0 or more.
            rank: this process, 0 to world_size - 1.
            world_size: number of processes.

        Raises:
            ConfigurationError: the seed or the rank cannot be; or the stage leaves no pair, or
                fewer than there are ranks.
        """
        if not 0 <= rank < world_size:
            raise ConfigurationError(f'Rank {rank} is not one of 0 to {world_size - 1}.')
        if seed < 0:
            raise ConfigurationError(f'Seed {seed} is negative: take 0 or any number above.')
        # Equal for all ranks: what they must agree on.
        common = np.random.default_rng(np.random.SeedSequence(seed))
        self.index = index
        self.stage = stage
        self.quota = quotas(stage.bucket_percentages, stage.k_negatives)
        self.pairs: PairTable = pair_table(index, stage, self.quota, common)
        if len(self.pairs) < world_size:
            raise ConfigurationError(
                f'Stage {stage.name} leaves {len(self.pairs)} pairs of anchor and positive, too '
                f'few for {world_size} processes: use fewer, or a wider stage.'
            )
        requested = np.array([0.0, *self.requested_mix.values()])
        weights = balanced_weights(self.pairs.taken, self.quota, requested)
        # Pairs of one kind have one weight: dealt in this order, each rank gets its share of a
        # kind.
        order = np.lexsort((common.random(len(weights)), weights))
        self._shard = np.sort(order[rank::world_size])
        self._weights = weights[self._shard] / weights[self._shard].sum()
        self._cumulative = np.cumsum(weights[self._shard])
        self._cumulative /= self._cumulative[-1]
        self._generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(rank,)))

    @property
    def generator(self) -> np.random.Generator:
        """This rank's random stream, of all that is drawn; re-seed it to begin another."""
        return self._generator

    @property
    def requested_mix(self) -> dict[int, float]:
        """The share of each hardness that the stage asks for."""
        return {level: self.stage.bucket_percentages.get(level, 0.0) for level in range(1, 9)}

    @property
    def expected_mix(self) -> dict[int, float]:
        """The share of each hardness that this rank's draws have in the long run, exactly."""
        return mix_of(self._weights @ self.pairs.taken[self._shard])

    @property
    def effective_pairs(self) -> float:
        """How many equally likely pairs would spread this rank's draws as widely."""
        return effective_number(self._weights)

    def draw(self, items: int) -> TripletBatch:
        """Draw the next items.

        Args:
            items: how many, B, at least 1.

        Raises:
            ConfigurationError: items is below 1.
        """
        if items < 1:
            raise ConfigurationError(f'{items} items cannot be drawn: ask for at least 1.')
        table = self.pairs
        at = np.searchsorted(self._cumulative, self._generator.random(items), side='right')
        pair = self._shard[at]
        taken = table.taken[pair].astype(np.int64)
        supply = table.supply[pair].astype(np.int64)
        hardness, rank = slots(taken)
        place = self._places(pair, hardness, rank, supply, taken)
        anchor = table.anchor[pair]
        negatives = self.index.order[anchor[:, None], table.start[pair, None] + place]
        return TripletBatch(anchor, table.positive[pair], negatives.astype(np.int64), hardness)

    def _places(
        self,
        pair: NDArray[np.int64],
        hardness: NDArray[np.uint8],
        rank: NDArray[np.int64],
        supply: NDArray[np.int64],
        taken: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """Choose negatives; return their places (B, K) among codes farther than the positive."""
        # Number the negatives of an item: hardness 8 first, then 7 … 1, each range as long as its
        # supply.
        ends = np.cumsum(supply[:, ::-1], axis=1)[:, ::-1]
        level = hardness.astype(np.int64)
        available = np.take_along_axis(supply, level, axis=1)
        first = np.take_along_axis(ends, level, axis=1) - available
        # Floyd's algorithm for a sample without replacement, all items at once: the t-th of q out
        # of L is uniform over the first L - q + t + 1; where that one is taken already, the last
        # of them.
        last = available - np.take_along_axis(taken, level, axis=1) + rank
        number = first + (self._generator.random(level.shape) * (last + 1)).astype(np.int64)
        for column in range(1, level.shape[1]):
            repeated = (number[:, :column] == number[:, column, None]).any(axis=1)
            number[repeated, column] = (first + last)[repeated, column]

        excluded_start = self.pairs.excluded_start[pair]
        excluded_count = supply[:, EXCLUDED]
        place = number - excluded_count[:, None]
        # Hardness 1 to 7 are numbered with the excluded codes left out: step over those, in
        # ascending order.
        for step in range(int(excluded_count.max(initial=0))):
            rows = np.flatnonzero(excluded_count > step)
            skipped = self.pairs.excluded[excluded_start[rows] + step].astype(np.int64)
            place[rows] += place[rows] >= skipped[:, None]
        row, slot = np.nonzero(hardness == EXCLUDED)
        place[row, slot] = self.pairs.excluded[excluded_start[row] + number[row, slot]]
        return place
