"""Cross-entropy of a phrase over all leaf codes, at every level of the tree that its label has."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def tree_cross_entropy(logits: Tensor, targets: Tensor, level_weights: Sequence[float]) -> Tensor:
    """Return the weighted cross-entropy of each phrase at each level of its label.

        P(node) = sum over the leaves below it of softmax(logits)
        L_b     = sum_l w_l (-log P(node_bl)) / sum_l w_l

    The sums run over the levels that a label has: a phrase labelled with a four-digit code has a
    sector, a subsector and a group, and no more. With weight on the deepest level alone, and a
    six-digit label, this is the ordinary cross-entropy.

    Source of the weights: Zhang et al., Use All The Labels: A Hierarchical Multi-Label Contrastive
    Learning Framework, CVPR 2022 (HiMulCon).

    Args:
        logits: (B, L) of the L leaves; -inf leaves one out.
        targets: bool (B, levels, L), the leaves below the label's node at each level, none where
            the label has no such level. At least one of a label's own leaves must have a finite
            logit.
        level_weights: w >= 0 of each level.

    Returns:
        (B,).
    """
    log_p = torch.log_softmax(logits.float(), dim=1).unsqueeze(1)
    # Not -inf: the gradient of a logsumexp over nothing is NaN.
    lowest = torch.finfo(log_p.dtype).min
    of_node = torch.logsumexp(log_p.masked_fill(~targets, lowest), dim=2)
    weights = of_node.new_tensor(list(level_weights)) * targets.any(dim=2)
    return -(weights * of_node.masked_fill(weights == 0, 0.0)).sum(dim=1) / weights.sum(
        dim=1
    ).clamp_min(1e-12)
