"""Pictures: what they are given decides what they show."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from naics_model.evaluation import figures
from naics_model.taxonomy.distances import tree_distances
from naics_model.taxonomy.tree import Taxonomy


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b'\x89PNG\r\n\x1a\n')
    width, height = struct.unpack('>II', png[16:24])
    return width, height


def sector_names(taxonomy: Taxonomy) -> dict[int, str]:
    return {int(i): f'Sector {taxonomy.codes[i]}' for i in np.flatnonzero(taxonomy.levels == 2)}


@pytest.fixture
def points(bushy) -> figures.Points:
    tangent = np.random.default_rng(0).normal(size=(len(bushy), 6))
    distance = np.sqrt(((tangent[:, None] - tangent[None]) ** 2).sum(-1))
    return figures.Points(
        'Text', figures.TEXT_COLOUR, tangent, np.linalg.norm(tangent, axis=1), distance
    )


def test_pictures_are_drawn_and_reproducible(bushy, points):
    tree = tree_distances(bushy)
    names = sector_names(bushy)
    for draw in (
        lambda: figures.distance_violins([points], tree),
        lambda: figures.radius_by_level([points], bushy),
        lambda: figures.poincare_disks([points, points], bushy, names),
        lambda: figures.loss_curves([('one', [{'train/loss': 2.0}, {'train/loss': 1.0}])]),
    ):
        first = draw()
        assert min(size(first)) > 300
        assert first == draw()


def test_coincident_points_can_be_drawn(bushy):
    n = len(bushy)
    heap = figures.Points('Heap', 'red', np.zeros((n, 3)), np.zeros(n), np.zeros((n, n)))
    assert size(figures.distance_violins([heap], tree_distances(bushy)))
    assert size(figures.radius_by_level([heap], bushy))
    assert size(figures.poincare_disks([heap], bushy, sector_names(bushy)))


def test_runs_without_history_have_no_panel():
    assert figures.loss_curves([('one', [])]) is None
    one = figures.loss_curves([('one', [{'train/loss': 1.0}])])
    assert one == figures.loss_curves([('one', [{'train/loss': 1.0}]), ('two', [])])
    assert one != figures.loss_curves([('one', [{'train/loss': 1.0, 'val/loss': 2.0}])])


def test_disk_keeps_the_radius_and_the_plane_of_most_variance():
    rng = np.random.default_rng(1)
    # Most of the length lies in the second and the last of five axes.
    tangent = rng.normal(size=(300, 5)) * np.array([0.01, 3, 0.01, 0.01, 2])
    radius = np.linalg.norm(tangent, axis=1)
    place = figures.disk_positions(tangent, radius)
    assert np.linalg.norm(place, axis=1) == pytest.approx(np.tanh(radius / 2))
    angle = np.arctan2(place[:, 1], place[:, 0])
    true = np.arctan2(tangent[:, 4], tangent[:, 1])
    assert np.cos(angle - true) == pytest.approx(np.ones(300), abs=0.01)


def test_code_at_the_origin_stays_there():
    place = figures.disk_positions(
        np.array([[0.0, 0, 0], [1, 0, 0], [0, 2, 0]]), np.array([0.0, 1, 2])
    )
    assert place[0] == pytest.approx([0, 0])
