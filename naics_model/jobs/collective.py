"""Sums over all processes of a job that training can differentiate through."""

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
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return tensor
    return _Sum.apply(tensor)


# torch has the same twice: in `distributed.nn.functional`, which warns that it is deprecated, and
# in `distributed._functional_collectives`, which is private.
class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return _reduced(tensor)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return _reduced(grads[0])


def _reduced(tensor: Tensor) -> Tensor:
    # A copy: the reduction is in place, and wants its tensor contiguous.
    total = tensor.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total
