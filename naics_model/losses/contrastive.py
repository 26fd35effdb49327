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


def dcl(
    anchor_positive: Tensor,
    anchor_negative: Tensor,
    temperature: float | Tensor,
    mask: Tensor | None = None,
) -> Tensor:
    """Return the decoupled contrastive loss on negated distances.

        L = mean_b [ p_b/t + log sum_k e^(-n_bk/t) ]

    InfoNCE without the positive in the denominator, whose gradient fades as soon as the positive is
    nearest; here it does not, which helps small batches. The price: L is not bounded by 0. What
    bounds it is the soft clip. At radii below R no distance exceeds D = 2R/sqrt(c) (2R in flat
    space), so that

        log K - D/t  <=  L  <=  log K + D/t

    with K the negatives of a row: from -21 to 27 for R = 6, c = 1, t = 0.5 and 16 negatives.
    Without a clip L falls for ever as radii grow. And wherever the positive is nearest L falls with
    t, as 1/t: a temperature that is learned from this loss alone runs to its lower bound.

    A row without negatives has nothing to be told from, and is left out of the mean.
    Source: Yeh et al., Decoupled Contrastive Learning, ECCV 2022.

    Args:
        anchor_positive: (B,) distances p of anchors to their positives.
        anchor_negative: (B, K) distances n of anchors to their negatives.
        temperature: t > 0, as in `info_nce`.
        mask: bool (B, K), True for negatives that count; all when None.

    Returns:
        scalar; 0 when no row has a negative.
    """
    negative = _negative_logits(anchor_negative, temperature, mask)
    counted = (negative != -torch.inf).any(dim=1)
    # The gradient of a logsumexp over nothing but -inf is NaN. The mask would stop it, but torch's
    # anomaly detection stops at it.
    negative = negative.masked_fill(~counted.unsqueeze(1), 0.0)
    cost = anchor_positive / temperature + torch.logsumexp(negative, dim=1)
    return cost.masked_fill(~counted, 0.0).sum() / counted.sum().clamp_min(1)


def _negative_logits(
    anchor_negative: Tensor, temperature: float | Tensor, mask: Tensor | None
) -> Tensor:
    """Return -n/t (B, K), -inf for negatives that do not count."""
    logits = -anchor_negative / temperature
    return logits if mask is None else logits.masked_fill(~mask, -torch.inf)
