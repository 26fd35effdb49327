"""Every code that shares an ancestor is a positive, at each level that it is shared at."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

DEPTHS = 5
"""Levels of the tree below the virtual root: sectors have depth 1, six-digit codes 5."""

LEVEL_WEIGHTS = tuple(2 ** (1 / (DEPTHS + 1 - depth)) for depth in range(1, DEPTHS + 1))
"""2^(1/h) with h the height of a level, 1 at the deepest: 1.15, 1.19, 1.26, 1.41, 2."""


def common_depth(tree: Tensor, levels: Tensor) -> Tensor:
    """Return the depth of the lowest common ancestor of each pair, from distances in the tree.

        C_ij = (depth_i + depth_j - T_ij) / 2,  depth = level - 1

    It is what `taxonomy.tree.common_levels` reads off the ancestor table, for a batch that carries
    only its distances.

    Args:
        tree: (m, m) steps T through the virtual root, any number type.
        levels: (m,) integers, 2 to 6.

    Returns:
        int64 (m, m): 0 for codes of two sectors, the code's own depth on the diagonal.
    """
    depth = levels.long() - 1
    return (depth.unsqueeze(1) + depth.unsqueeze(0) - tree.long()) // 2


def multi_level(
    distances: Tensor,
    common: Tensor,
    temperature: float | Tensor,
    level_weights: Sequence[float] | Tensor = LEVEL_WEIGHTS,
) -> Tensor:
    """Return a supervised contrast at every level of the tree, over all codes of a step.

        L   = sum_l w_l L_l / sum_l w_l,  over the levels l at which any two codes meet
        L_l = mean_i mean_(p: C_ip >= l) -log( e^(-D_ip/t) / sum_(j != i) e^(-D_ij/t) )

    where i runs over the codes that have a positive at level l. A sibling is a positive at every
    level down to the parent, a code of the same sector only at the first, so that nearer kin are
    pulled more often, and a deep level counts more. At depth 5 meet only the rows of one and the
    same six-digit code. L >= 0, since the positive is in the denominator; n positives at one
    distance, with all else far away, cost log n.

    Differs from the paper: there is no hierarchy constraint (HiConE, which lets no coarse pair cost
    less than the worst finer one, and so hands the gradient of whole levels to one pair); all codes
    stay in at the coarse levels, where the authors' code keeps one for each label; the levels that
    occur are averaged, so that a batch of few kin weighs as much as one of many.
    Source: Zhang et al., Use All The Labels: A Hierarchical Multi-Label Contrastive Learning
    Framework, CVPR 2022 (HiMulCon); the weights are those of the authors' code.

    Args:
        distances: (m, m) distances D; the diagonal is not read.
        common: (m, m) integers C, depth of the lowest common ancestor, see `common_depth`; 0 where
            only the virtual root is shared. The diagonal is not read.
        temperature: t > 0, as in `info_nce`.
        level_weights: w, one number >= 0 for each depth from 1.

    Returns:
        scalar; 0 when no two codes have a common ancestor.
    """
    itself = torch.eye(len(distances), dtype=torch.bool, device=distances.device)
    similarity = -distances / temperature
    # Not -inf: a code alone in its batch would have a sum over nothing, whose gradient is NaN: it
    # goes no further than this mask, but torch's anomaly detection stops at it.
    others = similarity.masked_fill(itself, torch.finfo(similarity.dtype).min)
    cost = others.logsumexp(dim=1, keepdim=True) - similarity
    total = weight_in_use = similarity.new_zeros(())
    for depth, weight in enumerate(level_weights, start=1):
        positive = (common >= depth) & ~itself
        positives = positive.sum(dim=1)
        mean = cost.masked_fill(~positive, 0.0).sum(dim=1) / positives.clamp_min(1)
        anchors = (positives > 0).sum()
        total = total + weight * mean.sum() / anchors.clamp_min(1)
        weight_in_use = weight_in_use + weight * (anchors > 0)
    return total / torch.where(weight_in_use > 0, weight_in_use, 1.0)
