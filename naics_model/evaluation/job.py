"""The evaluation job: read what training and refinement left, measure it, write the report.

The one place of this room with files and processes. Every computation is in the modules that it
calls.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from naics_model import __version__
from naics_model.encoder.table import read_embeddings
from naics_model.evaluation import baselines, figures
from naics_model.evaluation.document import to_html, to_markdown
from naics_model.evaluation.measure import check_one_space, points_of, query_distances
from naics_model.evaluation.questions import Questions, read_questions
from naics_model.evaluation.radius import collapse_metrics, radius_metrics
from naics_model.evaluation.report import Evaluation, build_report
from naics_model.evaluation.retrieval import retrieval_metrics
from naics_model.evaluation.runs import Run, read_run
from naics_model.evaluation.structure import spearman_ceiling, structure_metrics
from naics_model.jobs.command import require_file
from naics_model.jobs.reporting import JobResult, Reporter
from naics_model.storage.files import atomic_write, sha256_of, write_json
from naics_model.taxonomy.distances import tree_distances
from naics_model.taxonomy.tree import RANGE_SECTORS

LIBRARIES = ('torch', 'transformers', 'numpy', 'scipy', 'scikit-learn')


@dataclass(frozen=True)
class Inputs:
    """What the job reads.

    Attributes:
        text_embeddings, refined_embeddings, descriptions, activities: Parquet files.
        model: the folder of the exported encoder, for the queries.
        stage_results: `result.json` of each training stage, in order.
        refinement_result: that of the refinement.
        edition: the edition's name, for the title.
        max_queries: ask at most so many held-out activities.
        zero_shot_backbone: the frozen sentence encoder to compare with.
        command: the command line, for the record.
    """

    text_embeddings: Path
    refined_embeddings: Path
    descriptions: Path
    activities: Path
    model: Path
    stage_results: tuple[Path, ...]
    refinement_result: Path | None
    edition: str
    max_queries: int | None
    zero_shot_backbone: str
    command: str


def evaluate(inputs: Inputs, out: Path, reporter: Reporter) -> Evaluation:
    """Measure both sets of embeddings and both baselines, and write the report.

    Args:
        inputs: what to read.
        out: folder for evaluation_report.md, evaluation_report.html, metrics.json, figures/*.png.
        reporter: told the progress, and the result at the end.

    Raises:
        DataError: a file is missing, or the files are not of one edition and one model.
    """
    # Everything there? Better asked before an hour of measuring than after.
    files = _files(inputs)
    for path in files:
        require_file(path, 'The file')
    stages = tuple(read_run(path) for path in inputs.stage_results)
    refinement = read_run(inputs.refinement_result) if inputs.refinement_result else None
    questions = read_questions(inputs.descriptions, inputs.activities, inputs.max_queries)
    embeddings = {
        'text': read_embeddings(inputs.text_embeddings),
        'refined': read_embeddings(inputs.refined_embeddings),
    }
    check_one_space(embeddings, questions.taxonomy)

    metrics = {'edition/spearman_ceiling': spearman_ceiling(questions.taxonomy)}
    points = {
        'text': points_of(embeddings['text'], 'Text', figures.TEXT_COLOUR),
        'refined': points_of(embeddings['refined'], 'Refined', figures.REFINED_COLOUR),
    }
    for name, measured in points.items():
        reporter.log(f'structure of the {name} embeddings')
        metrics |= _code_metrics(name, measured, questions)

    distances = {
        **query_distances(
            inputs.model, embeddings, questions.candidates, questions.texts, reporter.log
        ),
        **_baseline_distances(inputs, questions, reporter.log),
    }
    for name, distance in distances.items():
        metrics |= _prefixed(
            f'{name}/retrieval',
            retrieval_metrics(distance, questions.truth, questions.candidate_codes),
        )

    pictures = _pictures(list(points.values()), questions, stages, refinement)
    evaluation = Evaluation(
        edition=inputs.edition,
        codes=len(questions.taxonomy),
        candidates=len(questions.candidates),
        queries=len(questions.texts),
        held_out=questions.held_out,
        metrics=metrics,
        stages=stages,
        refinement=refinement,
        inputs=tuple((str(path), sha256_of(path)) for path in files),
        command=inputs.command,
        software={
            'naics-lorentz': __version__,
            'Python': platform.python_version(),
            **{name: version(name) for name in LIBRARIES},
        },
    )
    written = _write(evaluation, pictures, out)
    reporter.log(f'report: {written["evaluation_report_html"]}')
    reporter.finish(
        JobResult(
            metrics=metrics,
            files=written,
            details={
                'edition': evaluation.edition,
                'codes': evaluation.codes,
                'candidates': evaluation.candidates,
                'queries': evaluation.queries,
                'held_out': evaluation.held_out,
            },
        )
    )
    return evaluation


def _files(inputs: Inputs) -> list[Path]:
    """Return every file that the job reads; of the model's folder the two that make a model."""
    return [
        inputs.text_embeddings,
        inputs.refined_embeddings,
        inputs.descriptions,
        inputs.activities,
        inputs.model / 'config.json',
        inputs.model / 'model.safetensors',
        *inputs.stage_results,
        *([inputs.refinement_result] if inputs.refinement_result else []),
    ]


def _code_metrics(name: str, points: figures.Points, questions: Questions) -> dict[str, float]:
    """Return the figures of one set of embeddings that need no query."""
    taxonomy = questions.taxonomy
    return {
        **_prefixed(
            f'{name}/structure', structure_metrics(points.distance, taxonomy, questions.titles)
        ),
        **_prefixed(f'{name}/radius', radius_metrics(points.radius, taxonomy)),
        **_prefixed(f'{name}/collapse', collapse_metrics(points.distance, points.tangent)),
    }


def _baseline_distances(
    inputs: Inputs, questions: Questions, log: Callable[[str], None]
) -> dict[str, NDArray[np.floating]]:
    """Return distances (q, c) of the same queries to the same candidates, by baseline."""
    documents = [questions.documents[i] for i in questions.candidates]
    log('baseline: TF-IDF')
    tfidf = baselines.tfidf_distances(documents, questions.texts)
    log('baseline: zero-shot encoder')
    zero_shot = baselines.zero_shot_distances(
        documents, questions.texts, backbone=inputs.zero_shot_backbone, progress=log
    )
    return {'tfidf': tfidf, 'zero_shot': zero_shot}


def _pictures(
    points: Sequence[figures.Points],
    questions: Questions,
    stages: Sequence[Run],
    refinement: Run | None,
) -> dict[str, bytes]:
    """Return the report's PNG images by file name."""
    taxonomy = questions.taxonomy
    printed = {code: text for text, code in RANGE_SECTORS.items()}
    sectors = {
        int(i): f'{printed.get(taxonomy.codes[i], taxonomy.codes[i])} {questions.titles[i]}'
        for i in np.flatnonzero(taxonomy.levels == 2)
    }
    runs = [*stages, *([refinement] if refinement else [])]
    pictures = {
        'distances.png': figures.distance_violins(points, tree_distances(taxonomy)),
        'radius.png': figures.radius_by_level(points, taxonomy),
        'disk.png': figures.poincare_disks(points, taxonomy, sectors),
    }
    losses = figures.loss_curves([(run.name, run.history) for run in runs])
    return pictures if losses is None else {**pictures, 'losses.png': losses}


def _write(evaluation: Evaluation, pictures: Mapping[str, bytes], out: Path) -> dict[str, Path]:
    """Write the report and return its files by what they are."""
    document = build_report(evaluation, pictures)
    written = {
        'evaluation_report': out / 'evaluation_report.md',
        'evaluation_report_html': out / 'evaluation_report.html',
        'metrics': out / 'metrics.json',
    }
    for figure in document.figures:
        path = out / 'figures' / figure.name
        written[f'figure_{path.stem}'] = path
        with atomic_write(path) as temporary:
            temporary.write_bytes(figure.png)
    # Without a history there is no such picture, and an older one would lie.
    if 'losses.png' not in pictures:
        (out / 'figures' / 'losses.png').unlink(missing_ok=True)
    for name, text in (
        ('evaluation_report', to_markdown(document)),
        ('evaluation_report_html', to_html(document)),
    ):
        with atomic_write(written[name]) as temporary:
            temporary.write_text(text, encoding='utf-8')
    write_json(
        {
            'edition': evaluation.edition,
            'codes': evaluation.codes,
            'candidates': evaluation.candidates,
            'queries': evaluation.queries,
            'held_out': evaluation.held_out,
            'metrics': dict(evaluation.metrics),
        },
        written['metrics'],
    )
    return written


def _prefixed(prefix: str, metrics: Mapping[str, float]) -> dict[str, float]:
    return {f'{prefix}/{name}': value for name, value in metrics.items()}
