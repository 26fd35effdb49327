"""The job that measures one table of embeddings together with the encoder that places questions.

Files in, figures out; every computation is in the modules that it calls. The protocol is `warm`:
held-out entries are asked; the phrases that were trained on are known when a question comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from naics_model.encoder.pretrained import CONFIG_FILE
from naics_model.encoder.queries import check_one_space, encode_texts
from naics_model.encoder.table import read_embeddings
from naics_model.evaluation.asking import (
    answers_table,
    exclusion_figures,
    grouped,
    hard_part,
    warm_figures,
)
from naics_model.evaluation.calibration import calibration_error, confidences, reliability
from naics_model.evaluation.fused import Distances, fused_ranking
from naics_model.evaluation.measure import points_of, same_codes
from naics_model.evaluation.questions import Questions, exclusions_of, read_questions
from naics_model.evaluation.radius import collapse_metrics, radius_metrics
from naics_model.evaluation.structure import structure_metrics
from naics_model.fusion.known import read_known
from naics_model.fusion.signals import SIGNALS
from naics_model.geometry.arrays import distances_to
from naics_model.jobs.command import require_file
from naics_model.jobs.reporting import JobResult, Reporter
from naics_model.storage.files import digests, read_parquet, write_json, write_parquet


@dataclass(frozen=True)
class Inputs:
    """What the job reads.

    Attributes:
        name: what the figures are filed under, such as `text`.
        embeddings, descriptions, activities, phrases: Parquet files of one edition.
        model: the folder of the exported encoder, for the questions.
        queries: where encoded questions are kept.
        flat: whether the flat reading is measured, too. Refinement leaves it as it is, so that once
            is enough.
    """

    name: str
    embeddings: Path
    descriptions: Path
    activities: Path
    phrases: Path
    model: Path
    queries: Path
    flat: bool


def measure_embeddings(inputs: Inputs, out: Path, reporter: Reporter) -> None:
    """Measure structure, radius, collapse, search and exclusions, and write the result.

    Args:
        inputs: what to read.
        out: folder of answers.parquet, what was answered to each question, of
            answers_nearest.parquet, the same by the fused ranking, which knows the phrases, and
            perhaps of answers_flat.parquet.
        reporter: told the progress, and the result at the end.

    Raises:
        DataError: a file is missing, or the files are not of one edition and one model.
    """
    # Everything there? Better asked before minutes of measuring than after.
    for path in (inputs.embeddings, inputs.descriptions, inputs.activities, inputs.phrases):
        require_file(path, 'The file')
    require_file(inputs.model / CONFIG_FILE, 'The model')
    questions = read_questions(inputs.descriptions, inputs.activities)
    embeddings = read_embeddings(inputs.embeddings)
    same_codes(embeddings, questions.taxonomy.codes, inputs.name)
    points = points_of(embeddings, inputs.name, '')
    metrics = {
        **grouped(
            'structure', structure_metrics(points.distance, questions.taxonomy, questions.titles)
        ),
        **grouped('radius', radius_metrics(points.radius, questions.taxonomy)),
        **grouped('collapse', collapse_metrics(points.distance, points.tangent)),
    }
    reporter.log('structure of all codes measured')
    exclusions = exclusions_of(read_parquet(inputs.descriptions), questions.taxonomy)
    known = read_known(inputs.phrases, questions.candidate_codes)
    asked = questions.entries(questions.held_out)
    texts = list(dict.fromkeys([*asked, *known.texts, *exclusions.texts]))
    encoded = encode_texts(inputs.model, texts, inputs.queries, reporter.log)
    check_one_space(embeddings, encoded)
    from_sentences = distances_to(
        encoded.of(exclusions.texts), embeddings.tangent, embeddings.curvature
    )
    metrics |= exclusion_figures(from_sentences, exclusions)
    ranking = fused_ranking(embeddings, questions.candidates, encoded, known, asked)
    reporter.log(
        'weights of the fused ranking: '
        + ', '.join(f'{name} {w:.2f}' for name, w in zip(SIGNALS, ranking.weights, strict=True))
    )
    rankings = {'': ranking.codes, '_nearest': ranking.fused}
    if inputs.flat:
        rankings['_flat'] = ranking.flat
    named = {f'{inputs.name}/{key}': value for key, value in metrics.items()}
    files, hard = {}, hard_part(questions)
    for ending, distance in rankings.items():
        written = files[f'answers{ending}'] = out / f'answers{ending}.parquet'
        figures = _warm(questions, distance, hard, written)
        named |= {f'{inputs.name}{ending}/{key}': value for key, value in figures.items()}
    written = out / 'metrics.json'
    write_json(named, written)
    reporter.finish(
        JobResult(
            metrics=named,
            files={'metrics': written, **files},
            details={
                'codes': len(questions.taxonomy),
                'candidates': len(questions.candidates),
                'entries': len(questions.texts),
                'held_out': int(questions.held_out.sum()),
                'inputs': digests(
                    [inputs.embeddings, inputs.descriptions, inputs.activities, inputs.phrases]
                ),
            },
        )
    )


def _warm(
    questions: Questions, distance: Distances, hard: NDArray[np.bool_], answers: Path
) -> dict[str, float]:
    """Measure a ranking of the held-out entries, and write what was answered."""
    truth = questions.owners[questions.held_out]
    sure = confidences(distance, truth)
    table = answers_table(distance, questions, sure)
    write_parquet(table, answers)
    error = calibration_error(reliability(sure, (table['rank'] == 1).to_numpy()))
    return warm_figures(distance, questions, hard) | {'warm/calibration_error': error}
