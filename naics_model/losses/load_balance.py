"""Keep the experts of a mixture all in use."""

from __future__ import annotations

from torch import Tensor

from naics_model.encoder.moe import assignment_shares


def load_balance(probabilities: Tensor, top_k: int) -> Tensor:
    """Return N sum_i f_i P_i over N experts.

    f_i is the share of all assignments that went to expert i, so that the f_i sum to 1 whatever
    `top_k` is; P_i is the mean gate probability of expert i. The loss is 1 at uniform routing and N
    when one expert has all the probability and all assignments (top_k = 1). f_i carries no gradient
    (it is a count); P_i does. Over several processes the mean of their losses is not the loss of
    the global batch, which needs the gate probabilities of all.
    Source: Fedus et al., Switch Transformers, JMLR 2022.

    Args:
        probabilities: (M, N) gate probabilities over all experts, rows summing to 1.
        top_k: how many experts each row is assigned to, its most probable ones.

    Returns:
        scalar.
    """
    share = assignment_shares(probabilities.detach(), top_k)
    return probabilities.shape[-1] * (share * probabilities.mean(dim=0)).sum()
