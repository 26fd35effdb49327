"""Pictures of answers: drawn, the same each time, and of sectors that nobody asked about, too."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from naics_model.evaluation.calibration import reliability
from naics_model.evaluation.figures_search import reliability_curves, sector_confusion
from naics_model.evaluation.report_job import _confusion, _selective
from naics_model.taxonomy.tree import Taxonomy

SURE = np.array([0.9, 0.2, 0.6, 0.4])
RIGHT = np.array([True, False, True, False])


def test_pictures_are_drawn_and_follow_what_they_are_given():
    def curves(right: np.ndarray) -> bytes:
        return reliability_curves(
            {'Text': ('black', reliability(SURE, right))}, {'Text': ('black', right * 1.0)}
        )

    assert curves(RIGHT).startswith(b'\x89PNG')
    assert curves(RIGHT) == curves(RIGHT) != curves(~RIGHT)

    counts = np.array([[3, 1], [0, 0]])
    names = ['31-33 Manufacturing', '54 Professional, Scientific, and Technical Services']
    # The second sector was not asked about.
    assert sector_confusion(counts, names) != sector_confusion(counts.T, names)


def test_answers_are_counted_by_sector():
    taxonomy = Taxonomy.from_codes(
        ['31', '321', '3211', '32111', '321110', '44', '451', '4511', '45111', '451110']
    )
    answers = pl.DataFrame(
        {
            'code': ['321110', '321110', '451110'],
            'answers': [['321110'], ['451110', '321110'], ['451110']],
        }
    )
    assert _confusion(answers, taxonomy).tolist() == [[1, 1], [0, 1]]


def test_the_surest_answers_come_first():
    assert _selective(SURE, RIGHT) == pytest.approx([1, 1, 2 / 3, 2 / 4])
