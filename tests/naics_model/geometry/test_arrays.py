"""Distances between arrays: those of the space, however many rows there are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from naics_model.geometry.arrays import distances_to
from naics_model.geometry.lorentz import pairwise_distance


@pytest.mark.parametrize('curvature', [0.0, 0.5])
@pytest.mark.parametrize('count', [0, 1, 5000])
def test_distances_are_those_of_the_space_however_many_are_asked(
    count: int, curvature: float
) -> None:
    generator = np.random.default_rng(1)
    queries = generator.normal(size=(count, 4)).astype(np.float32)
    points = generator.normal(size=(7, 4)).astype(np.float32)
    expected = pairwise_distance(
        torch.from_numpy(queries).double(), torch.from_numpy(points).double(), curvature
    )
    found = distances_to(queries, points, curvature)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5)
