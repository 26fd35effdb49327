"""Distances for the figures, in the space that the tables and the model say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from naics_model.encoder.backbones import TINY
from naics_model.encoder.embedder import NaicsEmbedder
from naics_model.encoder.table import Embeddings
from naics_model.errors import DataError
from naics_model.evaluation.measure import points_of, query_distances


def table_of(curvature: float) -> Embeddings:
    tangent = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    levels = np.array([2, 3, 3], np.uint8)
    return Embeddings(('11', '111', '112'), levels, tangent, curvature)


def test_a_flat_table_has_straight_distances_and_plain_radii() -> None:
    table = table_of(0.0)
    points = points_of(table, 'Text', 'black')
    np.testing.assert_allclose(points.distance, cdist(table.tangent, table.tangent), atol=1e-12)
    np.testing.assert_allclose(points.radius, np.linalg.norm(table.tangent.astype(float), axis=1))


def test_queries_of_a_flat_model_are_asked_in_flat_space(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = NaicsEmbedder(TINY, hyperbolic_dim=8, curvature=0.0)
    model.save_pretrained(tmp_path)
    texts = ['Growing soybeans', 'Bank']
    table, rows = table_of(0.0), np.array([2, 0])
    found = query_distances(tmp_path, {'text': table}, rows, texts, lambda line: None)
    expected = cdist(model.encode(texts), table.tangent[rows])
    np.testing.assert_allclose(found['text'], expected, rtol=1e-5)
    with pytest.raises(DataError, match='into another space than that of the text'):
        query_distances(tmp_path, {'text': table_of(1.0)}, rows, texts, lambda line: None)
