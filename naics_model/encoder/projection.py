"""From a fused vector to a tangent vector at the origin of a hyperbolic space, or a flat one.

The exponential map itself is in geometry; parameters and losses stay on the tangent vector.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from naics_model.geometry import lorentz

INITIAL_RADIUS = 2.0
"""Where codes start: on the ladder of levels. Near 0 there is no room, at the clip no gradient."""


# Mean square of GELU(x) for normal x, from GELU(x) = x P(x) by integrating by parts.
_GELU_POWER = 1 / 3 + 1 / (2 * math.sqrt(3) * math.pi)


class HyperbolicProjection(nn.Module):
    """Normalise, map to `dimension`, and clip the radius softly.

    Args:
        inputs: width of the fused vector.
        dimension: width d of the tangent vector.
        max_radius: radii stay below it, in units of 1/sqrt(curvature), plain ones at 0.
        curvature: c >= 0 of the space of curvature -c; 0 is flat.
        head: `linear` for one linear map, `mlp` for a hidden layer of `inputs` GELUs before it.
    """

    def __init__(
        self,
        inputs: int,
        dimension: int,
        max_radius: float,
        curvature: float,
        head: Literal['linear', 'mlp'] = 'linear',
    ) -> None:
        super().__init__()
        self.max_radius = max_radius
        self.curvature = curvature
        self.norm = nn.LayerNorm(inputs)
        self.hidden = nn.Linear(inputs, inputs) if head == 'mlp' else None
        self.linear = nn.Linear(inputs, dimension)
        # The mean square of what the last layer reads: 1 of a normalised input.
        power = 1.0
        if self.hidden is not None:
            # A normalised input has length sqrt(inputs), so that each GELU gets mean square 1.
            nn.init.normal_(self.hidden.weight, std=inputs**-0.5)
            nn.init.zeros_(self.hidden.bias)
            power = _GELU_POWER
        # With this weight the mean squared radius is INITIAL_RADIUS^2.
        length = INITIAL_RADIUS * float(lorentz.unit_length(curvature))
        nn.init.normal_(self.linear.weight, std=length / (power * inputs * dimension) ** 0.5)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Project (M, inputs) to float32 tangent vectors (M, d)."""
        # Outside autocast: bfloat16 keeps three digits, and hyperbolic distance multiplies an error
        # by sinh(radius).
        with torch.autocast(device_type=x.device.type, enabled=False):
            x = self.norm(x.float())
            if self.hidden is not None:
                x = nn.functional.gelu(self.hidden(x))
            return lorentz.soft_clip(self.linear(x), self.max_radius, self.curvature)
