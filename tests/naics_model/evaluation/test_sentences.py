"""The frozen sentence encoder: what it returns, and that it reads each text once."""

from __future__ import annotations

import numpy as np
import pytest

from naics_model.encoder.backbones import MINILM, TINY
from naics_model.evaluation import sentences
from naics_model.evaluation.sentences import SentenceEncoder, sentence_vectors

CODES = ['Soybean farming', 'Retail bakeries and other shops that sell bread']
QUERIES = ['bread', 'growing soybeans', 'Soybean farming']


def test_distances_are_one_minus_the_cosine_of_unit_vectors():
    vectors = sentence_vectors([*CODES, *QUERIES], backbone=TINY)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    distance = SentenceEncoder(TINY).distances(CODES, QUERIES)
    assert distance == pytest.approx(1 - vectors[2:] @ vectors[:2].T, abs=1e-5)
    assert distance[2, 0] == pytest.approx(0, abs=1e-5)


def test_a_vector_does_not_depend_on_company_in_the_batch():
    together = sentence_vectors(QUERIES, backbone=TINY)
    alone = [sentence_vectors([query], backbone=TINY)[0] for query in QUERIES]
    assert together == pytest.approx(np.stack(alone), abs=1e-5)


def test_each_text_is_read_once(monkeypatch):
    read: list[str] = []

    def spy(texts, **options):
        read.extend(texts)
        return sentence_vectors(texts, **options)

    monkeypatch.setattr(sentences, 'sentence_vectors', spy)
    encoder = SentenceEncoder(TINY)
    encoder.distances(CODES, [*QUERIES, *QUERIES])
    encoder.distances(QUERIES, CODES)
    assert sorted(read) == sorted({*CODES, *QUERIES})


def test_the_packaged_encoder_understands_words_it_does_not_share():
    candidates = ['Offices of dentists', 'Retail bakeries', 'Soybean farming']
    distance = SentenceEncoder(MINILM).distances(candidates, ['tooth doctor', 'fresh bread shop'])
    assert distance.argmin(axis=1).tolist() == [0, 1]
