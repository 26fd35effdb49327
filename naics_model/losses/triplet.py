"""Hyperbolic triplet loss with a margin that adapts to the anchor's radius."""

from __future__ import annotations

import torch
from torch import Tensor


def adaptive_margin(radius: Tensor, base: float, curvature: float = 1.0) -> Tensor:
    """Return m(a) = m₀ · sech(r_a) for radii of any shape, m₀ everywhere in flat space.

    Hyperbolic space grows exponentially with the radius, so one step of the tree needs a smaller
    margin far out, where the leaves are, than near the origin. A flat space is alike everywhere:
    r_a = sqrt(c)|v| tends to 0 with c.
    """
    return base / torch.cosh(radius) if curvature > 0 else torch.full_like(radius, base)


def hyperbolic_triplet(
    anchor_positive: Tensor,
    anchor_negative: Tensor,
    anchor_radius: Tensor,
    margin: float,
    curvature: float = 1.0,
) -> Tensor:
    """Return the mean hinge of anchor-positive against anchor-negative distances.

        L = mean max(0, d(a, p) + m₀ sech(r_a) - d(a, n))

    The hinge, unlike the bare difference, is bounded below: radii can not grow for ever to please
    it.

    Args:
        anchor_positive: (B,) distances.
        anchor_negative: (B,) distances.
        anchor_radius: (B,) radii of the anchors, in units of 1/sqrt(c); of no matter at c = 0.
        margin: m₀, in the units of the distances.
        curvature: c >= 0 of the space that the distances are of.

    Returns:
        A scalar, 0 where every negative is farther than its positive by the margin.
    """
    margins = adaptive_margin(anchor_radius, margin, curvature)
    return (anchor_positive + margins - anchor_negative).clamp_min(0).mean()
