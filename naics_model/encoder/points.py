"""The learned point of each code in both readings of the encoder.

A point starts where the code's document is and is then free. So a phrase is compared with every
code by one matrix product, and no document has to be encoded for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn

from naics_model.encoder.projection import HyperbolicProjection
from naics_model.errors import DataError
from naics_model.storage.tensors import read_tensors, write_tensors

POINTS_FILE = 'points.safetensors'
"""In the folder of an exported model, beside its weights."""
_WHAT = 'a file of code points'


class Readings(NamedTuple):
    """Points in both readings: unit (n, width), tangent (n, d) at the origin."""

    unit: Tensor
    tangent: Tensor


class CodePoints(nn.Module):
    """One point per code: a free vector of the flat reading, and a free offset of its projection.

        unit_i    = v_i / |v_i|
        tangent_i = soft_clip(projection(unit_i) + o_i)

    v starts as the document's unit vector, so that v minus the document is the free residual of
    the flat reading; o, which starts at 0, is the residual of the hyperbolic one, in the tangent
    space at the origin.

    Attributes:
        codes: the n codes.
        vectors: (n, width), v.
        offsets: (n, d), o.
        scalars: learned scalars that are saved with the points, such as log-temperatures.
    """

    def __init__(self, codes: Sequence[str], width: int, dimension: int) -> None:
        super().__init__()
        self.codes = tuple(codes)
        self.vectors = nn.Parameter(torch.zeros(len(self.codes), width))
        self.offsets = nn.Parameter(torch.zeros(len(self.codes), dimension))
        self.scalars: dict[str, float] = {}

    @torch.no_grad()
    def start_at(self, documents: Tensor) -> None:
        """Put each code where its document is: unit vectors (n, width)."""
        self.vectors.copy_(documents)
        self.offsets.zero_()

    def forward(self, projection: HyperbolicProjection) -> Readings:
        """Return the points of all codes.

        Args:
            projection: the encoder's.
        """
        unit = nn.functional.normalize(self.vectors, dim=1)
        return Readings(unit, projection(unit, self.offsets))

    def save(self, folder: Path) -> None:
        """Write `POINTS_FILE` into the folder of the exported model."""
        tensors = {
            name: np.asarray(value.detach().float().cpu())
            for name, value in self.named_parameters()
        }
        header = {'codes': list(self.codes), 'scalars': self.scalars}
        write_tensors(tensors, header, folder / POINTS_FILE)

    @classmethod
    def load(cls, folder: Path, width: int, dimension: int) -> Self:
        """Read the points of an exported model.

        Args:
            folder: of the model.
            width, dimension: of the model's two readings.

        Raises:
            DataError: the file is missing, damaged, of something else, or of another model.
        """
        path = folder / POINTS_FILE
        header, tensors = read_tensors(path, _WHAT)
        named = header if isinstance(header, dict) else {}
        try:
            codes, vectors, offsets = named['codes'], tensors['vectors'], tensors['offsets']
        except KeyError as error:
            raise DataError(f'{path} is not {_WHAT}: it has no {error}.') from None
        scalars = named.get('scalars', {})
        numbers = isinstance(scalars, dict) and all(
            isinstance(value, float) and math.isfinite(value) for value in scalars.values()
        )
        each = len(codes)
        if not (numbers and vectors.shape[:1] == offsets.shape[:1] == (each,)):
            raise DataError(f'{path} is damaged: it has not one point for each code.')
        found, expected = (vectors.shape[1:], offsets.shape[1:]), ((width,), (dimension,))
        if found != expected:
            raise DataError(
                f'{path} belongs to another model: its points have the shapes {found}, the model '
                f'has {expected}. Export the model again.'
            )
        points = cls(codes, width, dimension)
        with torch.no_grad():
            points.vectors.copy_(torch.from_numpy(np.array(vectors)))
            points.offsets.copy_(torch.from_numpy(np.array(offsets)))
        points.scalars = dict(scalars)
        return points
