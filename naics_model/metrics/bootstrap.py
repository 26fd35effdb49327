"""Is one method better than another on the same questions? The paired bootstrap.

Efron and Tibshirani, An Introduction to the Bootstrap (1993): percentile intervals in chapter 13,
bootstrap of paired differences in chapter 16. For comparing systems on one test set see Koehn,
Statistical Significance Tests for Machine Translation Evaluation (2004).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from naics_model.errors import DataError

CONFIDENCE = 0.95
"""The share of draws inside the interval."""

# Random numbers of one chunk of draws: 2 million of four bytes.
_CHUNK = 2_000_000


@dataclass(frozen=True)
class PairedDifference:
    """How far two methods are apart on the same questions.

    Attributes:
        a, b: the mean score of each method.
        difference: a - b.
        low, high: the 95 % percentile interval of the difference.
        flips: share of draws whose difference has the other sign than `difference`, 0 to 1. A draw
            with no difference counts half. 0 if the methods have the same score on every question,
            0.5 if only their means are equal.
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    flips: float


def paired_bootstrap(
    a: ArrayLike,
    b: ArrayLike,
    groups: ArrayLike | None = None,
    draws: int = 10_000,
    seed: int = 0,
) -> PairedDifference:
    """Compare two methods by their scores on the same questions.

    Each draw takes as many questions as there are, with replacement, and the scores of both methods
    on them. With groups, whole groups are drawn instead (cluster bootstrap): questions of one group
    are not independent, such as one question asked under several seeds, or all questions of one
    code. The means stay means over questions, so a large group counts for more than a small one.

    Time grows with draws x groups. Memory does not: draws are made in chunks of some ten megabytes,
    or one draw at a time if there are more groups than that.

    Args:
        a: (n,) scores of the first method, such as 0 and 1 for hit@1, or 1 / rank for MRR.
        b: (n,) scores of the second method on the same questions, in the same order.
        groups: (n,) the group of each question, numbers or text; None if each is its own.
        draws: how many, at least 1.
        seed: of the draws.

    Raises:
        DataError: there are no scores, shapes disagree, a score is not finite, or there are no
            draws.
    """
    first, second = (np.asarray(scores, dtype=np.float64) for scores in (a, b))
    _refuse(first, second, draws)
    apart = first - second
    sums, sizes = _sums(apart, groups)
    found = _draws(sums, sizes, draws, np.random.default_rng(seed))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    difference = float(apart.mean())
    return PairedDifference(
        a=float(first.mean()),
        b=float(second.mean()),
        difference=difference,
        low=float(low),
        high=float(high),
        flips=_flips(found, difference) if apart.any() else 0.0,
    )


def _refuse(first: NDArray[np.float64], second: NDArray[np.float64], draws: int) -> None:
    """Refuse scores that cannot be compared."""
    if first.ndim != 1 or first.shape != second.shape or not len(first):
        raise DataError(
            f'A paired comparison needs one score of each method for each question, but the scores '
            f'have the shapes {first.shape} and {second.shape}: pass two rows of one length.'
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise DataError('A score is not a finite number: leave out what was not answered in both.')
    if draws < 1:
        raise DataError(f'{draws} draws give no interval: ask for 1 or more, such as 10,000.')


def _sums(
    apart: NDArray[np.float64], groups: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Return the sum of the differences of each group (g,) and its size (g,), None if all are 1."""
    if groups is None:
        return apart, None
    names: NDArray[Any] = np.asarray(groups)
    if names.shape != apart.shape:
        raise DataError(
            f'Each question needs a group, but there are {names.size} groups for {apart.size} '
            'questions: pass one for each.'
        )
    _, number = np.unique(names, return_inverse=True)
    sizes = np.bincount(number)
    if (sizes == 1).all():
        return apart, None
    sums = np.bincount(number, weights=apart).astype(np.float64)
    return sums, sizes.astype(np.float64)


def _draws(
    sums: NDArray[np.float64],
    sizes: NDArray[np.float64] | None,
    draws: int,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """Return the mean difference (draws,) of each draw."""
    count = len(sums)
    found = np.empty(draws)
    chunk = max(1, _CHUNK // count)
    for start in range(0, draws, chunk):
        rows = min(chunk, draws - start)
        # 32 bits are drawn twice as fast as 64.
        chosen = generator.integers(0, count, size=(rows, count), dtype=np.uint32)
        drawn = sums[chosen].sum(axis=1)
        asked = count if sizes is None else sizes[chosen].sum(axis=1)
        found[start : start + rows] = drawn / asked
    return found


def _flips(found: NDArray[np.float64], difference: float) -> float:
    """Return the share of draws with the other sign; of no difference, half."""
    sign = np.sign(difference)
    if sign == 0:
        return 0.5
    signs = np.sign(found)
    return float((signs == -sign).mean() + 0.5 * (signs == 0).mean())
