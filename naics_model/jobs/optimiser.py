"""What the jobs agree on about AdamW: which parameters decay, how the learning rate moves."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from torch import nn


def parameter_groups(
    named: Iterable[tuple[str, nn.Parameter]], weight_decay: float
) -> list[dict[str, Any]]:
    """Return AdamW's groups: matrices decay; biases, norms and scalars (temperature, scale,
    curvature) do not.
    """
    trainable = [parameter for _, parameter in named if parameter.requires_grad]
    return [
        {'params': [p for p in trainable if p.ndim > 1], 'weight_decay': weight_decay},
        {'params': [p for p in trainable if p.ndim <= 1], 'weight_decay': 0.0},
    ]


def linear_between(step: int, *, warmup: int, total: int, start: float, end: float) -> float:
    """Return the share of the peak learning rate at a step: a line from `start` to `end` over the
    fit, which the first `warmup` steps climb to.

    Never 0 at the first step, so that no step is without effect.
    """
    share = start + (end - start) * min(step / max(total, 1), 1.0)
    return share * min((step + 1) / (warmup + 1), 1.0)


def warmup_cosine(step: int, *, warmup: int, total: int) -> float:
    """Return the share of the peak learning rate at a step: linear up over `warmup` steps, a half
    cosine down to 0.

    Never 0 at the first step, so that no step is without effect.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, total - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
