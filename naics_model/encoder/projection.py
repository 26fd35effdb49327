"""Projects a unit vector to a tangent vector at the origin of a hyperbolic or flat space.

The exponential map is in geometry; parameters and losses stay on the tangent vector.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from naics_model.geometry import lorentz


class HyperbolicProjection(nn.Module):
    """Linear map of unit vectors to `dimension`, with a soft clip of the radius.

    Args:
        inputs: width of the unit vectors.
        dimension: width d of the tangent vectors.
        max_radius: radii stay below it, in units of 1/sqrt(curvature), plain ones at 0.
        curvature: c >= 0 of the space of curvature -c; 0 is flat.
        start_radius: root mean square radius of the first output, in the same units.
    """

    def __init__(
        self,
        inputs: int,
        dimension: int,
        max_radius: float,
        curvature: float,
        start_radius: float = 2.0,
    ) -> None:
        super().__init__()
        self.max_radius = max_radius
        self.curvature = curvature
        self._start_length = start_radius * float(lorentz.unit_length(curvature))
        self.linear = nn.Linear(inputs, dimension)
        # A unit vector has mean square 1 / inputs: with this deviation its image has the length.
        nn.init.normal_(self.linear.weight, std=self._start_length / dimension**0.5)
        nn.init.zeros_(self.linear.bias)

    @torch.no_grad()
    def start_along(self, x: Tensor) -> None:
        """Start with the principal directions of these inputs, scaled to the start radius.

        A random map to 64 of 384 dimensions loses part of what the backbone knows; the principal
        directions of the texts to be embedded keep most of it. With fewer inputs than dimensions
        the map stays random.

        Args:
            x: (M, inputs) unit vectors.
        """
        dimension = len(self.linear.weight)
        if min(x.shape) < dimension:
            return
        x = x.float()
        mean = x.mean(dim=0)
        _, _, directions = torch.linalg.svd(x - mean, full_matrices=False)
        chosen = directions[:dimension]
        squares = ((x - mean) @ chosen.T).square().sum(dim=1)
        self.linear.weight.copy_(chosen * (self._start_length / squares.mean().sqrt()))
        self.linear.bias.copy_(-(self.linear.weight @ mean))

    def forward(self, x: Tensor, offset: Tensor | None = None) -> Tensor:
        """Project (M, inputs) to float32 tangent vectors (M, d).

        Args:
            x: (M, inputs) unit vectors.
            offset: (M, d), added before the radius is clipped; none when None.
        """
        # Outside autocast: bfloat16 keeps three digits, and hyperbolic distance multiplies an error
        # by sinh(radius).
        with torch.autocast(device_type=x.device.type, enabled=False):
            v = self.linear(x.float())
            if offset is not None:
                v = v + offset
            return lorentz.soft_clip(v, self.max_radius, self.curvature)
