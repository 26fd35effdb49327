"""Rankings of a tiny edition, by each reading and by all signals together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from naics_model.encoder.queries import Encoded
from naics_model.encoder.table import Embeddings
from naics_model.errors import DataError
from naics_model.evaluation.fused import fused_ranking
from naics_model.fusion.known import KnownPhrases, LabelledPhrases
from naics_model.fusion.weights import DEFAULT

# A sector and four codes of six digits, each with a direction of its own.
CODES = ('11', '111110', '111120', '111130', '111140')
CANDIDATES = np.array([1, 2, 3, 4])
NOTHING = LabelledPhrases((), np.zeros(0, np.int64))


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def table() -> Embeddings:
    """The hyperbolic points say nothing: all codes are at one place, and one is further out."""
    tangent = np.zeros((5, 3), np.float32)
    tangent[4, 0] = 2.0
    return Embeddings(
        codes=CODES,
        levels=np.array([2, 6, 6, 6, 6], np.uint8),
        tangent=tangent,
        curvature=1.0,
        unit=unit(np.vstack([np.ones(8), np.eye(4, 8)])),
    )


def phrases(per_code: int, name: str) -> LabelledPhrases:
    texts = tuple(f'{name} {code} {number}' for code in range(4) for number in range(per_code))
    return LabelledPhrases(texts, np.repeat(np.arange(4), per_code))


KNOWN = KnownPhrases(phrases(3, 'known'), phrases(5, 'aside'))
ASKED = phrases(2, 'asked')


def encoded() -> Encoded:
    """Texts of a code share what its point knows nothing of: dimensions 4 to 7, not 0 to 3."""
    generator = np.random.default_rng(0)
    texts = (*KNOWN.texts, *ASKED.texts)
    owners = [int(text.split()[1]) for text in texts]
    rows = np.eye(4, 8, k=4)[owners] + 0.1 * generator.normal(size=(len(texts), 8))
    tangent = generator.normal(size=(len(texts), 3)).astype(np.float32)
    return Encoded({text: row for row, text in enumerate(texts)}, unit(rows), tangent, 1.0)


def share_right(distance: np.ndarray) -> float:
    return float((distance.argmin(axis=1) == ASKED.owners).mean())


def test_known_phrases_find_what_the_points_do_not(table: Embeddings) -> None:
    ranking = fused_ranking(table, CANDIDATES, encoded(), KNOWN, ASKED.texts)
    assert ranking.codes.shape == ranking.flat.shape == ranking.fused.shape == (8, 4)
    assert share_right(ranking.codes) < 0.5
    assert share_right(ranking.flat) < 0.8
    assert share_right(ranking.fused) == 1.0
    # Weights say which signals help.
    lorentz, flat, *nearest = ranking.weights
    assert sum(nearest) > 2 * max(abs(lorentz), abs(flat))


def test_each_reading_is_the_distance_to_the_candidates_alone(table: Embeddings) -> None:
    asked = encoded()
    ranking = fused_ranking(table, CANDIDATES, asked, KNOWN, ASKED.texts)
    assert table.unit is not None
    np.testing.assert_allclose(
        ranking.flat, 1 - asked.units_of(ASKED.texts) @ table.unit[1:].T, atol=1e-6
    )
    # Three codes are at the origin, from which a distance is the radius.
    radii = np.linalg.norm(asked.of(ASKED.texts), axis=1)
    for column in range(3):
        np.testing.assert_allclose(ranking.codes[:, column], radii, rtol=1e-5)


def test_without_validation_phrases_all_signals_count_alike(table: Embeddings) -> None:
    known = replace(KNOWN, validation=NOTHING)
    ranking = fused_ranking(table, CANDIDATES, encoded(), known, ASKED.texts)
    assert ranking.weights.tolist() == DEFAULT.tolist()


def test_a_table_without_unit_vectors_is_refused_in_one_sentence(table: Embeddings) -> None:
    with pytest.raises(DataError, match='have no column unit, which the fused ranking needs'):
        fused_ranking(replace(table, unit=None), CANDIDATES, encoded(), KNOWN, ASKED.texts)
