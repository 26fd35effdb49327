"""Hyperbolic triplet loss with a margin that adapts to the anchor's radius."""

from __future__ import annotations

import torch
from torch import Tensor


def adaptive_margin(radius: Tensor, base: float) -> Tensor:
    """Return m(a) = m₀ · sech(r_a) for radii of any shape.

    Space grows exponentially with the radius, so one step of the tree needs a smaller margin far
    out, where the leaves are, than near the origin.
    """
    return base / torch.cosh(radius)


def hyperbolic_triplet(
    anchor_positive: Tensor, anchor_negative: Tensor, anchor_radius: Tensor, margin: float
) -> Tensor:
    """Return the mean hinge of anchor-positive against anchor-negative distances.

        L = mean max(0, d(a, p) + m₀ sech(r_a) - d(a, n))

    The hinge, unlike the bare difference, is bounded below: radii can not grow for ever to please
    it.

    Args:
        anchor_positive: (B,) distances.
        anchor_negative: (B,) distances.
        anchor_radius: (B,) radii of the anchors, in units of 1/sqrt(c).
        margin: m₀, in the units of the distances.

    Returns:
        A scalar, 0 where every negative is farther than its positive by the margin.
    """
    shortfall = anchor_positive + adaptive_margin(anchor_radius, margin) - anchor_negative
    return shortfall.clamp_min(0).mean()
