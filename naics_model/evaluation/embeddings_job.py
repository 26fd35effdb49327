"""The job that measures one table of embeddings together with the encoder that places questions.

Files in, figures out; every computation is in the modules that it calls. The protocol is `warm`:
held-out entries are asked; the phrases that were trained on are known when a question comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from naics_model.encoder.pretrained import CONFIG_FILE
from naics_model.encoder.queries import Encoded, check_one_space, encode_texts
from naics_model.encoder.table import Embeddings, read_embeddings
from naics_model.evaluation.asking import (
    answers_table,
    exclusion_figures,
    grouped,
    hard_part,
    warm_figures,
)
from naics_model.evaluation.calibration import calibration_error, confidences, reliability
from naics_model.evaluation.fused import Ranking, fused_ranking
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
    """

    name: str
    embeddings: Path
    descriptions: Path
    activities: Path
    phrases: Path
    model: Path
    queries: Path


def measure_embeddings(inputs: Inputs, out: Path, reporter: Reporter) -> None:
    """Measure structure, radius, collapse, search and exclusions, and write the result.

    Args:
        inputs: what to read.
        out: folder of answers.parquet, what was answered to each question, and of
            answers_nearest.parquet, the same by the fused ranking, which knows the phrases.
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
    figures, files = _warm(questions, ranking, out)
    found = {
        inputs.name: metrics | figures['answers'],
        f'{inputs.name}_flat': figures['answers_flat'],
        f'{inputs.name}_nearest': figures['answers_nearest'],
    }
    named = {f'{method}/{key}': v for method, got in found.items() for key, v in got.items()}
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
                'inputs': digests([inputs.embeddings, inputs.descriptions, inputs.activities]),
            },
        )
    )


def _warm(
    questions: Questions, ranking: Ranking, out: Path
) -> tuple[dict[str, dict[str, float]], dict[str, Path]]:
    """Measure each ranking of the held-out entries, and write what was answered.

    Returns:
        the figures by the name of the file, and the files written.
    """
    hard = hard_part(questions)
    truth = questions.owners[questions.held_out]
    figures, files = {}, {}
    for name, distance in (
        ('answers', ranking.codes),
        ('answers_flat', ranking.flat),
        ('answers_nearest', ranking.fused),
    ):
        sure = confidences(distance, truth)
        table = answers_table(distance, questions, sure)
        files[name] = out / f'{name}.parquet'
        write_parquet(table, files[name])
        figures[name] = warm_figures(distance, questions, hard) | {
            'warm/calibration_error': calibration_error(
                reliability(sure, (table['rank'] == 1).to_numpy())
            )
        }
    return figures, files
