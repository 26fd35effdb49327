"""Anchoring: keep refined embeddings near the text embeddings they come from."""

from __future__ import annotations

from torch import Tensor

from naics_model.geometry.lorentz import distance


def anchoring(refined: Tensor, text: Tensor, curvature: float = 1.0) -> Tensor:
    """Return the mean squared distance between each code before and after refinement.

        L = mean_i d(z_i, t_i)²

    Text queries are embedded by the encoder alone; a refined code that wanders off is no longer
    found by them.

    Args:
        refined: (n, d) tangent vectors at the origin.
        text: (n, d), the same codes as the encoder sees them.
        curvature: c >= 0 of the space of curvature -c that both live in.

    Returns:
        A scalar, 0 where nothing moved.
    """
    return distance(refined, text, curvature).square().mean()
