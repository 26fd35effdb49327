"""What measuring costs: the whole structure suite, and the search of every entry of the index.

    python benchmarks/evaluation.py > benchmarks/evaluation.md

Takes about a minute. The points are random: what a figure costs does not depend on its value. The
edition's codes and index are built from NAICS_SOURCE_DIR, from the package (`sample`), or from the
network.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from measuring import Figures, own_processes, print_head

from naics_model.corpus.editions import load_editions
from naics_model.dataset.steps import steps_of
from naics_model.encoder.backbones import MINILM
from naics_model.evaluation.asking import cold_figures, hard_part, warm_figures
from naics_model.evaluation.calibration import confidences
from naics_model.evaluation.questions import Questions, read_questions
from naics_model.evaluation.structure import structure_metrics
from naics_model.fusion.signals import Places, Scorer
from naics_model.fusion.weights import EQUAL, fit_weights, fused_distance
from naics_model.geometry.arrays import distances_to
from naics_model.storage.layout import EditionFolder

DIMENSIONS = 64
WIDTH = 384
# As many phrases as weights are fitted on in 2022.
VALIDATION = 1200


def points(count: int, seed: int) -> np.ndarray:
    """Return float32 (count, 64) tangent vectors of radius about 3."""
    drawn = np.random.default_rng(seed).normal(size=(count, DIMENSIONS))
    return (3 * drawn / np.sqrt(DIMENSIONS)).astype(np.float32)


def places(count: int, seed: int) -> Places:
    """Return both readings of as many texts: points, and unit vectors (count, 384)."""
    drawn = np.random.default_rng(seed + 100).normal(size=(count, WIDTH)).astype(np.float32)
    return Places(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), points(count, seed))


def asked(folder: EditionFolder) -> Questions:
    return read_questions(folder.descriptions, folder.activities)


def nothing(folder: EditionFolder) -> None:
    asked(folder)


def structure(folder: EditionFolder) -> int:
    questions = asked(folder)
    codes = points(len(questions.taxonomy), 0)
    distance = distances_to(codes, codes, 1.0)
    return len(structure_metrics((distance + distance.T) / 2, questions.taxonomy, questions.titles))


def cold(folder: EditionFolder) -> int:
    questions = asked(folder)
    distance = distances_to(
        points(len(questions.texts), 1), points(len(questions.candidates), 2), 1.0
    )
    return len(cold_figures(distance, questions))


def warm(folder: EditionFolder) -> int:
    questions = asked(folder)
    scorer = scorer_of(questions)
    distance = fused_distance(scorer.scores(places(int(questions.held_out.sum()), 1)), EQUAL)
    found = warm_figures(distance, questions, hard_part(questions))
    confidences(distance, questions.owners[questions.held_out])
    return len(found)


def weights(folder: EditionFolder) -> int:
    questions = asked(folder)
    truth = questions.owners[~questions.held_out][:VALIDATION]
    return len(fit_weights(scorer_of(questions).scores(places(len(truth), 4)), truth))


def scorer_of(questions: Questions) -> Scorer:
    known = ~questions.held_out
    return Scorer(
        places(len(questions.candidates), 2),
        1.0,
        places(int(known.sum()), 3).unit,
        questions.owners[known],
    )


def build(folder: EditionFolder) -> None:
    source = os.environ.get('NAICS_SOURCE_DIR')
    for step in steps_of(folder, Path(source) if source else None, MINILM):
        if step.name.endswith('_workbook') or step.name in ('descriptions', 'activities'):
            step.run(lambda line: None)


def row(name: str, took: Figures, base: Figures, bars: tuple[str, str]) -> None:
    print(
        f'| {name} | {took.value or ""} | {took.cpu - base.cpu:.1f} | {bars[0]} | '
        f'{took.peak_mb:,.0f} | {bars[1]} |',
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--edition', default='2022', choices=list(load_editions()))
    options = parser.parse_args()
    print_head('Evaluation', 'evaluation.py')
    with tempfile.TemporaryDirectory() as scratch, own_processes() as apply:
        folder = EditionFolder(Path(scratch), options.edition)
        build(folder)
        questions = asked(folder)
        print(
            f'Edition {options.edition}: {len(questions.taxonomy):,} codes, '
            f'{len(questions.texts):,} entries, {DIMENSIONS} dimensions. Each line is a process '
            'of its own; CPU-seconds are without imports and reading, memory is with them.\n'
        )
        print('| work | figures | CPU-seconds | bar | peak memory, MB | bar |')
        print('|---|---:|---:|---:|---:|---:|')
        base = apply(nothing, folder)
        lines: tuple[tuple[str, Callable[..., int | None], tuple[str, str]], ...] = (
            ('imports and reading alone', nothing, ('', '')),
            ('structure, all pairs', structure, ('30', '2,000')),
            ('every entry asked, none known', cold, ('10', '')),
            ('held-out entries asked, the others known, with confidence', warm, ('', '')),
            (f'weights fitted on {VALIDATION:,} entries', weights, ('', '')),
        )
        for name, work, bars in lines:
            row(name, base if work is nothing else apply(work, folder), base, bars)


if __name__ == '__main__':
    main()
