"""Do unseen codes fall under their parents? For codes that were hidden from training.

Distances in, figures by name out; in between, the rank of each asked code's parent, so that the
answers of several models can be counted together. Which codes were hidden, and how, is the business
of `protocols`; where an unseen code stands comes from its texts alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from naics_model.evaluation.correlation import spearman
from naics_model.evaluation.ranking import parent_ranks, trivial_edges
from naics_model.evaluation.retrieval import retrieval_metrics
from naics_model.taxonomy.distances import tree_distances
from naics_model.taxonomy.tree import Taxonomy

Floats = NDArray[np.floating]

HITS = (1, 5)


@dataclass(frozen=True)
class Placements:
    """Where the parents of the asked codes stand.

    Attributes:
        codes: (m,) indices of the asked codes in their taxonomy.
        ranks: (m,) of the parent among the codes one level up, from 1.
        six: (m,) True for six-digit codes.
        trivial: (m,) True where finding the parent proves little, see `ranking.trivial_edges`.
    """

    codes: NDArray[np.intp]
    ranks: NDArray[np.integer]
    six: NDArray[np.bool_]
    trivial: NDArray[np.bool_]


def placements(
    distance: Floats, taxonomy: Taxonomy, titles: Sequence[str], asked: NDArray[np.bool_]
) -> Placements:
    """Return where the parents of the asked codes stand.

    Args:
        distance: (n, n); the diagonal is not read.
        taxonomy: the n codes.
        titles: (n,).
        asked: (n,) True for the codes that are asked about; sectors, which have no parent, do not
            count.
    """
    children, ranks = parent_ranks(distance, taxonomy)
    here = asked[children]
    codes = children[here]
    return Placements(
        codes, ranks[here], taxonomy.levels[codes] == 6, trivial_edges(taxonomy, titles)[codes]
    )


def together(parts: Sequence[Placements]) -> Placements:
    """Return the answers of several models, each asked about codes of its own, as one.

    Args:
        parts: at least one, of one taxonomy.
    """
    return Placements(
        *(
            np.concatenate([getattr(part, field) for part in parts])
            for field in ('codes', 'ranks', 'six', 'trivial')
        )
    )


def placement_figures(placed: Placements) -> dict[str, float]:
    """Return how often the parent of a code is the nearest code one level up.

    * `parent_hit_at_1`, `parent_hit_at_5`, `parent_mrr`: over the six-digit codes that are asked
      and whose edge is not trivial (see `ranking.trivial_edges`); `asked` is their number.
    * `all_levels_parent_hit_at_1`, ..., `all_levels_asked`: over the asked codes of every level.
    * `trivial_parent_hit_at_1`, `trivial_asked`: over the trivial edges, which prove little.

    Each code counts once. Figures over no code are left out.
    """
    six, trivial = placed.six, placed.trivial
    figures: dict[str, float] = {}
    for prefix, chosen, hits in (
        ('', six & ~trivial, HITS),
        ('all_levels_', ~trivial, HITS),
        ('trivial_', trivial, (1,)),
    ):
        found = placed.ranks[chosen]
        figures[f'{prefix}asked'] = float(len(found))
        if len(found):
            figures |= {f'{prefix}parent_hit_at_{k}': float((found <= k).mean()) for k in hits}
            figures[f'{prefix}parent_mrr'] = float((1 / found).mean())
    return figures


def placement_metrics(
    distance: Floats, taxonomy: Taxonomy, titles: Sequence[str], asked: NDArray[np.bool_]
) -> dict[str, float]:
    """Return `placement_figures` of `placements`, which has the arguments."""
    return placement_figures(placements(distance, taxonomy, titles, asked))


def unseen_metrics(
    distance: Floats,
    taxonomy: Taxonomy,
    asked: NDArray[np.bool_],
    from_entries: Floats,
    owners: NDArray[np.integer],
    candidate_codes: Sequence[str],
) -> dict[str, float]:
    """Return how well unseen codes fit into the tree, and how well text finds them.

    * `spearman`: correlation of distance and tree distance over all pairs of an unseen code and one
      that was seen.
    * `hit_at_1`, `mrr`, ...: the entries of unseen codes, asked among all candidates (see
      `retrieval.retrieval_metrics`).

    Args:
        distance: (n, n) between codes.
        taxonomy: the n codes.
        asked: (n,) True for the codes that were not seen.
        from_entries: (e, c) from each entry of an unseen code to each candidate.
        owners: (e,) the right candidate of each.
        candidate_codes: (c,) their codes.
    """
    pairs = np.ix_(asked, ~asked)
    return {
        'spearman': spearman(
            distance[pairs].ravel(), tree_distances(taxonomy)[pairs].ravel().astype(float)
        ),
        **retrieval_metrics(from_entries, owners, candidate_codes),
    }
