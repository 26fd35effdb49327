"""The groups of figures that a protocol has, from distances to candidates.

Arrays in, figures as `group/name` out. What a method may know when it is asked is the protocol's
business; how it gets its distances is the method's.

    cold, cold_unquoted      every entry asked, none known
    warm, warm_hard          held-out entries asked, the others known
    exclusions               sentences that name another code
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from naics_model.evaluation.baselines import nearest_entry
from naics_model.evaluation.exclusions import exclusion_metrics
from naics_model.evaluation.questions import Exclusions, Questions
from naics_model.evaluation.retrieval import (
    hard_metrics,
    hard_queries,
    retrieval_metrics,
    truth_ranks,
)

Floats = NDArray[np.floating]

ANSWERS = 5


def cold_figures(distance: Floats, questions: Questions) -> dict[str, float]:
    """Return `cold/...` over all entries, and `cold_unquoted/...` over those that no text quotes.

    Args:
        distance: (e, c) from every entry to every candidate.
        questions: what was asked.
    """
    codes, own = questions.candidate_codes, ~questions.quoted
    return {
        **grouped('cold', retrieval_metrics(distance, questions.owners, codes)),
        **grouped('cold_unquoted', retrieval_metrics(distance[own], questions.owners[own], codes)),
    }


def warm_figures(
    distance: Floats, questions: Questions, hard: NDArray[np.bool_]
) -> dict[str, float]:
    """Return `warm/...` over the held-out entries, and `warm_hard/...` over the hard ones.

    Args:
        distance: (q, c) from every held-out entry to every candidate.
        questions: what was asked.
        hard: (q,) see `hard_part`.
    """
    truth, codes = questions.owners[questions.held_out], questions.candidate_codes
    return {
        **grouped('warm', retrieval_metrics(distance, truth, codes)),
        **grouped('warm_hard', hard_metrics(distance, truth, codes, hard)),
    }


def hard_part(questions: Questions) -> NDArray[np.bool_]:
    """Return (q,) True for the held-out entries whose nearest known entry has another code.

    Nearest by the letters of the words (`baselines.nearest_entry`), for every method alike.
    """
    known = ~questions.held_out
    nearest = nearest_entry(questions.entries(known), questions.entries(questions.held_out))
    owners = questions.owners[known]
    codes = np.where(nearest >= 0, owners[nearest], -1)
    return hard_queries(codes, questions.owners[questions.held_out])


def exclusion_figures(distance: Floats, exclusions: Exclusions) -> dict[str, float]:
    """Return `exclusions/...`.

    Args:
        distance: (s, n) from every sentence to every code.
        exclusions: the sentences.
    """
    to_target = distance[exclusions.sentence, exclusions.target]
    to_code = distance[exclusions.sentence, exclusions.code]
    return grouped('exclusions', exclusion_metrics(to_target, to_code, exclusions.code))


def answers_table(distance: Floats, questions: Questions, confidence: Floats) -> pl.DataFrame:
    """Return what each held-out entry was answered, one row a question.

    Args:
        distance: (q, c) from every held-out entry to every candidate.
        questions: what was asked.
        confidence: (q,) in the first answer.

    Returns:
        text, code (the right one), rank (UInt32, of the right code, from 1), answers (the five
        nearest codes, the nearest first), confidence (Float32, 0 to 1).
    """
    codes = np.array(questions.candidate_codes)
    truth = questions.owners[questions.held_out]
    shown = min(ANSWERS, len(codes))
    return pl.DataFrame(
        {
            'text': questions.entries(questions.held_out),
            'code': codes[truth],
            'rank': truth_ranks(distance, truth).astype(np.uint32),
            'answers': codes[np.argsort(distance, axis=1, kind='stable')[:, :shown]].tolist(),
            'confidence': confidence.astype(np.float32),
        }
    )


def grouped(prefix: str, figures: Mapping[str, float]) -> dict[str, float]:
    """Return figures under `prefix/name`."""
    return {f'{prefix}/{name}': value for name, value in figures.items()}
