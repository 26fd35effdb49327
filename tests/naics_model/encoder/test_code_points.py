"""The learned points of codes: where they start, what moves them, and their file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from naics_model.encoder.points import POINTS_FILE, CodePoints
from naics_model.encoder.projection import HyperbolicProjection
from naics_model.errors import DataError
from naics_model.geometry import lorentz
from naics_model.storage.tensors import write_tensors

CODES = ['11', '111', '1111']


def some_points(seed: int = 0) -> CodePoints:
    generator = torch.Generator().manual_seed(seed)
    points = CodePoints(CODES, 6, 4)
    with torch.no_grad():
        for parameter in points.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return points


def test_points_start_where_the_documents_are() -> None:
    projection = HyperbolicProjection(6, 4, max_radius=6.0, curvature=1.0)
    documents = torch.nn.functional.normalize(torch.randn(3, 6), dim=1)
    points = some_points()
    points.start_at(documents)
    found = points(projection)
    torch.testing.assert_close(found.unit, documents)
    torch.testing.assert_close(found.tangent, projection(documents))


def test_points_are_free_vectors_and_free_offsets() -> None:
    projection = HyperbolicProjection(6, 4, max_radius=3.0, curvature=1.0)
    points = some_points()
    found = points(projection)
    for row in range(3):
        unit = points.vectors[row] / points.vectors[row].norm()
        torch.testing.assert_close(found.unit[row], unit)
        before_clip = projection.linear(unit) + points.offsets[row]
        expected = lorentz.soft_clip(before_clip[None], 3.0, 1.0)[0]
        torch.testing.assert_close(found.tangent[row], expected)
    found.tangent.sum().backward()
    for parameter in (points.vectors, points.offsets):
        assert parameter.grad is not None
        assert parameter.grad.abs().min() > 0


def test_an_offset_moves_the_hyperbolic_reading_alone_and_stays_in_the_clip() -> None:
    projection = HyperbolicProjection(6, 4, max_radius=6.0, curvature=1.0)
    points = some_points()
    before = points(projection)
    with torch.no_grad():
        points.offsets[1] += 100
    after = points(projection)
    assert torch.equal(after.unit, before.unit)
    assert [bool(row.any()) for row in after.tangent != before.tangent] == [False, True, False]
    assert (after.tangent.norm(dim=1) < 6 + 1e-4).all()


def test_the_length_of_a_vector_is_of_no_matter() -> None:
    projection = HyperbolicProjection(6, 4, max_radius=6.0, curvature=1.0)
    points = some_points()
    before = points(projection)
    with torch.no_grad():
        points.vectors *= 7
    torch.testing.assert_close(points(projection), before)


def test_a_file_brings_the_same_points_and_equal_points_give_equal_bytes(tmp_path: Path) -> None:
    (tmp_path / 'again').mkdir()
    points = some_points()
    points.scalars = {'log_temperature': -0.5}
    points.save(tmp_path)
    loaded = CodePoints.load(tmp_path, 6, 4)
    assert loaded.codes == tuple(CODES)
    assert loaded.scalars == {'log_temperature': -0.5}
    for name, value in some_points().state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    loaded.save(tmp_path / 'again')
    first, again = (folder / POINTS_FILE for folder in (tmp_path, tmp_path / 'again'))
    assert first.read_bytes() == again.read_bytes()


def three(width: int = 2) -> Any:
    return np.zeros((3, width), np.float32)


@pytest.mark.parametrize(
    ('write', 'said'),
    [
        (lambda path: path.write_bytes(b'no tensors'), 'is not a file of code points'),
        (
            lambda path: write_tensors({'vectors': three(), 'offsets': three()}, ['11'], path),
            "is not a file of code points: it has no 'codes'",
        ),
        (
            lambda path: write_tensors(
                {'vectors': three()[:, 0], 'offsets': three()}, {'codes': CODES}, path
            ),
            r'belongs to another model: its points have the shapes \(\(\), \(2,\)\)',
        ),
        (
            lambda path: write_tensors(
                {'vectors': three(6), 'offsets': three(4)[:2]}, {'codes': CODES}, path
            ),
            'is damaged: it has not one point for each code',
        ),
        (
            lambda path: write_tensors(
                {'vectors': three(6), 'offsets': three(4)},
                {'codes': CODES, 'scalars': {'log_temperature': 'cold'}},
                path,
            ),
            'is damaged',
        ),
        (
            lambda path: write_tensors({'vectors': three(6)}, {'codes': CODES}, path),
            "is not a file of code points: it has no 'offsets'",
        ),
        (
            lambda path: write_tensors(
                {'vectors': three(6), 'offsets': three(8)}, {'codes': CODES}, path
            ),
            'belongs to another model',
        ),
        (lambda path: None, 'does not exist'),
    ],
    ids=[
        'no tensors',
        'another header',
        'no vectors',
        'too few offsets',
        'no number',
        'no offsets',
        'another width',
        'no file',
    ],
)
def test_a_wrong_file_is_refused_in_a_sentence(
    tmp_path: Path, write: Callable[[Path], None], said: str
) -> None:
    write(tmp_path / POINTS_FILE)
    with pytest.raises(DataError, match=said) as caught:
        CodePoints.load(tmp_path, 6, 4)
    assert POINTS_FILE in str(caught.value)
    assert '\n' not in str(caught.value)
