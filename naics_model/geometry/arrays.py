"""Distances between arrays of tangent vectors, in chunks of bounded memory."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from naics_model.geometry.lorentz import pairwise_distance

# Rows whose distances are computed at once: 150 MB for 2,125 columns in float64.
_CHUNK = 4096


def distances_to(
    queries: NDArray[np.float32], points: NDArray[np.float32], curvature: float
) -> NDArray[np.float32]:
    """Return the distances (q, m) of tangent vectors (q, d) to (m, d), computed in float64."""
    to = torch.as_tensor(points, dtype=torch.float64)
    parts = [
        pairwise_distance(torch.as_tensor(part, dtype=torch.float64), to, curvature).float().numpy()
        for part in np.array_split(queries, -(-len(queries) // _CHUNK) or 1)
    ]
    return np.concatenate(parts)
