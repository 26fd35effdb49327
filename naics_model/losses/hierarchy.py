"""Make distances between embeddings proportional to distances in the tree."""

from __future__ import annotations

import torch
from torch import Tensor


def hierarchy_fit(distances: Tensor, tree: Tensor, log_scale: Tensor) -> Tensor:
    """Return the mean squared relative error of scaled distances over pairs of different codes.

        L = mean_(i,j: T_ij > 0) ( e^log_scale D_ij / T_ij - 1 )^2

    Relative, so that a sibling pair counts as much as a pair of sectors. The scale is learned: what
    is asked for is proportion, not length. Pairs at tree distance 0 (the diagonal, and a code that
    is in the batch twice) are left out.
    Source: the stress of multidimensional scaling with weights 1/T^2 (Sammon, 1969, has 1/T).

    Args:
        distances: (m, m) distances D.
        tree: (m, m) tree distances T, any number type.
        log_scale: scalar, learned.

    Returns:
        scalar; 0 when there is no pair of different codes.
    """
    counted = tree > 0
    reference = torch.where(counted, tree, 1).to(distances.dtype)
    error = (distances * log_scale.exp() / reference - 1).square()
    return error.masked_fill(~counted, 0.0).sum() / counted.sum().clamp_min(1)
