"""Fusion of the channel vectors into one: their mean, a mixture of experts, or one linear map.

The learned ones start as the mean of the channels, or close to it: a fusion that started at random
would first throw away what the backbone knows (hit@1 of the untrained model, asked with train
activities of the sample edition, three seeds: .46 to .52 from the mean, .05 to .07 without it).

Only the map, its routing, and figures of how it routes; keeping the experts in balance is a loss.
Source: Shazeer et al., Outrageously Large Neural Networks, ICLR 2017 (top-k gating).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Fused(NamedTuple):
    """Fused vectors (M, width); gate probabilities (M, E) over all experts, None without gate."""

    vectors: Tensor
    gate_probabilities: Tensor | None


# How much of an expert's usual output it gives at the start: little, but enough for the gate to
# get a gradient from what the experts say.
_FIRST_WORD = 0.1


class MeanFusion(nn.Module):
    """The mean of the channels; of one channel, that channel. Nothing is learned."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Fused:
        """Fuse (M, channels * width) to (M, width)."""
        return Fused(x.unflatten(-1, (self.channels, -1)).mean(dim=-2), None)


class MixtureOfExperts(nn.Module):
    """The mean of the channels, corrected by two-layer experts over all of them; a code uses its
    best `top_k`.

    All experts are computed and the unchosen ones weighted with 0: four small maps are below 1 % of
    the backbone's work, and no code is dropped or reordered.

    Args:
        channels: number of channel vectors, end to end in the input.
        width: of each channel, of the result, and of each expert's hidden layer.
        experts, top_k: how many experts there are, and how many a code uses.
    """

    def __init__(self, channels: int, width: int, experts: int, top_k: int) -> None:
        super().__init__()
        self.channels = channels
        self.top_k = top_k
        inputs = channels * width
        self.gate = nn.Linear(inputs, experts)
        # Small, so that routing starts near uniform and no expert is starved before it has learned
        # anything.
        nn.init.normal_(self.gate.weight, std=0.02 / inputs**0.5)
        nn.init.zeros_(self.gate.bias)
        self.experts = nn.ModuleList(_expert(inputs, width) for _ in range(experts))

    def forward(self, x: Tensor) -> Fused:
        """Fuse (M, channels * width) to (M, width)."""
        # Outside autocast: in bfloat16 two experts tie too often, and a tie flips the routing.
        with torch.autocast(device_type=x.device.type, enabled=False):
            logits = self.gate(x.float())
        best, chosen = logits.topk(self.top_k, dim=-1)
        weights = torch.zeros_like(logits).scatter(-1, chosen, best.softmax(dim=-1))
        each = torch.stack([expert(x) for expert in self.experts], dim=1)
        mean = x.unflatten(-1, (self.channels, -1)).mean(dim=-2)
        return Fused(mean + (weights.unsqueeze(-1) * each).sum(dim=1), logits.softmax(dim=-1))


def _expert(inputs: int, width: int) -> nn.Sequential:
    last = nn.Linear(width, width)
    with torch.no_grad():
        last.weight.mul_(_FIRST_WORD)
        last.bias.zero_()
    return nn.Sequential(nn.Linear(inputs, width), nn.GELU(), last)


class LinearFusion(nn.Module):
    """One linear map of the concatenated channels, without a gate; at first, their mean."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels * width, width)
        with torch.no_grad():
            self.linear.weight.copy_(torch.eye(width).repeat(1, channels) / channels)
            self.linear.bias.zero_()

    def forward(self, x: Tensor) -> Fused:
        """Fuse (M, channels * width) to (M, width)."""
        return Fused(self.linear(x), None)


def assignment_counts(probabilities: Tensor, top_k: int) -> Tensor:
    """Return how many assignments each expert received: (M, E) -> int64 (E,), sum M * top_k."""
    chosen = probabilities.topk(top_k, dim=-1).indices
    return torch.bincount(chosen.flatten(), minlength=probabilities.shape[-1])


def gate_entropy(probabilities: Tensor) -> Tensor:
    """Return the entropy of the mean gate distribution (M, E) -> scalar, over its maximum.

    1 when the experts are used alike, 0 when one of them gets everything: collapsed.
    """
    mean = probabilities.detach().float().mean(0)
    return torch.special.entr(mean).sum() / math.log(len(mean))


def router_entropy(probabilities: Tensor) -> Tensor:
    """Return the mean entropy of the gate distributions (M, E) -> scalar, over its maximum.

    1 where the gate cannot tell one expert from another for any code, 0 where it is sure of each.
    """
    each = torch.special.entr(probabilities.detach().float()).sum(dim=1)
    return each.mean() / math.log(probabilities.shape[1])


def least_use(probabilities: Tensor, top_k: int) -> Tensor:
    """Return the assignments of the least used expert over those of an even use: (M, E) -> scalar.

    1 at even use. A mixture has collapsed where it stays below 0.1: an expert that is hardly
    chosen hardly learns, and is chosen less.
    """
    counts = assignment_counts(probabilities.detach(), top_k).float()
    return counts.min() / counts.mean()
