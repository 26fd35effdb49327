"""Where codes stand from the origin, and whether the points have collapsed.

In a hyperbolic space the general belongs near the origin and the special far out; and an
embedding that has shrunk to a point or a line can still have a falling loss. Arrays in, figures
by name out. Orders and distances between codes are in `structure`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from naics_model.evaluation.correlation import spearman
from naics_model.taxonomy.tree import LEVELS, Taxonomy

Floats = NDArray[np.floating]

# Beyond one of these an embedding tells codes apart no more. A step of the tree is about 1 long in
# a good embedding of curvature -1. Many codes may share a place rightly: in 2022 686 codes repeat
# their parent's texts word for word, so that up to 65 % of codes coincide with another one.
MINIMUM_MEAN_DISTANCE = 0.05
MINIMUM_DIMENSIONS = 1.5
MAXIMUM_COINCIDENT = 0.9


def radius_metrics(radius: Floats, taxonomy: Taxonomy) -> dict[str, float]:
    """Return the figures about distances from the origin.

    * `parent_nearer_origin`: share of edges whose parent is strictly nearer the origin.
    * `spearman_with_level`: rank correlation of radius and number of digits.
    * `mean_level_2` ... `mean_level_6`: mean radius of the codes of a level.

    Args:
        radius: (n,) geodesic distances from the origin.
        taxonomy: the n codes.
    """
    radius = radius.astype(np.float64)
    children = np.flatnonzero(taxonomy.parents >= 0)
    figures = {
        'parent_nearer_origin': float(
            (radius[taxonomy.parents[children]] < radius[children]).mean()
        ),
        'spearman_with_level': spearman(radius, taxonomy.levels.astype(np.float64)),
    }
    for level in LEVELS:
        at_level = taxonomy.levels == level
        if at_level.any():
            figures[f'mean_level_{level}'] = float(radius[at_level].mean())
    return figures


def collapse_metrics(distance: Floats, tangent: Floats) -> dict[str, float]:
    """Return the figures that show a collapse, and `collapsed`, 1 or 0.

    * `mean_distance`: mean of D over all pairs.
    * `distance_spread`: standard deviation of D over its mean; 0 when all codes are equally far.
    * `coincident_share`: share of codes that have another code within a ten-thousandth of the
      mean distance.
    * `effective_dimensions`: exp of the entropy of the shares of variance along the principal
      axes of the tangent vectors (Roy and Vetterli 2007); 1 is a line.

    Args:
        distance: (n, n) embedding distances, n at least 2.
        tangent: (n, d) tangent vectors at the origin.
    """
    off_diagonal = distance[~np.eye(len(distance), dtype=bool)].reshape(len(distance), -1)
    mean = float(off_diagonal.mean())
    spread = float(off_diagonal.std()) / mean if mean > 0 else 0.0
    coincident = float((off_diagonal.min(axis=1) <= 1e-4 * mean).mean())

    centred = tangent.astype(np.float64) - tangent.mean(axis=0, dtype=np.float64)
    variance = np.linalg.svd(centred, compute_uv=False) ** 2
    if variance.sum() > 0:
        share = variance[variance > 0] / variance.sum()
        dimensions = float(np.exp(-(share * np.log(share)).sum()))
    else:
        dimensions = 0.0
    collapsed = (
        mean < MINIMUM_MEAN_DISTANCE
        or coincident > MAXIMUM_COINCIDENT
        or dimensions < MINIMUM_DIMENSIONS
    )
    return {
        'mean_distance': mean,
        'distance_spread': spread,
        'coincident_share': coincident,
        'effective_dimensions': dimensions,
        'collapsed': float(collapsed),
    }
