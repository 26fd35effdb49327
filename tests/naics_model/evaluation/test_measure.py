"""Distances for the figures, in the space that the tables and the model say."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from naics_model.encoder import queries
from naics_model.encoder.backbones import TINY
from naics_model.encoder.embedder import NaicsEmbedder
from naics_model.encoder.queries import check_one_space, encode_texts
from naics_model.encoder.table import Embeddings
from naics_model.errors import DataError
from naics_model.evaluation.measure import points_of, same_codes
from naics_model.storage.tensors import read_tensors, write_tensors

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


def test_texts_are_encoded_once_for_a_model(model: Path, tmp_path: Path) -> None:
    said: list[str] = []
    kept = tmp_path / 'queries.safetensors'
    first = encode_texts(model, TEXTS, kept, said.append)
    expected = NaicsEmbedder.from_pretrained(model).encode(TEXTS)
    np.testing.assert_allclose(first.of(TEXTS), expected.tangent, atol=1e-6)
    np.testing.assert_allclose(first.units_of(TEXTS), expected.unit, atol=1e-6)
    np.testing.assert_array_equal(first.of(TEXTS[::-1]), first.tangent[::-1])
    before = kept.read_bytes()
    again = encode_texts(model, TEXTS, kept, said.append)
    np.testing.assert_array_equal(first.tangent, again.tangent)
    np.testing.assert_array_equal(first.unit, again.unit)
    assert said == [f'3 questions were encoded before: {kept}']
    encode_texts(model, TEXTS[:2], kept, quiet)
    assert kept.read_bytes() == before


def test_texts_are_added_to_those_that_were_encoded(model: Path, tmp_path: Path) -> None:
    kept = tmp_path / 'queries.safetensors'
    first = encode_texts(model, TEXTS[:2], kept, quiet)
    both = encode_texts(model, TEXTS[1:], kept, quiet)
    np.testing.assert_array_equal(both.of(TEXTS[:2]), first.of(TEXTS[:2]))
    expected = NaicsEmbedder.from_pretrained(model).encode(TEXTS)
    np.testing.assert_allclose(both.of(TEXTS), expected.tangent, atol=1e-6)
    np.testing.assert_allclose(both.units_of(TEXTS), expected.unit, atol=1e-6)
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


def test_what_was_encoded_by_other_rules_is_made_anew(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, said = tmp_path / 'queries.safetensors', []
    first = encode_texts(model, TEXTS, kept, quiet)
    # As a file of the rules before: its points are in the way, whatever they are.
    header, tensors = read_tensors(kept, 'questions')
    assert tensors.keys() == {'unit', 'tangent'}
    stale = {name: np.zeros_like(value) for name, value in tensors.items()}
    write_tensors(stale, {**header, 'rules': header['rules'] - 1}, kept)
    again = encode_texts(model, TEXTS, kept, said.append)
    assert said == []
    np.testing.assert_array_equal(again.unit, first.unit)
    np.testing.assert_array_equal(again.tangent, first.tangent)
    # The same the other way round: new rules do not take an old file.
    monkeypatch.setattr(queries, '_RULES', queries._RULES + 1)
    encode_texts(model, TEXTS, kept, said.append)
    assert said == []


def test_another_space_or_other_codes_are_refused(model: Path, tmp_path: Path) -> None:
    encoded = encode_texts(model, TEXTS, tmp_path / 'queries.safetensors', quiet)
    check_one_space(table_of(0.0), encoded)
    with pytest.raises(DataError, match='into another space'):
        check_one_space(table_of(1.0), encoded)
    with pytest.raises(DataError, match='The text embeddings are not of the codes'):
        same_codes(table_of(0.0), ['11', '111', '113'], 'text')
