"""How well distances between codes follow the tree: the structure gate.

Arrays in, figures by name out; no files, nothing left to chance. D is the embedding distance, T
the number of steps through the virtual root (`taxonomy.distances.tree_distances`), 1 to 10.
Everything is measured over all pairs or all codes. Each figure is defined where it is computed:
`correlation`, `distortion`, `ranking`.

A model trained on all codes can memorise the tree without reading a word: these figures say
whether the geometry works, not whether the model understands text (see `retrieval`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from naics_model.errors import DataError
from naics_model.evaluation.correlation import (
    cophenetic_correlation,
    pearson,
    spearman,
    spearman_ceiling,
)
from naics_model.evaluation.distortion import average_distortion, worst_distortion
from naics_model.evaluation.ranking import (
    child_share,
    closure,
    edges,
    leaf_ndcg,
    leaves_of,
    parent_ranks,
    reconstruction,
    sibling_confusion,
    tie_share,
    trivial_edges,
)
from naics_model.taxonomy.distances import tree_distances
from naics_model.taxonomy.tree import Taxonomy

__all__ = ['spearman_ceiling', 'structure_metrics']

Floats = NDArray[np.floating]

NDCG_AT = (5, 10, 20)
CHILDREN_AT = 5
OUTSIDE = 0.001


def structure_metrics(
    distance: Floats, taxonomy: Taxonomy, titles: Sequence[str]
) -> dict[str, float]:
    """Return every structure figure of one set of embeddings.

    * `pearson`, `spearman`: correlation of D and T over all pairs; `..._within_sectors` over the
      pairs of one sector only, without the many pairs that cross sectors and are easy.
    * `cophenetic_correlation`: of the clustering of D over the leaves with T.
    * `average_distortion`; `worst_distortion`, `worst_distortion_middle`: the latter over the
      middle 99.8 % of pairs.
    * `edge_map`, `edge_mean_rank`: right answers are parent and children; `closure_map`,
      `closure_mean_rank`: the ancestors.
    * `parent_hit_at_1`, `parent_mrr`, and `..._nontrivial` without the trivial edges.
    * `child_at_5`, `sibling_confusion`, `leaf_ndcg_at_5`, `_10`, `_20`.
    * `tie_share`.

    A figure that the taxonomy leaves undefined (no non-trivial edge, no two related leaves), or
    that is infinite (a worst distortion where codes coincide), is left out, not invented.

    Args:
        distance: (n, n) embedding distances, symmetric; the diagonal is not read.
        taxonomy: the n codes, in the order of `distance`.
        titles: the n titles, to tell trivial edges.

    Raises:
        DataError: the shapes disagree, a distance is negative or not finite, or no code has a
            parent.
    """
    n = len(taxonomy)
    if distance.shape != (n, n) or len(titles) != n:
        raise DataError(
            f'Structure needs {n} x {n} distances and {n} titles for {n} codes, but got '
            f'{distance.shape} and {len(titles)}: embed the codes of this edition again.'
        )
    if not (taxonomy.parents >= 0).any():
        raise DataError(
            'No code has a parent, so there is no structure to measure: pass the codes of all '
            'levels.'
        )
    distance = distance.astype(np.float64)
    np.fill_diagonal(distance, 0.0)
    if not (np.isfinite(distance).all() and (distance >= 0).all()):
        raise DataError(
            'Some distances between codes are negative or not finite: the embeddings are broken, '
            'train them again.'
        )
    found = {
        **_distances(distance, taxonomy),
        **_ranks(distance, taxonomy, titles),
        'tie_share': tie_share(distance),
    }
    return {name: value for name, value in found.items() if value is not None}


def _distances(distance: Floats, taxonomy: Taxonomy) -> dict[str, float | None]:
    """Return the figures that compare lengths, None where undefined or infinite."""
    tree = tree_distances(taxonomy)
    pairs = np.triu_indices(len(taxonomy), k=1)
    d, t = distance[pairs], tree[pairs].astype(np.float64)
    inside = taxonomy.sectors[pairs[0]] == taxonomy.sectors[pairs[1]]
    leaves = leaves_of(taxonomy)
    among = np.ix_(leaves, leaves)
    worst = {
        'worst_distortion': worst_distortion(d, t),
        'worst_distortion_middle': worst_distortion(d, t, OUTSIDE),
    }
    return {
        'pearson': pearson(d, t),
        'spearman': spearman(d, t),
        'pearson_within_sectors': pearson(d[inside], t[inside]),
        'spearman_within_sectors': spearman(d[inside], t[inside]),
        'cophenetic_correlation': (
            cophenetic_correlation(distance[among], tree[among]) if len(leaves) > 1 else None
        ),
        'average_distortion': average_distortion(d, t)[0],
        # JSON knows no infinity, and a chart that has one shows nothing else.
        **{name: value if np.isfinite(value) else None for name, value in worst.items()},
    }


def _ranks(distance: Floats, taxonomy: Taxonomy, titles: Sequence[str]) -> dict[str, float | None]:
    """Return the figures that compare orders, None where undefined."""
    figures: dict[str, float | None] = {}
    for name, right in (('edge', edges(taxonomy)), ('closure', closure(taxonomy))):
        reached = reconstruction(distance, right)
        if reached is not None:
            figures[f'{name}_map'], figures[f'{name}_mean_rank'] = reached

    children, ranks = parent_ranks(distance, taxonomy)
    hard = ~trivial_edges(taxonomy, titles)[children]
    for suffix, chosen in (('', ranks), ('_nontrivial', ranks[hard])):
        if len(chosen):
            figures[f'parent_hit_at_1{suffix}'] = float((chosen == 1).mean())
            figures[f'parent_mrr{suffix}'] = float((1 / chosen).mean())

    figures[f'child_at_{CHILDREN_AT}'] = child_share(distance, taxonomy, CHILDREN_AT)
    figures['sibling_confusion'] = sibling_confusion(distance, taxonomy)
    for k, value in leaf_ndcg(distance, taxonomy, NDCG_AT).items():
        figures[f'leaf_ndcg_at_{k}'] = value
    return figures
