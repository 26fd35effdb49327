"""The last embedding of each code that a step has encoded: candidates beyond the step's own codes.

A step encodes a few neighbourhoods, and a query told from their codes alone is not yet told from
its namesakes in other sectors. Here stands where those were last seen: a few steps old, without a
gradient, and free. What is asked of them is the module's affair.

Source: Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR
2018 (the memory bank).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from naics_model.jobs.collective import summed_over_ranks


class CodeBank(nn.Module):
    """One tangent vector for each code that was encoded at least once.

    Attributes:
        points: float32 (n, d).
        known: bool (n,), which of them are one.
    """

    points: Tensor
    known: Tensor

    def __init__(self, codes: int, dimension: int) -> None:
        """Args:
        codes: number n of codes of the edition.
        dimension: d of the tangent vectors.
        """
        super().__init__()
        self.register_buffer('points', torch.zeros(codes, dimension))
        self.register_buffer('known', torch.zeros(codes, dtype=torch.bool))

    def others(self, codes: Tensor) -> Tensor:
        """Return all known codes but these (M,): int64 (o,); their vectors are in `points`."""
        chosen = self.known.clone()
        chosen[codes] = False
        return chosen.nonzero().squeeze(1)

    @torch.no_grad()
    def update(self, codes: Tensor, points: Tensor) -> None:
        """Keep where codes (M,) are now: (M, d); the mean of what several processes say of one.

        Every process has to call it, and all then hold the same.
        """
        said = torch.zeros(len(self.points), self.points.shape[1] + 1, device=points.device)
        said[codes] = torch.cat([points.detach().float(), points.new_ones(len(points), 1)], dim=1)
        said = summed_over_ranks(said)
        times = said[:, -1]
        fresh = times > 0
        self.points[fresh] = said[fresh, :-1] / times[fresh].unsqueeze(1)
        self.known |= fresh
