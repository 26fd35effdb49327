"""Order the codes around each code by kinship, the nearest ranks first."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus
from torch.utils.checkpoint import checkpoint

# Of all pairs of candidates that are in memory at once.
_BYTES = 64 * 2**20
# Numbers held for each pair: differences of scores, gains and discounts, their product, the cost,
# and gradients of some.
_PER_PAIR = 8


def lambda_rank(
    distances: Tensor, gains: Tensor, k: int = 10, temperature: float | Tensor = 1.0
) -> Tensor:
    """Return LambdaRank at k over all codes of a step: each code ranks the others by distance.

        L = mean_i sum_(j,l: G_ij > G_il) |dNDCG_i(j, l)| log( 1 + e^(-(s_j - s_l)) ),  s = -D_i/t
        |dNDCG_i(j, l)| = |G_ij - G_il| |1/log2(1 + r_j) - 1/log2(1 + r_l)| / ideal DCG_i

    dNDCG is what NDCG@k would change by if j and l, now at ranks r from 1, changed places; the
    discount is 0 beyond rank k. It has no gradient: ranks jump. So a pair counts by what it costs
    at the top of the list, not by how wrong it is. Of candidates at one distance the one that
    stands first in the batch ranks first. i runs over the codes whose candidates differ in gain.
    L >= 0; a sum over pairs, it grows with m: distances drawn evenly from 0 to 6 cost 0.6 m.

    Memory: a pair beyond rank k changes nothing, so that of the (m, m, m) pairs only (m, k, m) are
    looked at. They are taken in slices of anchors, 64 MB at once, and computed again for the
    gradient rather than kept.
    Source: Burges, From RankNet to LambdaRank to LambdaMART: An Overview, 2010; Wang et al., The
    LambdaLoss Framework for Ranking Metric Optimization, CIKM 2018.

    Args:
        distances: (m, m) distances D, row i of anchor i; the diagonal is not read.
        gains: (m, m) gains G >= 0, such as 2^common_depth - 1; the diagonal is not read.
        k: ranks that count.
        temperature: t > 0, the distance over which a pair goes from wrong to right.

    Returns:
        scalar; 0 when no code has candidates of different gain.
    """
    itself = torch.eye(len(distances), dtype=torch.bool, device=distances.device)
    # Self is farthest, and falls off the end. Stable: ties go by position.
    order = distances.masked_fill(itself, torch.inf).argsort(dim=1, stable=True)[:, :-1]
    scores = (-distances / temperature).gather(1, order)
    gains = gains.to(scores.dtype).gather(1, order)
    ranks = torch.arange(1, scores.shape[1] + 1, device=scores.device)
    discounts = torch.where(ranks <= k, 1 / torch.log2(1.0 + ranks), 0.0).to(scores.dtype)
    ideal = gains.sort(dim=1, descending=True).values @ discounts
    counted = (gains != gains[:, :1]).any(dim=1)
    # Where all gains are 0, so is the ideal.
    gains = gains / torch.where(counted, ideal, 1.0).unsqueeze(1)

    pairs = max(min(k, len(ranks)) * len(ranks), 1)
    anchors = max(_BYTES // (_PER_PAIR * scores.element_size() * pairs), 1)
    total = scores.new_zeros(())
    for some_scores, some_gains in zip(scores.split(anchors), gains.split(anchors), strict=True):
        # Without a checkpoint the slices would all be kept for the gradient.
        total = total + checkpoint(
            _cost,
            some_scores,
            some_gains,
            discounts,
            k,
            use_reentrant=False,
            preserve_rng_state=False,
        )
    return total / counted.sum().clamp_min(1)


def _cost(scores: Tensor, gains: Tensor, discounts: Tensor, k: int) -> Tensor:
    """Return the summed cost of all pairs of which one is in the first k ranks.

    Args:
        scores: (a, n) of candidates in the order of their ranks.
        gains: (a, n), over the ideal DCG of their anchor.
        discounts: (n,) of the ranks.
    """
    # The upper of the two by its rank; the triangle takes each pair once.
    less = gains[:, None] - gains[:, :k, None]
    change = (less * (discounts[:k, None] - discounts)).triu_(1).abs_()
    behind = less.sign_() * (scores[:, :k, None] - scores[:, None])
    return (change * softplus(behind)).sum()
