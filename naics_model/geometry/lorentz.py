"""The Lorentz model of hyperbolic space of curvature -c, and its flat limit at c = 0.

A point is stored as its tangent vector v at the origin, shape (..., d), an ordinary unconstrained
tensor; the ambient form x, shape (..., d + 1), has the time coordinate first and <x, x> = -1/c. The
hyperbolic distance of exp(v) from the origin is ‖v‖; `radius` is sqrt(c)‖v‖, the same length in
units of the space's own scale 1/sqrt(c), which is what decides precision, clipping and the radius
ladder. Scaling law: d_c(u, v) = d_1(sqrt(c) u, sqrt(c) v) / sqrt(c).

As c falls to 0 the distance tends to ‖u - v‖, and the centroid to the arithmetic mean; c = 0 means
these. So one setting makes the Euclidean control of a model, and no caller asks which space it is
in. The flat formula stands beside the curved one, in the same function: it is one line, and the
curved one would divide by 0. Two things have no limit. A flat space has no scale of its own, so its
radii are plain lengths (`unit_length`); and no hyperboloid, so functions of ambient points refuse
c = 0.

Here: maps, distances, centroids. Not here: parameters, losses, clustering.

Precision. Inputs narrower than float32 are widened and autocast is off inside. With
z = cosh d - 1, everything works on z near 0: 1 + 1e-8 == 1 in float32, and arcosh near 1 has no
usable gradient. Error of a distance of 1.0 between two points at the same radius, 64 dimensions,
float32 input (median of 300):

    radius                                            1        3        6        9       12
    `distance`, polar form, angle from differences    6e-8     8e-8     5e-7     1e-5     2e-4
    `pairwise_distance`, product in float64           6e-8     4e-8     3e-8     3e-8     9e-7
    polar form, cosine from a float32 product         1e-7     5e-6     2e-3     lost     lost
    arcosh of a float32 Minkowski product             2e-7     1e-5     4e-3     lost     lost
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import ParamSpec

import torch
from torch import Tensor

from naics_model.errors import ConfigurationError

_P = ParamSpec('_P')

# Below this, quotients such as sinh(r)/r come from their series, which is exact to float64 there.
_NEAR_ZERO = 1e-3


def _at_full_precision(function: Callable[_P, Tensor]) -> Callable[_P, Tensor]:
    """Keep autocast out of a function: in bfloat16 every distance is lost at radius 4."""

    @functools.wraps(function)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> Tensor:
        tensor = next(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        with torch.autocast(device_type=tensor.device.type, enabled=False):
            return function(*args, **kwargs)

    return wrapped


def unit_length(curvature: float | Tensor) -> float | Tensor:
    """Return the length that radii are counted in: 1/sqrt(c), or 1 in flat space."""
    if isinstance(curvature, Tensor):
        return torch.where(curvature > 0, curvature, 1.0).rsqrt()
    return 1 / math.sqrt(curvature) if curvature > 0 else 1.0


@_at_full_precision
def soft_clip(v: Tensor, max_radius: float = 6.0, curvature: float | Tensor = 1.0) -> Tensor:
    """Bend tangent vectors smoothly, so that every radius stays below R: r -> R tanh(r / R).

    Args:
        v: (..., d) tangent vectors at the origin.
        max_radius: R, in units of 1/sqrt(c), plain ones at c = 0. Float32 is safe to 6.

    Returns:
        (..., d), same directions, float32 at least.
    """
    v = _widen(v)
    ratio = radius(v, curvature).unsqueeze(-1) / max_radius
    return v * _over_itself(torch.tanh, ratio, (-1 / 3, 2 / 15))


@_at_full_precision
def exp_map_origin(v: Tensor, curvature: float | Tensor = 1.0) -> Tensor:
    """Map tangent vectors (..., d) at the origin to points (..., d + 1), time first.

    Raises:
        ConfigurationError: c = 0.
    """
    _require_curved(curvature)
    scaled_time, space = homogeneous(v, curvature).tensor_split([1], dim=-1)
    return torch.cat([scaled_time / _root(curvature), space], dim=-1)


@_at_full_precision
def log_map_origin(x: Tensor, curvature: float | Tensor = 1.0) -> Tensor:
    """Map points (..., d + 1) of the hyperboloid to tangent vectors (..., d) at the origin.

    Only the space coordinates are read: the time coordinate follows from them, and in float32 it
    carries the larger rounding error.

    Raises:
        ConfigurationError: c = 0.
    """
    _require_curved(curvature)
    return _log_of_space(_widen(x)[..., 1:], curvature)


@_at_full_precision
def homogeneous(v: Tensor, curvature: float | Tensor = 1.0) -> Tensor:
    """Map tangent vectors (..., d) to points (..., d + 1) with the time multiplied by sqrt(c).

    (cosh(sqrt(c)‖v‖), space), in float32 at least. Unlike the point itself this has a limit at
    c = 0: (1, v), the homogeneous coordinates of flat space. Weighted sums of them are centroids;
    `from_homogeneous` leads back.
    """
    v = _widen(v)
    r = torch.linalg.vector_norm(v, dim=-1, keepdim=True) * _root(curvature)
    return torch.cat([torch.cosh(r), v * _sinh_over(r)], dim=-1)


@_at_full_precision
def from_homogeneous(x: Tensor, curvature: float | Tensor = 1.0) -> Tensor:
    """Map positive multiples (..., d + 1) of `homogeneous` points, or sums of such, to tangent
    vectors (..., d): scale back onto the space, then take the logarithm.

    Sums should be float64: those of float32 points at radius 6 miss the cone by 1e-3.
    """
    scaled_time, space = _widen(x).tensor_split([1], dim=-1)
    norm = (scaled_time.square() - curvature * space.square().sum(-1, keepdim=True)).sqrt()
    return _log_of_space(space / norm, curvature)


@_at_full_precision
def lorentz_inner(x: Tensor, y: Tensor) -> Tensor:
    """Return the Minkowski product -x0 y0 + x1 y1 + ...: (..., d + 1) and (..., d + 1) -> (...)."""
    product = _widen(x) * _widen(y)
    return product[..., 1:].sum(dim=-1) - product[..., 0]


@_at_full_precision
def radius(v: Tensor, curvature: float | Tensor = 1.0) -> Tensor:
    """Return sqrt(c)‖v‖: (..., d) -> (...), the distance from the origin in units of 1/sqrt(c).

    In flat space it is ‖v‖. The gradient at the origin itself is taken as 0.
    """
    return torch.linalg.vector_norm(_widen(v), dim=-1) / unit_length(curvature)


@_at_full_precision
def distance(u: Tensor, v: Tensor, curvature: float | Tensor = 1.0) -> Tensor:
    """Return distances of paired points: (..., d) and (..., d), broadcast, -> (...).

    Polar form, with radii a, b and angle t between the two: z = 2 sinh^2((a - b)/2) + sinh a sinh b
    (1 - cos t) and d = log(1 + z + sqrt(z (z + 2))) / sqrt(c). 1 - cos t is half the squared
    difference of the unit vectors, so equal inputs are at distance exactly 0. Gradients: 0 at
    coincident points, right at the origin. At c = 0: ‖u - v‖, with the same gradient at 0.
    """
    if curvature == 0:
        return torch.linalg.vector_norm(_widen(u) - _widen(v), dim=-1)
    root = _root(curvature)
    u, v = _widen(u) * root, _widen(v) * root
    a = torch.linalg.vector_norm(u, dim=-1)
    b = torch.linalg.vector_norm(v, dim=-1)
    # a b (1 - cos t) twice over. The first is precise at every radius but knows no direction at the
    # origin; the second is smooth there and loses digits only far out.
    chord = u / a.clamp_min(_NEAR_ZERO).unsqueeze(-1) - v / b.clamp_min(_NEAR_ZERO).unsqueeze(-1)
    angular = a * b * chord.square().sum(dim=-1)
    flat = (u - v).square().sum(dim=-1) - (a - b).square()
    bend = torch.where(torch.minimum(a, b) < _NEAR_ZERO, flat, angular) / 2
    z = 2 * torch.sinh((a - b) / 2).square() + _sinh_over(a) * _sinh_over(b) * bend
    return _arcosh_of_one_plus(z) / root


@_at_full_precision
def pairwise_distance(u: Tensor, v: Tensor, curvature: float | Tensor = 1.0) -> Tensor:
    """Return distances of all pairs: (n, d) and (m, d) -> (n, m), float32 at least.

    z = cosh d - 1 comes from one matrix product in float64. The table above says why: with float32
    input it is more precise than differences at every radius. It is also smooth at the origin,
    needs no (n, m, d) intermediate, and is fast: for 2,125 codes of 64 dimensions, on one core and
    with the gradient, 0.16 s, where differences take 0.42 s and the float32 product, which has lost
    everything by radius 9, 0.10 s. What is left of z below the product's own rounding is a
    coincident pair, at distance exactly 0 with gradient 0: that is d < 1.2e-5 at radius 6, the
    spacing of float32 directions there.

    At c = 0 the Euclidean distances come from differences: a product, even in float64, would see a
    coincident pair apart.
    """
    out = torch.promote_types(_widen(u).dtype, _widen(v).dtype)
    if curvature == 0:
        return torch.cdist(u.to(out), v.to(out), compute_mode='donot_use_mm_for_euclid_dist')
    root = _root(curvature)
    time_u, space_u = homogeneous(u.double() * root).tensor_split([1], dim=-1)
    time_v, space_v = homogeneous(v.double() * root).tensor_split([1], dim=-1)
    left, right = torch.cat([time_u, -space_u], dim=-1), torch.cat([time_v, space_v], dim=-1)
    z = left @ right.T - 1
    with torch.no_grad():
        noise = 8 * torch.finfo(torch.float64).eps * (time_u @ time_v.T)
    z = z.masked_fill(z <= noise, 0.0)
    return _arcosh_of_one_plus(z.to(out)) / root


@_at_full_precision
def tangent_centroid(
    v: Tensor, weights: Tensor | None = None, curvature: float | Tensor = 1.0
) -> Tensor:
    """Return Lorentz centroids: the weighted sum of points, scaled back onto the space.

    Against the Fréchet mean, families of 12 random points have a summed squared distance larger by
    0.04 to 0.7 % at radius 1.5 and 0.2 to 2.8 % at radius 4, where the mean of their tangent
    vectors costs 5 to 12 % and 73 to 83 %. At c = 0 it is the weighted arithmetic mean. Source: Law
    et al., Lorentzian Distance Learning for Hyperbolic Representations, ICML 2019.

    Args:
        v: (..., k, d) tangent vectors at the origin.
        weights: (..., k), not negative, at least one positive; equal when None.

    Returns:
        (..., d) tangent vectors, in the precision of `v` (float32 at least).
    """
    points = homogeneous(v.double(), curvature)
    if weights is not None:
        points = points * weights.double().unsqueeze(-1)
    return from_homogeneous(points.sum(dim=-2), curvature).to(_widen(v).dtype)


def centroid(
    points: Tensor, weights: Tensor | None = None, curvature: float | Tensor = 1.0
) -> Tensor:
    """Return `tangent_centroid` for points on the hyperboloid: (..., k, d + 1) -> (..., d + 1).

    Raises:
        ConfigurationError: c = 0.
    """
    tangents = log_map_origin(points.double(), curvature)
    mean = tangent_centroid(tangents, weights, curvature)
    return exp_map_origin(mean, curvature).to(_widen(points).dtype)


def _require_curved(curvature: float | Tensor) -> None:
    if curvature == 0:
        raise ConfigurationError(
            'A flat space (curvature 0) has no hyperboloid, and so no points in Lorentz '
            'coordinates: use its tangent vectors.'
        )


def _widen(tensor: Tensor) -> Tensor:
    """Return the tensor in float32 at least."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _root(curvature: float | Tensor) -> float | Tensor:
    return curvature.sqrt() if isinstance(curvature, Tensor) else math.sqrt(curvature)


def _log_of_space(space: Tensor, curvature: float | Tensor) -> Tensor:
    """Return the tangent vectors (..., d) of points with these space coordinates (..., d)."""
    s = torch.linalg.vector_norm(space, dim=-1, keepdim=True) * _root(curvature)
    return space * _over_itself(torch.asinh, s, (-1 / 6, 3 / 40))


def _over_itself(
    function: Callable[[Tensor], Tensor], x: Tensor, series: tuple[float, float]
) -> Tensor:
    """Return f(x)/x for an odd f with f'(0) = 1; near 0 by its series 1 + a x^2 + b x^4."""
    near = x < _NEAR_ZERO
    # Both branches of `where` get a gradient, so the quotient must not see a 0 it is not used for.
    far = torch.where(near, torch.ones_like(x), x)
    square = x.square()
    return torch.where(near, 1 + square * (series[0] + series[1] * square), function(far) / far)


def _sinh_over(r: Tensor) -> Tensor:
    return _over_itself(torch.sinh, r, (1 / 6, 1 / 120))


def _arcosh_of_one_plus(z: Tensor) -> Tensor:
    """Return arcosh(1 + z), for z >= 0 but for rounding; at 0 it is 0 with gradient 0."""
    apart = z > torch.finfo(z.dtype).tiny
    z = torch.where(apart, z, torch.ones_like(z))
    return torch.where(apart, torch.log1p(z + torch.sqrt(z * (z + 2))), torch.zeros_like(z))
