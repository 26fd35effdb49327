"""Keep the experts of a mixture all in use."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from naics_model.encoder.moe import assignment_counts


def _alone(tensor: Tensor) -> Tensor:
    return tensor


def load_balance(
    probabilities: Tensor, top_k: int, summed: Callable[[Tensor], Tensor] = _alone
) -> Tensor:
    """Return N sum_i f_i P_i over N experts.

    f_i is the share of all assignments that went to expert i, so that the f_i sum to 1 whatever
    `top_k` is; P_i is the mean gate probability of expert i. The loss is 1 at uniform routing and N
    when one expert has all the probability and all assignments (top_k = 1). f_i carries no gradient
    (it is a count); P_i does.

    Both are of the global batch, whatever share of its rows each process has: a mean of the
    processes' own losses would ask each of them for balance, though codes of one kind may well want
    one expert, and would weigh few rows like many.
    Source: Fedus et al., Switch Transformers, JMLR 2022.

    Args:
        probabilities: (M, N) gate probabilities over all experts, rows summing to 1.
        top_k: how many experts each row is assigned to, its most probable ones.
        summed: sums a tensor over all processes, with gradient, see `jobs.collective`; called once.
            Left out, this process has the whole batch.

    Returns:
        scalar.
    """
    # In float32 at least: a bfloat16 can not count beyond 256.
    probabilities = probabilities.to(torch.promote_types(probabilities.dtype, torch.float32))
    counts = assignment_counts(probabilities.detach(), top_k).to(probabilities.dtype)
    # One message: each has the price of its latency. The number of rows follows from the counts.
    counts, totals = summed(torch.stack([counts, probabilities.sum(dim=0)]))
    assignments = counts.sum()
    rows = assignments / top_k
    return probabilities.shape[-1] * (counts / assignments * (totals / rows)).sum()
