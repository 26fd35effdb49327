"""The job that measures one table of embeddings together with the encoder that places questions.

Files in, figures out; every computation is in the modules that it calls. The protocol is `warm`:
held-out entries are asked, the others may have been read, and are known when a question comes.
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
from naics_model.evaluation.measure import (
    distances_to,
    nearest_known,
    points_of,
    same_codes,
)
from naics_model.evaluation.questions import Questions, exclusions_of, read_questions
from naics_model.evaluation.radius import collapse_metrics, radius_metrics
from naics_model.evaluation.structure import structure_metrics
from naics_model.jobs.command import require_file
from naics_model.jobs.reporting import JobResult, Reporter
from naics_model.storage.files import digests, read_parquet, write_json, write_parquet


@dataclass(frozen=True)
class Inputs:
    """What the job reads.

    Attributes:
        name: what the figures are filed under, such as `text`.
        embeddings, descriptions, activities: Parquet files of one edition.
        model: the folder of the exported encoder, for the questions.
        queries: where encoded questions are kept.
    """

    name: str
    embeddings: Path
    descriptions: Path
    activities: Path
    model: Path
    queries: Path


def measure_embeddings(inputs: Inputs, out: Path, reporter: Reporter) -> None:
    """Measure structure, radius, collapse, search and exclusions, and write the result.

    Args:
        inputs: what to read.
        out: folder of answers.parquet, what was answered to each question, and of
            answers_nearest.parquet, the same with the known entries beside the codes.
        reporter: told the progress, and the result at the end.

    Raises:
        DataError: a file is missing, or the files are not of one edition and one model.
    """
    # Everything there? Better asked before minutes of measuring than after.
    for path in (inputs.embeddings, inputs.descriptions, inputs.activities):
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
    texts = list(dict.fromkeys([*questions.texts, *exclusions.texts]))
    encoded = encode_texts(inputs.model, texts, inputs.queries, reporter.log)
    check_one_space(embeddings, encoded)
    from_sentences = distances_to(
        encoded.of(exclusions.texts), embeddings.tangent, embeddings.curvature
    )
    metrics |= exclusion_figures(from_sentences, exclusions)
    known, files = _warm(questions, embeddings, encoded, metrics, out)
    found = {inputs.name: metrics, f'{inputs.name}_nearest': known}
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
    questions: Questions,
    embeddings: Embeddings,
    encoded: Encoded,
    metrics: dict[str, float],
    out: Path,
) -> tuple[dict[str, float], dict[str, Path]]:
    """Ask the held-out entries, without and with the known ones beside the codes.

    Adds the figures without them to `metrics`.

    Returns:
        the figures with them, and the files written.
    """
    hard = hard_part(questions)
    asked = questions.entries(questions.held_out)
    known = ~questions.held_out
    own = distances_to(
        encoded.of(asked), embeddings.tangent[questions.candidates], embeddings.curvature
    )
    metrics |= warm_figures(own, questions, hard)
    nearest = nearest_known(
        encoded.of(asked),
        encoded.of(questions.entries(known)),
        questions.owners[known],
        len(questions.candidates),
        embeddings.curvature,
    )
    both = own + nearest
    figures = warm_figures(both, questions, hard)
    truth = questions.owners[questions.held_out]
    files = {}
    for distance, got, name in ((own, metrics, 'answers'), (both, figures, 'answers_nearest')):
        sure = confidences(distance, truth)
        table = answers_table(distance, questions, sure)
        got['warm/calibration_error'] = calibration_error(
            reliability(sure, (table['rank'] == 1).to_numpy())
        )
        files[name] = out / f'{name}.parquet'
        write_parquet(table, files[name])
    return figures, files
