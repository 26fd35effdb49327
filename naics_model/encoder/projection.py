"""From a fused vector to a tangent vector at the origin of a hyperbolic space, or a flat one.

The exponential map itself is in geometry; parameters and losses stay on the tangent vector.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from naics_model.geometry import lorentz

INITIAL_RADIUS = 2.0
"""Where codes start: on the ladder of levels. Near 0 there is no room, at the clip no gradient."""


class HyperbolicProjection(nn.Module):
    """Normalise, map linearly to `dimension`, and clip the radius softly.

    Args:
        inputs: width of the fused vector.
        dimension: width d of the tangent vector.
        max_radius: radii stay below it, in units of 1/sqrt(curvature), plain ones at 0.
        curvature: c >= 0 of the space of curvature -c; 0 is flat.
    """

    def __init__(self, inputs: int, dimension: int, max_radius: float, curvature: float) -> None:
        super().__init__()
        self.max_radius = max_radius
        self.curvature = curvature
        self.norm = nn.LayerNorm(inputs)
        self.linear = nn.Linear(inputs, dimension)
        # A normalised input has length sqrt(inputs), so this weight makes the mean squared radius
        # INITIAL_RADIUS^2.
        length = INITIAL_RADIUS * float(lorentz.unit_length(curvature))
        nn.init.normal_(self.linear.weight, std=length / (inputs * dimension) ** 0.5)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Project (M, inputs) to float32 tangent vectors (M, d)."""
        # Outside autocast: bfloat16 keeps three digits, and hyperbolic distance multiplies an error
        # by sinh(radius).
        with torch.autocast(device_type=x.device.type, enabled=False):
            v = self.linear(self.norm(x.float()))
            return lorentz.soft_clip(v, self.max_radius, self.curvature)
