"""The learned points of codes: where they start, what moves them, and their file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from naics_model.encoder.points import POINTS_FILE, CodePoints
from naics_model.encoder.projection import HyperbolicProjection
from naics_model.errors import DataError
from naics_model.geometry import lorentz
from naics_model.storage.tensors import write_tensors

CODES = ('11', '111', '112')


@pytest.fixture
def projection() -> HyperbolicProjection:
    torch.manual_seed(0)
    return HyperbolicProjection(5, 4, 3.0, 1.0)


def moved() -> CodePoints:
    points = CodePoints(CODES, 5, 4)
    with torch.no_grad():
        points.vectors.normal_()
        points.offsets.normal_()
    return points


def test_points_start_where_the_documents_are(projection: HyperbolicProjection) -> None:
    documents = torch.nn.functional.normalize(torch.randn(3, 5), dim=1)
    points = moved()
    points.start_at(documents)
    found = points(projection)
    torch.testing.assert_close(found.unit, documents)
    torch.testing.assert_close(found.tangent, projection(documents))


def test_points_are_free_vectors_and_free_offsets(projection: HyperbolicProjection) -> None:
    points = moved()
    found = points(projection)
    for row in range(3):
        unit = points.vectors[row] / points.vectors[row].norm()
        torch.testing.assert_close(found.unit[row], unit)
        before_clip = projection.linear(unit) + points.offsets[row]
        expected = lorentz.soft_clip(before_clip[None], 3.0, 1.0)[0]
        torch.testing.assert_close(found.tangent[row], expected)
    assert lorentz.radius(found.tangent).max() < 3.0
    found.tangent.sum().backward()
    for parameter in (points.vectors, points.offsets):
        assert parameter.grad is not None
        assert parameter.grad.abs().min() > 0


def test_saved_points_come_back_the_same(tmp_path: Path) -> None:
    points = moved()
    points.save(tmp_path)
    back = CodePoints.load(tmp_path)
    assert back.codes == CODES
    assert torch.equal(back.vectors, points.vectors)
    assert torch.equal(back.offsets, points.offsets)


def test_missing_foreign_and_damaged_files_are_explained(tmp_path: Path) -> None:
    with pytest.raises(DataError, match='does not exist'):
        CodePoints.load(tmp_path)
    vectors = np.zeros((3, 5), np.float32)
    write_tensors({'vectors': vectors}, {'codes': list(CODES)}, tmp_path / POINTS_FILE)
    with pytest.raises(DataError, match="is not a file of code points: it has no 'offsets'"):
        CodePoints.load(tmp_path)
    tensors = {'vectors': vectors, 'offsets': np.zeros((2, 4), np.float32)}
    write_tensors(tensors, {'codes': list(CODES)}, tmp_path / POINTS_FILE)
    with pytest.raises(DataError, match='has not one point for each code'):
        CodePoints.load(tmp_path)
