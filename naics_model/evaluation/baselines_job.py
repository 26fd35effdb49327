"""The job that measures what one gets without a trained model, in one run for all protocols.

Word statistics, a sentence encoder that never saw NAICS, and trees fitted without a text. Files in,
figures out; the methods themselves are in `baselines` and `ceilings`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from naics_model.errors import ConfigurationError
from naics_model.evaluation import baselines
from naics_model.evaluation.asking import (
    cold_figures,
    exclusion_figures,
    grouped,
    hard_part,
    warm_figures,
)
from naics_model.evaluation.ceilings import fit_tree
from naics_model.evaluation.placement import (
    Placements,
    placement_figures,
    placements,
    together,
)
from naics_model.evaluation.questions import (
    Questions,
    documents_of,
    exclusions_of,
    read_questions,
)
from naics_model.evaluation.sentences import SentenceEncoder
from naics_model.evaluation.structure import spearman_ceiling, structure_metrics
from naics_model.evaluation.succession import predecessors_of, succession_metrics
from naics_model.jobs.command import require_file
from naics_model.jobs.reporting import JobResult, Reporter
from naics_model.protocols.protocol import PROTOCOLS, Protocol
from naics_model.protocols.redaction import asked_descriptions
from naics_model.protocols.splits import hidden_codes, read_code_splits
from naics_model.storage.files import digests, read_parquet, write_json

Floats = NDArray[np.floating]
CEILING_DIMENSIONS = 32


Compare = Callable[[Sequence[str], Sequence[str]], Floats]
"""From c documents and q queries their distances (q, c); smaller is nearer."""


@dataclass(frozen=True)
class Inputs:
    """What the job reads.

    Attributes:
        descriptions, activities, code_splits: Parquet files of one edition.
        concordance, before: its concordance and the descriptions of the edition before; None where
            there is none.
        backbone: the frozen sentence encoder.
    """

    descriptions: Path
    activities: Path
    code_splits: Path
    concordance: Path | None
    before: Path | None
    backbone: str


def measure_baselines(inputs: Inputs, out: Path, reporter: Reporter) -> None:
    """Measure every baseline under every protocol, and write the result.

    Args:
        inputs: what to read.
        out: folder of metrics.json and result.json.
        reporter: told the progress, and the result at the end.

    Raises:
        DataError: a file is missing, or the files are not of one edition.
        ConfigurationError: one of concordance and edition before is given without the other.
    """
    if (inputs.concordance is None) != (inputs.before is None):
        raise ConfigurationError(
            'New codes are looked up in the edition before: give --concordance and --before, or '
            'neither.'
        )
    paths = (inputs.descriptions, inputs.activities, inputs.code_splits)
    for path in (*paths, inputs.concordance, inputs.before):
        if path is not None:
            require_file(path, 'The file')
    log = reporter.log
    questions = read_questions(inputs.descriptions, inputs.activities)
    encoder = SentenceEncoder(inputs.backbone, log)
    hard = hard_part(questions)
    metrics = {'edition/spearman_ceiling': spearman_ceiling(questions.taxonomy)}
    comparisons: dict[str, Compare] = {
        'bm25': baselines.bm25_distances,
        'tfidf': baselines.tfidf_distances,
        'zero_shot': encoder.distances,
    }
    for name, compare in comparisons.items():
        log(f'{name}: all questions')
        found = _one(compare, questions, hard, inputs)
        metrics |= grouped(name, found)
    log('lexical and nearest: held-out entries, the others known')
    metrics |= grouped('lexical', warm_figures(_lexical(questions), questions, hard))
    found = warm_figures(_nearest_sentences(encoder, questions), questions, hard)
    metrics |= grouped('zero_shot_nearest', found)
    # 1 - cosine of a vector and itself may come out a little below 0.
    distance = np.maximum(encoder.distances(questions.documents, questions.documents), 0.0)
    found = structure_metrics((distance + distance.T) / 2, questions.taxonomy, questions.titles)
    metrics |= grouped('zero_shot/structure', found)
    for name, hyperbolic in (('lorentz_fit', True), ('euclid_fit', False)):
        log(f'{name}: the tree fitted without a text')
        fitted = fit_tree(questions.taxonomy, dimensions=CEILING_DIMENSIONS, hyperbolic=hyperbolic)
        found = structure_metrics(fitted, questions.taxonomy, questions.titles)
        metrics |= grouped(f'{name}/structure', found)
    written = out / 'metrics.json'
    write_json(metrics, written)
    reporter.finish(
        JobResult(
            metrics=metrics,
            files={'metrics': written},
            details={
                'codes': len(questions.taxonomy),
                'candidates': len(questions.candidates),
                'entries': len(questions.texts),
                'held_out': int(questions.held_out.sum()),
                'backbone': inputs.backbone,
                'inputs': digests(paths),
            },
        )
    )


def _one(
    compare: Compare, questions: Questions, hard: NDArray[np.bool_], inputs: Inputs
) -> dict[str, float]:
    """Return the figures of a method that compares a query with the codes' own texts."""
    codes = read_parquet(inputs.descriptions)
    everything = compare(questions.candidate_documents, questions.texts)
    figures = cold_figures(everything, questions)
    # Knowing no entry is allowed under the warm protocol, too.
    figures |= warm_figures(everything[questions.held_out], questions, hard)
    exclusions = exclusions_of(codes, questions.taxonomy)
    if exclusions.texts:
        figures |= exclusion_figures(compare(questions.documents, exclusions.texts), exclusions)
    six = questions.taxonomy.levels == 6
    figures |= grouped(
        'parents', placement_figures(_placed(compare, questions, questions.documents, six))
    )
    splits = read_code_splits(inputs.code_splits)
    for protocol in PROTOCOLS.values():
        hiding = [part for part in protocol.parts or (protocol,) if part.hides]
        if hiding:
            placed = [_unseen(compare, questions, codes, splits, part) for part in hiding]
            figures |= grouped(protocol.name, placement_figures(together(placed)))
    if inputs.concordance is not None and inputs.before is not None:
        figures |= grouped(
            'editions', _succession(compare, codes, inputs.concordance, inputs.before)
        )
    return figures


def _unseen(
    compare: Compare,
    questions: Questions,
    codes: pl.DataFrame,
    splits: pl.DataFrame,
    protocol: Protocol,
) -> Placements:
    """Return where hidden codes find their parents, by the texts that a model is asked with."""
    hidden = set(hidden_codes(splits, protocol.hides or ''))
    documents = documents_of(asked_descriptions(codes, hidden))
    asked = np.array([code in hidden for code in questions.taxonomy.codes])
    return _placed(compare, questions, documents, asked)


def _placed(
    compare: Compare, questions: Questions, documents: Sequence[str], asked: NDArray[np.bool_]
) -> Placements:
    """Return where codes find their parents by their texts."""
    n = len(documents)
    distance = np.zeros((n, n), np.float32)
    rows = np.flatnonzero(asked)
    distance[rows] = compare(documents, [documents[int(i)] for i in rows])
    return placements(distance, questions.taxonomy, questions.titles, asked)


def _succession(
    compare: Compare, codes: pl.DataFrame, concordance: Path, before: Path
) -> dict[str, float]:
    """Return how well new codes find what they came from, by their texts."""
    old = read_parquet(before).filter(pl.col('level') == 6)
    truth = predecessors_of(read_parquet(concordance), old['code'].to_list())
    new = dict(zip(codes['code'], documents_of(codes), strict=True))
    if not truth:
        return succession_metrics(np.zeros((0, len(old))), truth, old['code'].to_list())
    distance = compare(documents_of(old), [new[code] for code in truth])
    return succession_metrics(distance, truth, old['code'].to_list())


def _lexical(questions: Questions) -> Floats:
    known = ~questions.held_out
    return baselines.lexical_distances(
        questions.candidate_documents,
        questions.entries(known),
        questions.owners[known],
        questions.entries(questions.held_out),
    )


def _nearest_sentences(encoder: SentenceEncoder, questions: Questions) -> Floats:
    known = ~questions.held_out
    return baselines.nearest_and_own_distances(
        encoder.vectors(questions.candidate_documents),
        encoder.vectors(questions.entries(known)),
        questions.owners[known],
        encoder.vectors(questions.entries(questions.held_out)),
    )
