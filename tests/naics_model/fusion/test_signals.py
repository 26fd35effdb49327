"""Scores of codes for phrases, against loops that do one phrase and one code at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from naics_model.fusion import signals
from naics_model.fusion.signals import SIGNALS, Places, Scorer

Array = NDArray[np.float64]
WIDTH, DIMENSION, CURVATURE = 6, 3, 0.7
# Code 1 has no phrase, code 4 none either and is the last; the others have 1, 2, 3 and 5.
OWNERS = (5, 0, 2, 5, 3, 2, 5, 3, 5, 3, 5)
CODES = 7


def places(count: int, seed: int) -> Places:
    generator = np.random.default_rng(seed)
    unit = generator.normal(size=(count, WIDTH))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    tangent = generator.normal(size=(count, DIMENSION))
    return Places(unit.astype(np.float32), tangent.astype(np.float32))


def lorentz_distance(u: Array, v: Array) -> float:
    def point(tangent: Array) -> Array:
        length = np.linalg.norm(tangent)
        root = np.sqrt(CURVATURE)
        return np.array(
            [np.cosh(root * length) / root, *(np.sinh(root * length) / root * tangent / length)]
        )

    x, y = point(u), point(v)
    inner = x[1:] @ y[1:] - x[0] * y[0]
    return float(np.arccosh(-CURVATURE * inner) / np.sqrt(CURVATURE))


def by_loops(phrases: Places, codes: Places, known: Array, owners: Sequence[int]) -> Array:
    """Return the standardised scores (q, c, s), computed in float64 one by one."""
    out = np.zeros((len(phrases.unit), len(codes.unit), len(SIGNALS)))
    for q in range(len(out)):
        unit, tangent = phrases.unit[q].astype(float), phrases.tangent[q].astype(float)
        all_known = [float(unit @ other) for other in known]
        for c in range(out.shape[1]):
            own = sorted(
                (cosine for cosine, owner in zip(all_known, owners, strict=True) if owner == c),
                reverse=True,
            )
            nearest = own[:3] or [min(all_known)]
            out[q, c] = (
                -lorentz_distance(tangent, codes.tangent[c].astype(float)),
                unit @ codes.unit[c],
                nearest[0],
                sum(nearest) / len(nearest),
                np.log(1 + len(own)),
            )
    return (out - out.mean(axis=1, keepdims=True)) / out.std(axis=1, keepdims=True)


@pytest.mark.parametrize('chunk', [1, 4, 512])
@pytest.mark.parametrize('ties', [False, True])
def test_scores_are_those_of_a_loop(
    ties: bool, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, '_CHUNK', chunk)
    codes, phrases, known = places(CODES, 0), places(9, 1), places(len(OWNERS), 2).unit
    if ties:
        # Of code 5 two and then four phrases alike, of code 2 both.
        known[3] = known[0]
        known[8] = known[10] = known[6]
        known[5] = known[2]
    scorer = Scorer(codes, CURVATURE, known, np.array(OWNERS, np.int64))
    found = scorer.scores(phrases)
    assert found.shape == (9, CODES, len(SIGNALS))
    assert found.dtype == np.float32
    expected = by_loops(phrases, codes, known.astype(float), OWNERS)
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_three_equal_phrases_and_a_fourth_are_the_mean_of_three() -> None:
    # Cosines of code 0: .8, .8, .6, .5; of code 1: .6 alone. Code 2 has none: as low as any.
    known = np.array([[c, np.sqrt(1 - c * c)] for c in (0.8, 0.8, 0.6, 0.5, 0.6)], np.float32)
    codes = Places(np.eye(3, 2, dtype=np.float32), np.zeros((3, 2), np.float32))
    scorer = Scorer(codes, 1.0, known, np.array([0, 0, 0, 0, 1]))
    first, three = scorer._nearest(np.array([[1.0, 0.0]], np.float32))
    np.testing.assert_allclose(first, [[0.8, 0.6, 0.5]], rtol=1e-6)
    np.testing.assert_allclose(three, [[2.2 / 3, 0.6, 0.5]], rtol=1e-6)


def test_a_signal_that_says_the_same_of_all_codes_says_nothing() -> None:
    scores = signals._standardised(np.array([[2.0, 2.0, 2.0], [1.0, 2.0, 3.0]]))
    np.testing.assert_allclose(scores, [[0, 0, 0], [-(1.5**0.5), 0, 1.5**0.5]], atol=1e-5)
