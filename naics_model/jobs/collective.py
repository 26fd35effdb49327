"""Sums and rows of all processes of a job, which training can differentiate through."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def summed_over_ranks(tensor: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes, the same in each; itself when there is one.

    A loss made of such sums is the loss of the global batch, computed W times over. Its gradient
    comes out exact where DDP averages: the backward pass sums the gradients of all W equal losses,
    each process carries that through its own share of the batch, and the average divides by W.
    A loss that is not summed, beside it, is averaged as ever.

    Every process has to call it, equally often and in the same order, with equal shapes; and where
    one asks for the gradient, all have to.

    Args:
        tensor: any shape, on the device that the processes communicate on.

    Returns:
        same shape; integers without a gradient.
    """
    return _Sum.apply(tensor) if _several() else tensor


def gathered_over_ranks(rows: Tensor) -> list[Tensor]:
    """Return the rows of every process, by rank; only these where there is one.

    The gradient of a process's rows is the sum of what all processes ask of them. So a loss that
    each process takes over its own items, against the rows of all, comes out exact where DDP
    averages.

    Every process has to call it, as `summed_over_ranks`; the number of rows may differ.

    Args:
        rows: (M, ...), on the device that the processes communicate on; any M.
    """
    if not _several():
        return [rows]
    counts = torch.zeros(dist.get_world_size(), dtype=torch.int64, device=rows.device)
    counts[dist.get_rank()] = len(rows)
    dist.all_reduce(counts)
    sizes = counts.tolist()
    # Equal shapes are what all can gather.
    padded = torch.cat([rows, rows.new_zeros(max(sizes) - len(rows), *rows.shape[1:])])
    everyone: Tensor = _Gather.apply(padded)
    return [everyone[rank, :size] for rank, size in enumerate(sizes)]


def of_rank_zero(tensor: Tensor) -> Tensor:
    """Return the tensor of the first process, in all; of one shape, and without a gradient."""
    if _several():
        tensor = tensor.clone(memory_format=torch.contiguous_format)
        dist.broadcast(tensor, src=0)
    return tensor


def rank() -> int:
    """Return the number of this process, 0 where it is alone."""
    return dist.get_rank() if _several() else 0


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


# torch has the same twice: in `distributed.nn.functional`, which warns that it is deprecated, and
# in `distributed._functional_collectives`, which is private.
class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return _reduced(tensor)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return _reduced(grads[0])


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        # End to end, as gloo wants them.
        everyone = rows.new_empty(dist.get_world_size() * len(rows), *rows.shape[1:])
        dist.all_gather_single(everyone, rows.contiguous())
        return everyone.unflatten(0, (dist.get_world_size(), len(rows)))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return _reduced(grads[0])[dist.get_rank()]


def _reduced(tensor: Tensor) -> Tensor:
    # A copy: the reduction is in place, and wants its tensor contiguous.
    total = tensor.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total
