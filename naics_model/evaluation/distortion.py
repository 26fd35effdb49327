"""By what factor do distances miss the tree's? On average, at worst, and nearly at worst.

Vectors over pairs in, a figure out. None depends on the unit of length of the embedding.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def average_distortion(d: Floats, t: Floats) -> tuple[float, float]:
    """Return (mean of |D / (s T) - 1|, s) for the one scale s > 0 that makes the mean smallest.

    0 is an exact drawing of the tree up to its size, 1 what a D of zeros has, and as s may be
    chosen large the figure is never above 1. The average distortion of Sala et al. (2018) with
    the scale fitted, not given. With r = D / T and u = 1 / s the mean is that of r |u - 1 / r|,
    so the best u is the median of 1 / r weighted by r: exact, without a search.

    Args:
        d: (m,) embedding distances.
        t: (m,) tree distances, positive.
    """
    ratio = np.sort(d / t)[::-1]
    weight = np.cumsum(ratio)
    if weight[-1] == 0:
        return 1.0, 0.0
    scale = float(ratio[np.searchsorted(weight, weight[-1] / 2)])
    return float(np.abs(ratio / scale - 1).mean()), scale


def worst_distortion(d: Floats, t: Floats, outside: float = 0.0) -> float:
    """Return the largest ratio D / T over the smallest, from 1 (exact) to infinity.

    The worst-case distortion of Sala et al. (2018): largest expansion times largest contraction.
    It is infinite where D is 0 for a pair of codes, which the tree never has at 0.

    Args:
        d: (m,) embedding distances.
        t: (m,) tree distances, positive.
        outside: share of pairs, from 0 to below .5, left out at either end, so that a few pairs
            do not decide: of the ratios the quantiles `outside` and 1 - `outside` are taken,
            with linear interpolation. At 0 they are the smallest and the largest.
    """
    low, high = np.quantile(d / t, (outside, 1 - outside))
    return float(high / low) if low > 0 else float('inf')
