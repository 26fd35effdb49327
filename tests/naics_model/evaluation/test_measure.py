"""Distances for the figures, in the space that the tables and the model say."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from naics_model.encoder.backbones import TINY
from naics_model.encoder.embedder import NaicsEmbedder
from naics_model.encoder.queries import check_one_space, encode_texts
from naics_model.encoder.table import Embeddings
from naics_model.errors import DataError
from naics_model.evaluation.measure import (
    distances_to,
    nearest_known,
    points_of,
    same_codes,
)
from naics_model.geometry.lorentz import pairwise_distance

TEXTS = ['Growing soybeans', 'Bank', 'Bank for farmers who grow soybeans']


def table_of(curvature: float) -> Embeddings:
    tangent = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    levels = np.array([2, 3, 3], np.uint8)
    return Embeddings(('11', '111', '112'), levels, tangent, curvature)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The folder of a tiny flat encoder."""
    torch.manual_seed(0)
    NaicsEmbedder(TINY, hyperbolic_dim=8, curvature=0.0).save_pretrained(tmp_path / 'model')
    return tmp_path / 'model'


def quiet(line: str) -> None:
    """Say nothing."""


def test_a_flat_table_has_straight_distances_and_plain_radii() -> None:
    table = table_of(0.0)
    points = points_of(table, 'Text', 'black')
    np.testing.assert_allclose(points.distance, cdist(table.tangent, table.tangent), atol=1e-12)
    np.testing.assert_allclose(points.radius, np.linalg.norm(table.tangent.astype(float), axis=1))


@pytest.mark.parametrize('curvature', [0.0, 0.5])
def test_distances_are_those_of_the_space_however_many_are_asked(curvature: float) -> None:
    generator = np.random.default_rng(1)
    queries = generator.normal(size=(5000, 4)).astype(np.float32)
    points = generator.normal(size=(7, 4)).astype(np.float32)
    expected = pairwise_distance(
        torch.from_numpy(queries).double(), torch.from_numpy(points).double(), curvature
    )
    np.testing.assert_allclose(distances_to(queries, points, curvature), expected, rtol=1e-5)


def test_the_nearest_entry_of_each_code_is_found_and_codes_without_one_are_far() -> None:
    queries = np.array([[0.0, 0.0], [3.0, 0.0]], np.float32)
    entries = np.array([[1.0, 0.0], [4.0, 0.0], [2.0, 0.0]], np.float32)
    found = nearest_known(queries, entries, np.array([2, 0, 2]), 4, 0.0)
    # Code 1 and 3 have no entry: as far as the entry that is farthest.
    np.testing.assert_allclose(found, [[4, 4, 1, 4], [1, 2, 1, 2]])


def test_texts_are_encoded_once_for_a_model(model: Path, tmp_path: Path) -> None:
    said: list[str] = []
    kept = tmp_path / 'queries.safetensors'
    first = encode_texts(model, TEXTS, kept, said.append)
    expected = NaicsEmbedder.from_pretrained(model).encode(TEXTS)
    np.testing.assert_allclose(first.of(TEXTS), expected, atol=1e-6)
    np.testing.assert_array_equal(first.of(TEXTS[::-1]), first.tangent[::-1])
    before = kept.read_bytes()
    again = encode_texts(model, TEXTS, kept, said.append)
    np.testing.assert_array_equal(first.tangent, again.tangent)
    assert said == [f'3 questions were encoded before: {kept}']
    encode_texts(model, TEXTS[:2], kept, quiet)
    assert kept.read_bytes() == before


def test_texts_are_added_to_those_that_were_encoded(model: Path, tmp_path: Path) -> None:
    kept = tmp_path / 'queries.safetensors'
    first = encode_texts(model, TEXTS[:2], kept, quiet)
    both = encode_texts(model, TEXTS[1:], kept, quiet)
    np.testing.assert_array_equal(both.of(TEXTS[:2]), first.of(TEXTS[:2]))
    expected = NaicsEmbedder.from_pretrained(model).encode(TEXTS)
    np.testing.assert_allclose(both.of(TEXTS), expected, atol=1e-6)
    assert list(encode_texts(model, TEXTS, kept, quiet).place) == TEXTS


def test_two_who_ask_at_once_encode_each_text_once(model: Path, tmp_path: Path) -> None:
    kept, said = tmp_path / 'queries.safetensors', []
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: encode_texts(model, TEXTS, kept, said.append), range(2)))
    np.testing.assert_array_equal(found[0].tangent, found[1].tangent)
    assert said == [f'3 questions were encoded before: {kept}']


def test_what_another_model_encoded_or_what_is_damaged_is_made_anew(
    model: Path, tmp_path: Path
) -> None:
    kept = tmp_path / 'queries.safetensors'
    first = encode_texts(model, TEXTS, kept, quiet)
    torch.manual_seed(1)
    NaicsEmbedder(TINY, hyperbolic_dim=8, curvature=0.0).save_pretrained(model)
    second = encode_texts(model, TEXTS, kept, quiet)
    assert not np.allclose(first.tangent, second.tangent)
    kept.write_bytes(b'no arrays')
    np.testing.assert_array_equal(encode_texts(model, TEXTS, kept, quiet).tangent, second.tangent)


def test_another_space_or_other_codes_are_refused(model: Path, tmp_path: Path) -> None:
    encoded = encode_texts(model, TEXTS, tmp_path / 'queries.safetensors', quiet)
    check_one_space(table_of(0.0), encoded)
    with pytest.raises(DataError, match='into another space'):
        check_one_space(table_of(1.0), encoded)
    with pytest.raises(DataError, match='The text embeddings are not of the codes'):
        same_codes(table_of(0.0), ['11', '111', '113'], 'text')
