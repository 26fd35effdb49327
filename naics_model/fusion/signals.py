"""Scores of all codes for a phrase, one score per signal of the model.

Arrays in, arrays out. Scores are standardised for each phrase, so that one weight per signal fits
all phrases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from naics_model.geometry.arrays import distances_to

Floats = NDArray[np.floating]

SIGNALS = ('lorentz', 'flat', 'nearest', 'nearest_three', 'phrases')
"""Distance to the code's hyperbolic point; cosine to its flat point; cosine to the nearest known
phrase of the code, and mean cosine to its three nearest; logarithm of 1 + its number of known
phrases, because the highest of many cosines is high by chance."""

_CHUNK = 512
_NEAREST = 3


class Places(NamedTuple):
    """Texts or codes in both readings: unit float32 (n, width), tangent float32 (n, d)."""

    unit: NDArray[np.float32]
    tangent: NDArray[np.float32]


@dataclass(frozen=True)
class Scorer:
    """What phrases are scored against.

    Attributes:
        codes: the c candidates.
        curvature: of the hyperbolic reading.
        known: float32 (p, width), unit vectors of known phrases.
        owners: int64 (p,), the candidate of each.
    """

    codes: Places
    curvature: float
    known: NDArray[np.float32]
    owners: NDArray[np.int64]

    def scores(self, phrases: Places) -> NDArray[np.float32]:
        """Return the standardised scores float32 (q, c, s) of q phrases, by `SIGNALS`.

        A code without a known phrase has the lowest score of its row in the nearest-phrase
        signals.
        """
        nearest, three = self._nearest(phrases.unit)
        lorentz = -distances_to(phrases.tangent, self.codes.tangent, self.curvature)
        counts = np.log1p(np.bincount(self.owners, minlength=len(self.codes.unit)))
        flat = phrases.unit @ self.codes.unit.T
        parts = (lorentz, flat, nearest, three, np.broadcast_to(counts, flat.shape))
        return np.stack([_standardised(part) for part in parts], axis=-1)

    def _nearest(self, units: NDArray[np.float32]) -> tuple[Floats, Floats]:
        """Return the highest cosine to a known phrase of each code, and the mean of the highest
        three: (q, c) each."""
        count = len(self.codes.unit)
        order = np.argsort(self.owners, kind='stable')
        owners, known = self.owners[order], self.known[order]
        starts = np.flatnonzero(np.diff(owners, prepend=-1))
        sizes = np.diff(np.append(starts, len(owners)))
        # A code's phrases end to end, of which the highest are taken one after the other.
        block = np.repeat(np.arange(len(starts)), sizes)
        first = np.empty((len(units), count), np.float32)
        mean = np.empty_like(first)
        for start in range(0, len(units), _CHUNK):
            rows = slice(start, start + _CHUNK)
            cosine = units[rows] @ known.T
            lowest = cosine.min(axis=1, keepdims=True)
            best = np.maximum.reduceat(cosine, starts, axis=1)
            total, taken = np.zeros_like(best), np.zeros(best.shape, np.int64)
            for _ in range(_NEAREST):
                current = np.maximum.reduceat(cosine, starts, axis=1)
                highest = cosine >= current[:, block]
                # Equal ones are taken together, but no more than are wanted.
                equal = np.add.reduceat(highest, starts, axis=1, dtype=np.int64)
                there = np.isfinite(current)
                more = np.where(there, np.minimum(equal, _NEAREST - taken), 0)
                total += np.where(there, current, 0) * more
                taken += more
                cosine = np.where(highest, -np.inf, cosine)
            for out, values in ((first, best), (mean, total / taken)):
                out[rows] = lowest
                out[rows, owners[starts]] = values
        return first, mean


def _standardised(scores: Floats) -> NDArray[np.float32]:
    """Return scores (q, c) with mean 0 and deviation 1 in each row."""
    centred = scores - scores.mean(axis=1, keepdims=True)
    return (centred / (centred.std(axis=1, keepdims=True) + 1e-6)).astype(np.float32)
