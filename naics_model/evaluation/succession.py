"""Do new codes find what they came from? A new edition's codes among those of the edition before.

Distances in, figures by name out. What came from what is printed in the official concordance.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from naics_model.evaluation.retrieval import truth_ranks

Floats = NDArray[np.floating]

AT = (1, 3)


def predecessors_of(concordance: pl.DataFrame, before: Collection[str]) -> dict[str, list[str]]:
    """Return the codes that each new code came from, as the concordance has it.

    New is a code that the edition before does not have, whatever its title.

    Args:
        concordance: the edition's table.
        before: the six-digit codes of the edition before.

    Returns:
        New code -> its predecessors, both in the order of the table.
    """
    known = set(before)
    pairs = concordance.filter(
        ~pl.col('to_code').is_in(list(known)) & pl.col('from_code').is_in(list(known))
    )
    found: dict[str, list[str]] = {}
    for code, predecessor in pairs.select('to_code', 'from_code').iter_rows():
        found.setdefault(code, []).append(predecessor)
    return found


def succession_metrics(
    distance: Floats, truth: Mapping[str, Sequence[str]], before: Sequence[str]
) -> dict[str, float]:
    """Return how many predecessors stand among the nearest codes of the edition before.

    * `hit_at_1`, `hit_at_3`: share of new codes of which a predecessor is among the first k.
    * `recall_at_1`, `recall_at_3`: mean over the new codes of the share of their predecessors that
      is among the first k; a code that came from two has at most .5 at 1.
    * `mrr`: mean of 1 / rank of the first predecessor; `asked`: number of new codes.

    Ties count against the method. Without a new code there is no figure but `asked`.

    Args:
        distance: (m, b) from each new code to each code of the edition before.
        truth: the m new codes in the rows' order -> their predecessors, at least one.
        before: the b codes.
    """
    if not truth:
        return {'asked': 0.0}
    place = {code: column for column, code in enumerate(before)}
    rows = [(row, place[p]) for row, found in enumerate(truth.values()) for p in found]
    row, column = np.array(rows, np.intp).T
    ranks = truth_ranks(distance[row], column)
    first = np.full(len(truth), len(before) + 1)
    np.minimum.at(first, row, ranks)
    many = np.bincount(row, minlength=len(truth))
    figures = {'asked': float(len(truth)), 'mrr': float((1 / first).mean())}
    for k in AT:
        figures[f'hit_at_{k}'] = float((first <= k).mean())
        share = np.bincount(row, weights=ranks <= k, minlength=len(truth)) / many
        figures[f'recall_at_{k}'] = float(share.mean())
    return figures
