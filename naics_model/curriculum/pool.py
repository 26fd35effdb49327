"""Items that share few codes: a step encodes each code of its pool once for many items.

What belongs here: choosing the pool, and forming items inside it. The definition of a negative,
the quotas and the weights of pairs are the same as for single draws.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from naics_model.curriculum.quotas import COLUMNS, balanced_weights, deliver, slots
from naics_model.curriculum.sampler import TripletSampler
from naics_model.errors import ConfigurationError
from naics_model.triplets.hardness import hardness_matrix

# Candidate pairs for each item: a large pool has a hundred, and each costs a row of its width.
_CANDIDATES = 8


class PooledBatch(NamedTuple):
    """B items whose codes all come from one pool of M.

    Attributes:
        codes: int64 (M,), the distinct code indices of the pool.
        anchor, positive: int64 (B,), positions in `codes`.
        negatives: int64 (B, K), positions in `codes`, distinct within an item, hardest first.
        hardness: uint8 (B, K), of each negative; every item is a row of the triplets for each.
    """

    codes: NDArray[np.int64]
    anchor: NDArray[np.int64]
    positive: NDArray[np.int64]
    negatives: NDArray[np.int64]
    hardness: NDArray[np.uint8]


def compose(sampler: TripletSampler, *, pool_size: int, items: int) -> PooledBatch:
    """Choose a pool of codes and form items inside it.

    The pool is made of items that the sampler draws: of the first all codes, of the others the
    anchor, the positive and the negatives of their own sector or of a cross-reference, because
    codes of other sectors come with the other items anyway. Then the sampler's pairs of anchor and
    positive inside the pool that have K negatives there are candidates (a random eight per item
    where there are more); they are drawn by the weights of `balanced_weights`, so that the mix
    inside the pool comes near the request, too. K is always the stage's `k_negatives`, because the
    first item is such a candidate.

    No two ranks ever draw the same pair. A pool of one of R ranks holds fewer candidates for that,
    but more than an R-th, since it is made of that rank's own items
    (docs/curriculum_design_guide.md has the mixes that come of it).

    Args:
        sampler: draws the items, and the random numbers.
        pool_size: the most codes of the pool, M; less where the next item does not fit.
        items: number of items, B, at least 1.

    Raises:
        ConfigurationError: the pool is too small for one item, or items is below 1.
    """
    if items < 1:
        raise ConfigurationError(f'{items} items cannot be drawn: ask for at least 1.')
    smallest = sampler.stage.k_negatives + 2
    if pool_size < smallest:
        raise ConfigurationError(
            f'A pool of {pool_size} codes is too small: one item of stage {sampler.stage.name} '
            f'needs {smallest}, and a useful pool several times that.'
        )
    codes, certain = _choose_codes(sampler, pool_size)
    anchor, positive = _candidates(sampler, codes, certain, _CANDIDATES * items)
    levels = hardness_matrix(sampler.index, codes[anchor], codes[positive], codes)
    supply = _count(levels)
    taken = deliver(supply, sampler.quota)
    enough = np.flatnonzero(taken.sum(axis=1) == sampler.stage.k_negatives)
    weights = balanced_weights(taken[enough], sampler.quota)
    chosen = enough[_spread(weights, items, sampler.generator)]

    hardness, rank = slots(taken[chosen])
    by_hardness = _shuffle_by_hardness(levels[chosen], sampler.generator)
    harder = np.cumsum(supply[:, ::-1], axis=1)[:, ::-1] - supply
    first = np.take_along_axis(harder[chosen], hardness.astype(np.int64), axis=1)
    negatives = np.take_along_axis(by_hardness, first + rank, axis=1)
    return PooledBatch(codes, anchor[chosen], positive[chosen], negatives, hardness)


def _choose_codes(
    sampler: TripletSampler, pool_size: int
) -> tuple[NDArray[np.int64], tuple[int, int]]:
    """Return the codes of the pool, ascending, and a pair of codes that has K negatives in it."""
    batch = sampler.draw(pool_size)
    wanted = batch.hardness > 1
    wanted[0] = True
    pool: set[int] = set()
    for item in range(pool_size):
        pair = (int(batch.anchor[item]), int(batch.positive[item]))
        larger = pool.union(pair, batch.negatives[item, wanted[item]].tolist())
        if len(larger) > pool_size:
            break
        pool = larger
    return np.array(sorted(pool), np.int64), (int(batch.anchor[0]), int(batch.positive[0]))


def _candidates(
    sampler: TripletSampler, codes: NDArray[np.int64], certain: tuple[int, int], most: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the sampler's pairs (P,) as positions in the pool: all, or `most` at random."""
    admitted = sampler.admitted[np.ix_(codes, codes)]
    first = np.searchsorted(codes, certain)
    admitted[first[0], first[1]] = False
    others = np.flatnonzero(admitted)
    if len(others) > most:
        others = sampler.generator.choice(others, most, replace=False, shuffle=False)
    anchor, positive = np.divmod(others, len(codes))
    return np.append(anchor, first[0]), np.append(positive, first[1])


def _count(levels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count each hardness per row of (P, M); returns (P, 9) with an empty column 0."""
    supply = np.zeros((len(levels), COLUMNS), np.int64)
    for level in range(1, COLUMNS):
        # Positions in a pool have 16 bits, and narrow sums are twice as fast.
        supply[:, level] = (levels == level).sum(axis=1, dtype=np.uint16)
    return supply


def _spread(
    weights: NDArray[np.float64], items: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Draw rows (B,) by weight, each within one of its expected number, in random order."""
    # One random offset, equal steps: a pair that is due 3.2 times comes 3 or 4 times, never 0 or 9.
    steps = (np.arange(items) + generator.random()) / items
    chosen = np.searchsorted(np.cumsum(weights), steps * weights.sum(), side='right')
    return generator.permutation(np.minimum(chosen, len(weights) - 1))


def _shuffle_by_hardness(
    levels: NDArray[np.uint8], generator: np.random.Generator
) -> NDArray[np.int64]:
    """Return positions (B, M) by falling hardness, at random within one; no negatives last."""
    # One number per entry, sorted without its index beside it, is ten times as fast as argsort:
    # hardness in the highest bits, then 32 random ones, then the position.
    key = (COLUMNS - 1 - levels.astype(np.uint64)) << np.uint64(60)
    key |= generator.integers(2**32, size=levels.shape, dtype=np.uint64) << np.uint64(16)
    key |= np.arange(levels.shape[1], dtype=np.uint64)
    key.sort(axis=1)
    return (key & np.uint64(0xFFFF)).astype(np.int64)
