"""From a person's words to the right code: ranks of the true code among the six-digit codes.

Arrays in, figures by name out. What is asked, and what may be known then, is said in `asking`; how
queries become distances is the business of `measure` and `baselines`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from naics_model.errors import DataError
from naics_model.taxonomy.tree import sector_of

Floats = NDArray[np.floating]

HITS = (1, 5, 10)
PREFIXES = (2, 3, 4, 5)


def truth_ranks(distance: Floats, truth: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the rank (1 is best) of each query's true code.

    Ties are broken pessimistically: a candidate exactly as near as the true code stands before
    it. A query that a method knows nothing about, all candidates equal, thus comes last.

    Args:
        distance: (q, c), smaller is better.
        truth: (q,) column of the true code.
    """
    own = distance[np.arange(len(truth)), truth]
    return (distance <= own[:, None]).sum(axis=1, dtype=np.int64)


def retrieval_metrics(
    distance: Floats, truth: NDArray[np.integer], codes: Sequence[str]
) -> dict[str, float]:
    """Return the retrieval figures, all in 0 to 1.

    Each query counting once (micro):

    * `hit_at_1`, `hit_at_5`, `hit_at_10`: share of queries whose true code is among the first k.
    * `mrr`: mean of 1 / rank of the true code (Voorhees 1999).
    * `prefix_accuracy_2` ... `_5`: share of queries whose first answer agrees with the true code
      in the first digits; at 2 digits the sector counts (31, 32, 33 are one). If several
      candidates are first together, all of them must agree.

    Each true code counting once, however many queries ask for it (macro):

    * `macro_hit_at_1` ... `_10`, `macro_mrr`: mean over the codes that are true for some query of
      the mean over their queries.

    Args:
        distance: (q, c) from each query to each candidate, smaller is better.
        truth: (q,) column of each query's true code.
        codes: the c candidate codes.

    Raises:
        DataError: no queries, shapes that disagree, or a distance that is not finite.
    """
    if len(truth) == 0:
        raise DataError(
            'There are no held-out activities to ask about: build the activities of this edition '
            'again.'
        )
    if distance.shape != (len(truth), len(codes)):
        raise DataError(
            f'Retrieval needs {len(truth)} x {len(codes)} distances, but got {distance.shape}.'
        )
    if not np.isfinite(distance).all():
        raise DataError(
            'Some distances from queries to codes are not finite: the model or the embeddings are '
            'broken, train them again.'
        )
    ranks = truth_ranks(distance, truth)
    scores: dict[str, Floats] = {f'hit_at_{k}': (ranks <= k).astype(np.float64) for k in HITS}
    scores['mrr'] = 1 / ranks
    figures = {name: float(score.mean()) for name, score in scores.items()}

    first = distance == distance.min(axis=1, keepdims=True)
    for digits in PREFIXES:
        prefixes = [sector_of(c) if digits == 2 else c[:digits] for c in codes]
        # Numbers compare in a tenth of the time of texts, and there are millions.
        group = np.unique(prefixes, return_inverse=True)[1].astype(np.int32)
        wrong = first & (group[None, :] != group[truth][:, None])
        figures[f'prefix_accuracy_{digits}'] = float((~wrong.any(axis=1)).mean())

    return figures | {f'macro_{name}': macro_mean(score, truth) for name, score in scores.items()}


def macro_mean(scores: Floats, truth: NDArray[np.integer]) -> float:
    """Return the mean over codes of the mean over each code's queries.

    Args:
        scores: (q,) one figure of each query, q at least 1.
        truth: (q,) number of each query's true code; codes without a query do not count.
    """
    asked = np.bincount(truth)
    present = asked > 0
    return float((np.bincount(truth, weights=scores)[present] / asked[present]).mean())


def hard_queries(nearest: NDArray[np.integer], truth: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Return (q,) True where the nearest train entry is of another code than the query.

    Of the other queries someone has asked nearly the same before: copying the code of the nearest
    entry answers them, so that they show memory. What "nearest" means is the caller's choice, and
    should be one for all methods that are compared, or each is asked other queries.

    Args:
        nearest: (q,) column of the code of each query's nearest train entry; -1, which is hard,
            where no entry has anything in common with the query.
        truth: (q,) column of each query's true code.

    Raises:
        DataError: the lengths disagree.
    """
    if nearest.shape != truth.shape:
        raise DataError(
            f'Each query needs one nearest train entry, but there are {len(nearest)} for '
            f'{len(truth)} queries: pass one code for each query.'
        )
    return nearest != truth


def hard_metrics(
    distance: Floats,
    truth: NDArray[np.integer],
    codes: Sequence[str],
    hard: NDArray[np.bool_],
) -> dict[str, float]:
    """Return the figures of `retrieval_metrics` over the hard queries alone, and their `share`.

    Args:
        distance: (q, c).
        truth: (q,).
        codes: the c candidate codes.
        hard: (q,) True for the queries that count (see `hard_queries`).

    Returns:
        `share`, the share of queries that are hard, 0 to 1; with it alone where none is, because
        then the others are undefined.

    Raises:
        DataError: as `retrieval_metrics`, or `hard` does not have one value for each query.
    """
    if hard.shape != truth.shape:
        raise DataError(
            f'{len(hard)} values say which queries are hard, but there are {len(truth)} queries: '
            'pass one for each query.'
        )
    if not hard.any():
        return {'share': 0.0}
    return {
        'share': float(hard.mean()),
        **retrieval_metrics(distance[hard], truth[hard], codes),
    }
