"""How many negatives of each hardness: quotas, what a supply delivers, and weights of pairs.

What belongs here: arithmetic on counts by hardness, arrays (…, 9) whose column h is hardness h
and column 0 is empty. Which codes they are is decided in `sampler.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

COLUMNS = 9
"""Hardness 1 to 8, and an empty column 0."""

# The price of a mix that misses the request, against uniform weights. Measured on the three
# built-in stages of 2022: at 200 the worst bucket is 3.5 points off and the hardest stage still
# draws from 34,000 pairs in effect; at 2,000 it is 3.4 points and 12,000 pairs, at 50 it is 12
# points off.
_MIX_PRICE = 200.0
# Beyond it shares move little, and the weights of pairs that deliver nothing that is short vanish.
_HIGHEST_PRICE = 500.0
_LEAST_SPREAD = 0.05
TOLERANCE = 0.05
"""How far a share may be from what was asked for: five points."""


def quotas(shares: Mapping[int, float], k: int) -> NDArray[np.int64]:
    """Split k negatives by shares, with the largest-remainder rule; of equals the harder wins.

    Args:
        shares: share of each hardness, summing to 1.
        k: number of negatives.

    Returns:
        int64 (9,), summing to k.
    """
    exact = np.zeros(COLUMNS)
    exact[list(shares)] = [share * k for share in shares.values()]
    # Rounded first: 0.2 * 15 must be 3, not 2.9999999999999996.
    exact = exact.round(9)
    result = np.floor(exact).astype(np.int64)
    remainder = (exact - result).round(9)
    harder_first = np.lexsort((-np.arange(COLUMNS), -remainder))
    result[harder_first[: k - result.sum()]] += 1
    return result


def deliver(supply: NDArray[np.integer], quota: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many negatives are taken: a short bucket falls to the next easier one.

    Args:
        supply: (P, 9) negatives that there are.
        quota: (9,) negatives that are asked for.

    Returns:
        int64 (P, 9); a row sums to less than the quota where even bucket 1 is short.
    """
    result = np.zeros(supply.shape, np.int64)
    short = np.zeros(len(supply), np.int64)
    for hardness in range(COLUMNS - 1, 0, -1):
        wanted = quota[hardness] + short
        result[:, hardness] = np.minimum(wanted, supply[:, hardness])
        short = wanted - result[:, hardness]
    return result


def slots(taken: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Lay the taken negatives of each row out in columns, hardest first.

    Args:
        taken: (B, 9), every row with the same sum K.

    Returns:
        hardness uint8 (B, K), and rank int64 (B, K): 0, 1, … within its hardness.
    """
    hardest_first = taken[:, ::-1]
    ends = np.cumsum(hardest_first, axis=1)
    column = np.arange(ends[0, -1])
    place = (column >= ends[:, :, None]).sum(axis=1)
    rank = column - np.take_along_axis(ends - hardest_first, place, axis=1)
    return (COLUMNS - 1 - place).astype(np.uint8), rank


def balanced_weights(
    taken: NDArray[np.integer],
    quota: NDArray[np.int64],
    requested: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return the probability of each pair: near uniform, with an expected mix near the quotas.

    Drawn uniformly, most pairs are of distant positives, which leave no farther code in the
    sector, and their quotas fall to bucket 1. `tilted_weights` mends that at a price. The price is
    lowered until the weights are spread over at least a twentieth of the pairs, because a request
    that few pairs can meet is not worth training on those few; or raised within that limit, as
    long as a share is more than five points off and that helps.

    Args:
        taken: (P, 9) negatives that each pair delivers (see `deliver`), rows of equal sums.
        quota: (9,) negatives that are asked for.
        requested: (9,) shares that are asked for, which the quotas round; the price is never
            raised where None.

    Returns:
        float64 (P,), positive, summing to 1.
    """
    # Pairs fall into few kinds: work on those.
    example, kind, count = _kinds(taken)
    kinds = taken[example]

    def weights_at(price: float) -> NDArray[np.float64]:
        return tilted_weights(kinds, quota, price, count)

    def is_spread(weights: NDArray[np.float64]) -> bool:
        return effective_number(weights, count) >= _LEAST_SPREAD * len(taken)

    def gap(weights: NDArray[np.float64]) -> float:
        if requested is None:
            return 0.0
        return float(np.abs(weights @ kinds / quota.sum() - requested).max())

    price = _MIX_PRICE
    best = weights_at(price)
    # This ends: uniform weights miss by a squared distance of 2 at most, so KL(w || uniform) is at
    # most the price, and the weights are spread over at least exp(-price) of the pairs.
    while not is_spread(best):
        price /= 2
        best = weights_at(price)
    while gap(best) > TOLERANCE and price < _HIGHEST_PRICE:
        price = min(1.25 * price, _HIGHEST_PRICE)
        dearer = weights_at(price)
        if not is_spread(dearer) or gap(dearer) >= gap(best):
            break
        best = dearer
    return (best / count)[kind]


def tilted_weights(
    taken: NDArray[np.integer],
    quota: NDArray[np.int64],
    price: float,
    count: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """Return probabilities as near uniform as an expected mix near the quotas allows.

    With x the mix that a pair delivers and r the request, they minimise over distributions w

        KL(w || uniform) + price / 2 · || Σ w x - r ||²,

    whose solution is w ∝ exp(λ·x) with λ = price · (r - Σ w x): pairs that deliver what is short
    are drawn more often. λ has one number per hardness and is found by Newton's method on the
    convex dual.

    Args:
        taken: (U, 9) negatives that each kind of pair delivers, rows of equal sums.
        quota: (9,) negatives that are asked for.
        price: of the squared distance to the request.
        count: (U,) number of pairs of each kind; 1 where None.

    Returns:
        float64 (U,), summing to 1: the probability of each kind, all of its pairs together.
    """
    requested = quota / quota.sum()
    mix = taken / quota.sum()
    log_count = np.zeros(len(taken)) if count is None else np.log(count)
    tilt = np.zeros(COLUMNS)

    def dual(at: NDArray[np.float64]) -> float:
        score = mix @ at + log_count
        top = score.max()
        return float(
            np.log(np.exp(score - top).sum()) + top - at @ requested + at @ at / (2 * price)
        )

    def weights(at: NDArray[np.float64]) -> NDArray[np.float64]:
        score = mix @ at + log_count
        result = np.exp(score - score.max())
        return result / result.sum()

    for _ in range(100):
        weight = weights(tilt)
        expected = weight @ mix
        gradient = expected - requested + tilt / price
        if np.abs(gradient).max() < 1e-9:
            break
        centred = mix - expected
        curvature = (centred * weight[:, None]).T @ centred + np.eye(COLUMNS) / price
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while size > 1e-6 and dual(tilt - size * step) > dual(tilt) - 1e-4 * size * gradient @ step:
            size /= 2
        tilt = tilt - size * step
    return weights(tilt)


def effective_number(weights: NDArray[np.float64], count: NDArray[np.int64] | None = None) -> float:
    """Return how many equally likely things would be as uncertain: the perplexity.

    Args:
        weights: (U,) probabilities, positive, summing to 1.
        count: (U,) number of equally likely things that share each weight; 1 where None.
    """
    each = weights if count is None else weights / count
    # A weight too small for a float is 0, and counts as nothing.
    log = np.log(each, out=np.zeros_like(each), where=each > 0)
    return float(np.exp(-weights @ log))


def _kinds(
    taken: NDArray[np.integer],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the first row (U,) of each kind, each row's kind (P,), and each kind's size (U,)."""
    # Column by column on small numbers: four times as fast as sorting half a million rows.
    key = np.zeros(len(taken), np.int64)
    for column in taken.T:
        key = np.unique(key * (int(taken.max()) + 1) + column, return_inverse=True)[1]
    _, example, kind, count = np.unique(
        key, return_index=True, return_inverse=True, return_counts=True
    )
    return example, kind, count


def mix_of(counts: NDArray[np.number]) -> dict[int, float]:
    """Return the share of each hardness, 1 to 8, in counts (9,)."""
    total = counts[1:].sum()
    return {hardness: float(counts[hardness] / total) for hardness in range(1, COLUMNS)}


def shortfall(
    requested: Mapping[int, float], effective: Mapping[int, float], tolerance: float = TOLERANCE
) -> str | None:
    """Return one sentence that names buckets too far below the request, or None.

    Args:
        requested: share of each hardness that the stage asks for.
        effective: share of each hardness that it gets.
        tolerance: the greatest gap that passes.
    """
    short = [
        f'{effective.get(level, 0):.1%} instead of {share:.1%} of hardness {level}'
        for level, share in sorted(requested.items())
        if share - effective.get(level, 0) > tolerance
    ]
    return f'The taxonomy cannot supply this mix: {", ".join(short)}.' if short else None
