"""From a person's words to the right code: ranks of the true code among the six-digit codes.

Arrays in, figures by name out. The queries are held-out activities, which stand in no text that
the model reads, so these are the figures that generalise. How queries become distances is the
business of `job` (hyperbolic) and `baselines`.
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
    """Return the retrieval figures, each query counting once.

    * `hit_at_1`, `hit_at_5`, `hit_at_10`: share of queries whose true code is among the first k.
    * `mrr`: mean of 1 / rank of the true code.
    * `prefix_accuracy_2` ... `_5`: share of queries whose first answer agrees with the true code
      in the first digits; at 2 digits the sector counts (31, 32, 33 are one). If several
      candidates are first together, all of them must agree.

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
    figures = {f'hit_at_{k}': float((ranks <= k).mean()) for k in HITS}
    figures['mrr'] = float((1 / ranks).mean())

    first = distance == distance.min(axis=1, keepdims=True)
    for digits in PREFIXES:
        prefix = np.array([sector_of(c) if digits == 2 else c[:digits] for c in codes])
        wrong = first & (prefix[None, :] != prefix[truth][:, None])
        figures[f'prefix_accuracy_{digits}'] = float((~wrong.any(axis=1)).mean())
    return figures
