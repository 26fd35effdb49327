"""One set of embeddings as figures and pictures need it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Points:
    """One set of embeddings as the pictures need it: a name, a colour, (n, d) tangent vectors at
    the origin, (n,) radii, and the (n, n) distances."""

    name: str
    colour: str
    tangent: Floats
    radius: Floats
    distance: Floats
