"""Does the model know when it is right? From distances to a confidence, and how far to trust it.

Arrays in, arrays and figures out. A confidence is the share that the first answer has of
softmax(-D / t) over all candidates; t is one number, and never fitted on the queries whose
confidence it gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

Floats = NDArray[np.floating]

BINS = 10
# Temperatures as a share of the mean distance, as logarithms: from a hard choice to no choice.
_RANGE = (-7.0, 2.0)


@dataclass(frozen=True)
class Reliability:
    """One bin of queries with like confidence: mean confidence, share answered right, how many."""

    confidence: float
    accuracy: float
    count: int


def confidences(distance: Floats, truth: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the confidence (q,) in each query's first answer, by two-fold cross-fitting.

    The temperature of the even queries is the one that makes the right codes of the odd ones most
    likely (Guo et al. 2017), and the other way round.

    Args:
        distance: (q, c), q at least 2.
        truth: (q,) column of each query's right candidate.
    """
    even = np.arange(len(truth)) % 2 == 0
    confidence = np.zeros(len(truth))
    for asked, fitted in ((even, ~even), (~even, even)):
        temperature = best_temperature(distance[fitted], truth[fitted])
        scores = -distance[asked] / temperature
        confidence[asked] = np.exp(scores.max(axis=1) - logsumexp(scores, axis=1))
    return confidence


def best_temperature(distance: Floats, truth: NDArray[np.integer]) -> float:
    """Return the t that minimises the mean of -log softmax(-D / t) at the right candidates.

    Args:
        distance: (q, c).
        truth: (q,).
    """
    own = distance[np.arange(len(truth)), truth]
    unit = float(np.abs(distance).mean()) or 1.0

    def surprise(log_share: float) -> float:
        temperature = unit * np.exp(log_share)
        return float((own / temperature + logsumexp(-distance / temperature, axis=1)).mean())

    found = minimize_scalar(surprise, bounds=_RANGE, method='bounded', options={'xatol': 0.01})
    return float(unit * np.exp(found.x))


def reliability(confidence: Floats, right: NDArray[np.bool_]) -> list[Reliability]:
    """Return ten bins of equally many queries, the least sure first.

    Args:
        confidence: (q,), 0 to 1.
        right: (q,) whether the first answer was right.
    """
    order = np.argsort(confidence, kind='stable')
    return [
        Reliability(float(confidence[rows].mean()), float(right[rows].mean()), len(rows))
        for rows in np.array_split(order, min(BINS, len(order)))
        if len(rows)
    ]


def calibration_error(bins: Sequence[Reliability]) -> float:
    """Return the expected calibration error: the mean of |confidence - accuracy| over queries.

    0 is honest; over bins of equally many queries (Nguyen and O'Connor 2015).
    """
    count = sum(each.count for each in bins)
    return sum(each.count * abs(each.confidence - each.accuracy) for each in bins) / count
