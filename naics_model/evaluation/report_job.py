"""The job that writes the report from what the others measured.

Files in, files out: results are gathered, pictures drawn, and nothing is measured again.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from naics_model import __version__
from naics_model.corpus.descriptions import taxonomy_of
from naics_model.encoder.table import read_embeddings
from naics_model.errors import DataError
from naics_model.evaluation import figures, figures_search
from naics_model.evaluation.calibration import reliability
from naics_model.evaluation.document import Document, to_html, to_markdown
from naics_model.evaluation.figures_curriculum import negatives_by_phase
from naics_model.evaluation.measure import points_of
from naics_model.evaluation.report import build_report
from naics_model.evaluation.report_parts import Evaluation
from naics_model.evaluation.runs import Run, read_run
from naics_model.jobs.reporting import JobResult, Reporter
from naics_model.protocols.protocol import PROTOCOLS
from naics_model.storage.files import (
    atomic_write,
    digests,
    read_json,
    read_parquet,
    sha256_of,
    write_json,
)
from naics_model.storage.layout import EditionFolder
from naics_model.taxonomy.distances import tree_distances
from naics_model.taxonomy.tree import RANGE_SECTORS, Taxonomy, sector_of
from naics_model.training.stages import STAGES

OWN_PROTOCOL = 'warm'
"""The protocol of the model that the graph trains."""

ABLATION = 'ablation'

NEEDED = ('baselines', 'text', 'refined')

LIBRARIES = ('torch', 'transformers', 'numpy', 'scipy', 'scikit-learn', 'bm25s')


def write_report(folder: EditionFolder, command: str, reporter: Reporter) -> Evaluation:
    """Gather the results of an edition and write the report into its evaluation folder.

    Reads the results of the baselines and of both sets of embeddings; those of the training jobs,
    of the bi-encoder, of the benchmarked protocols and of the ablation where they are there.

    Args:
        folder: the edition's files.
        command: the command line, for the record.
        reporter: told the result at the end.

    Raises:
        DataError: a result is missing, is not the result of a job, or was measured of other files
            than the edition has now.
    """
    results = {what: read_json(folder.evaluated(what)) for what in NEEDED}
    now = digests(
        [
            folder.descriptions,
            folder.activities,
            folder.phrases,
            folder.code_splits,
            folder.text_embeddings,
            folder.refined_embeddings,
        ]
    )
    for what, result in results.items():
        if differing := _differing(result, now):
            raise DataError(
                f'{folder.evaluated(what)} was measured of other files than the edition has now '
                f'({", ".join(differing)}): measure it again (`python -m naics_model.evaluation '
                f'{what} --edition {folder.edition}`).'
            )
    optional = {
        'bi_encoder': folder.evaluated('bi_encoder'),
        **{name: folder.benchmark(name) for name in PROTOCOLS},
        ABLATION: folder.ablation,
    }
    there = {name: read_json(path) for name, path in optional.items() if path.is_file()}
    left_out = tuple(name for name, result in there.items() if _differing(result, now))
    results |= {name: result for name, result in there.items() if name not in left_out}
    metrics: dict[str, float] = {}
    # The ablation's fits are short ones: their figures stand in a table of their own.
    for name, result in results.items():
        if name != ABLATION:
            metrics |= _of_protocol(name, result['metrics'])
    stages = _runs([folder.stage(name) / 'result.json' for name in STAGES])
    refinement = _runs([folder.refinement / 'result.json'])
    measured = results['text']['details']
    inputs = [
        folder.descriptions,
        folder.activities,
        folder.phrases,
        folder.code_splits,
        folder.text_embeddings,
        folder.refined_embeddings,
        *(folder.answers(what) for what in ('text', 'refined')),
        *(path for name, path in optional.items() if name in results),
    ]
    evaluation = Evaluation(
        edition=folder.edition,
        codes=measured['codes'],
        candidates=measured['candidates'],
        entries=measured['entries'],
        held_out=measured['held_out'],
        metrics=metrics,
        said={
            name: result['details']['said']
            for name, result in results.items()
            if 'said' in result['details']
        },
        left_out=left_out,
        stages=stages,
        refinement=refinement[0] if refinement else None,
        ablation=results[ABLATION]['details'] if ABLATION in results else None,
        inputs=tuple((str(path), sha256_of(path)) for path in inputs),
        commands=(
            *((name, result['command']) for name, result in results.items()),
            ('this report', command),
        ),
        software={
            'naics-lorentz': __version__,
            'Python': platform.python_version(),
            **{name: version(name) for name in LIBRARIES},
        },
    )
    document = build_report(evaluation, _pictures(folder, evaluation))
    written = _write(document, folder.evaluation)
    write_json({'edition': folder.edition, 'metrics': metrics}, written['metrics'])
    reporter.log(f'report: {written["evaluation_report_html"]}')
    reporter.finish(
        JobResult(
            metrics=metrics,
            files=written,
            details={**measured, 'gathered': sorted(results), 'left_out': list(left_out)},
        )
    )
    return evaluation


def _differing(result: Mapping[str, Any], now: Mapping[str, str]) -> list[str]:
    """Return which of the files that a result was made from are others now."""
    made_from = result['details'].get('inputs', {})
    return sorted(name for name, digest in made_from.items() if now.get(name) != digest)


def _of_protocol(name: str, metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the figures of a result that belong into the report.

    Of a benchmark those that its protocol asks for, because each protocol has models of its own.
    Under `warm` these are all: they stand beside the edition's own model, which is asked the same.
    """
    if name not in PROTOCOLS or name == OWN_PROTOCOL:
        return dict(metrics)
    return {
        figure: value
        for figure, value in metrics.items()
        if figure.split('/')[1].removesuffix('_unquoted') == name
    }


def _runs(results: list[Path]) -> tuple[Run, ...]:
    return tuple(read_run(path) for path in results if path.is_file())


def _pictures(folder: EditionFolder, evaluation: Evaluation) -> dict[str, bytes]:
    """Return the report's PNG images by file name."""
    codes = read_parquet(folder.descriptions)
    taxonomy = taxonomy_of(codes)
    points = [
        points_of(read_embeddings(path), name, colour)
        for name, path, colour in (
            ('Text', folder.text_embeddings, figures.TEXT_COLOUR),
            ('Refined', folder.refined_embeddings, figures.REFINED_COLOUR),
        )
    ]
    sectors = _sector_names(codes, taxonomy)
    answers = {
        (label, colour): read_parquet(folder.answers(name))
        for label, name, colour in (
            ('Text', 'text', figures.TEXT_COLOUR),
            ('Refined', 'refined', figures.REFINED_COLOUR),
        )
    }
    pictures = {
        'distances.png': figures.distance_violins(points, tree_distances(taxonomy)),
        'radius.png': figures.radius_by_level(points, taxonomy),
        'disk.png': figures.poincare_disks(points, taxonomy, sectors),
        'reliability.png': figures_search.reliability_curves(
            {
                label: (colour, reliability(*_sure(table)))
                for (label, colour), table in answers.items()
            },
            {
                label: (colour, _selective(*_sure(table)))
                for (label, colour), table in answers.items()
            },
        ),
        'sectors.png': figures_search.sector_confusion(
            _confusion(list(answers.values())[-1], taxonomy), list(sectors.values())
        ),
    }
    optional = {
        'losses.png': figures.loss_curves([(run.name, run.history) for run in evaluation.runs]),
        'negatives.png': negatives_by_phase(
            [(run.name, run.plan, run.history) for run in evaluation.stages]
        ),
    }
    return pictures | {name: drawn for name, drawn in optional.items() if drawn is not None}


def _sector_names(codes: pl.DataFrame, taxonomy: Taxonomy) -> dict[int, str]:
    printed = {code: text for text, code in RANGE_SECTORS.items()}
    return {
        int(i): f'{printed.get(taxonomy.codes[i], taxonomy.codes[i])} {codes["title"][int(i)]}'
        for i in np.flatnonzero(taxonomy.levels == 2)
    }


def _sure(answers: pl.DataFrame) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """Return the confidence (q,) of each first answer and whether it is right (q,)."""
    return answers['confidence'].to_numpy(), (answers['rank'] == 1).to_numpy()


def _selective(confidence: NDArray[np.floating], right: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Return (q,) the share right among the surest 1, 2, ..., q answers."""
    surest = right[np.argsort(-confidence, kind='stable')]
    return np.cumsum(surest) / np.arange(1, len(surest) + 1)


def _confusion(answers: pl.DataFrame, taxonomy: Taxonomy) -> NDArray[np.int64]:
    """Return (s, s) questions by sector of the right code and of the first answer."""
    place = {taxonomy.codes[i]: row for row, i in enumerate(np.flatnonzero(taxonomy.levels == 2))}
    counts = np.zeros((len(place), len(place)), np.int64)
    right = [place[sector_of(code)] for code in answers['code']]
    first = [place[sector_of(code)] for code in answers['answers'].list.first()]
    np.add.at(counts, (right, first), 1)
    return counts


def _write(document: Document, out: Path) -> dict[str, Path]:
    """Write the report and return its files by what they are."""
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
    # A picture of an older report that this one does not have would lie.
    drawn = {figure.name for figure in document.figures}
    for path in (out / 'figures').glob('*.png'):
        if path.name not in drawn:
            path.unlink()
    texts: dict[str, Any] = {
        'evaluation_report': to_markdown(document),
        'evaluation_report_html': to_html(document),
    }
    for name, text in texts.items():
        with atomic_write(written[name]) as temporary:
            temporary.write_text(text, encoding='utf-8')
    return written
