"""Pull an anchor to its positive, push it from its negatives."""

from __future__ import annotations

import torch
from torch import Tensor


def info_nce(
    anchor_positive: Tensor,
    anchor_negative: Tensor,
    temperature: float | Tensor,
    mask: Tensor | None = None,
) -> Tensor:
    """Return InfoNCE on negated distances.

        L = mean_b [ log( e^(-p_b/t) + sum_k e^(-n_bk/t) ) + p_b/t ]

    The positive stands in the denominator too, so that L >= 0; it is log(1 + K) when all distances
    are equal. A false negative is left out by the mask; a row without negatives costs 0.
    Source: van den Oord et al., Representation Learning with Contrastive Predictive Coding, 2018.

    Args:
        anchor_positive: (B,) distances p of anchors to their positives.
        anchor_negative: (B, K) distances n of anchors to their negatives.
        temperature: t > 0. Near 0.5 fits distances of 1 to 10; 0.07 gives logits of -140.
        mask: bool (B, K), True for negatives that count; all when None.

    Returns:
        scalar.
    """
    positive = -anchor_positive / temperature
    negative = _negative_logits(anchor_negative, temperature, mask)
    logits = torch.cat([positive.unsqueeze(1), negative], dim=1)
    return (torch.logsumexp(logits, dim=1) - positive).mean()


def _negative_logits(
    anchor_negative: Tensor, temperature: float | Tensor, mask: Tensor | None
) -> Tensor:
    """Return -n/t (B, K), -inf for negatives that do not count."""
    logits = -anchor_negative / temperature
    return logits if mask is None else logits.masked_fill(~mask, -torch.inf)
