"""How well distances between codes follow the tree: the structure gate.

Arrays in, figures by name out; no files, no randomness. D is the embedding distance, T the number
of steps through the virtual root (`taxonomy.distances.tree_distances`). Everything is measured
over all pairs or all codes. Where a rank is taken, a tie counts against the embedding, so that
collapsed points can not score by the order they happen to stand in.

A model trained on all codes can memorise the tree without reading a word: these figures say
whether the geometry works, not whether the model understands text (see `retrieval`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from naics_model.errors import DataError
from naics_model.taxonomy.distances import tree_distances
from naics_model.taxonomy.tree import LEVELS, Taxonomy

Floats = NDArray[np.floating]


def structure_metrics(
    distance: Floats, taxonomy: Taxonomy, titles: Sequence[str]
) -> dict[str, float]:
    """Return every structure figure of one set of embeddings.

    A figure that the taxonomy leaves undefined (no non-trivial edge, no two related leaves) is
    left out, not invented.

    Args:
        distance: (n, n) embedding distances, symmetric; the diagonal is not read.
        taxonomy: the n codes, in the order of `distance`.
        titles: the n titles, to tell trivial edges.

    Raises:
        DataError: the shapes disagree, or a distance is negative or not finite.
    """
    n = len(taxonomy)
    if distance.shape != (n, n) or len(titles) != n:
        raise DataError(
            f'Structure needs {n} x {n} distances and {n} titles for {n} codes, but got '
            f'{distance.shape} and {len(titles)}: embed the codes of this edition again.'
        )
    distance = distance.astype(np.float64)
    np.fill_diagonal(distance, 0.0)
    if not (np.isfinite(distance).all() and (distance >= 0).all()):
        raise DataError(
            'Some distances between codes are negative or not finite: the embeddings are broken, '
            'train them again.'
        )
    tree = tree_distances(taxonomy)
    pairs = np.triu_indices(n, k=1)
    d, t = distance[pairs], tree[pairs].astype(np.float64)
    inside = taxonomy.sectors[pairs[0]] == taxonomy.sectors[pairs[1]]

    figures = {
        'pearson': pearson(d, t),
        'spearman': spearman(d, t),
        'pearson_within_sectors': pearson(d[inside], t[inside]),
        'spearman_within_sectors': spearman(d[inside], t[inside]),
        'average_distortion': average_distortion(d, t)[0],
        'tie_share': tie_share(distance),
    }
    figures['edge_map'], figures['edge_mean_rank'] = edge_ranking(distance, tree)

    children, ranks = parent_ranks(distance, taxonomy)
    hard = ~trivial_edges(taxonomy, titles)[children]
    for suffix, chosen in (('', ranks), ('_nontrivial', ranks[hard])):
        if len(chosen):
            figures[f'parent_hit_at_1{suffix}'] = float((chosen == 1).mean())
            figures[f'parent_mrr{suffix}'] = float((1 / chosen).mean())

    ndcg = leaf_ndcg(distance, taxonomy, k=10)
    if ndcg is not None:
        figures['leaf_ndcg_at_10'] = ndcg
    return figures


def pearson(a: Floats, b: Floats) -> float:
    """Return the linear correlation of two vectors (m,), in -1 to 1.

    A constant vector correlates with nothing; the figure is then 0.
    """
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else 0.0


def spearman(a: Floats, b: Floats) -> float:
    """Return the rank correlation of two vectors (m,): Pearson of their mid-ranks.

    T has ten values only, so that a D without ties can not reach 1: see `spearman_ceiling`.
    """
    return pearson(rankdata(a), rankdata(b))


def average_distortion(d: Floats, t: Floats) -> tuple[float, float]:
    """Return (mean of |D / (s T) - 1|, s) for the one scale s > 0 that makes the mean smallest.

    With r = D / T and u = 1 / s the mean is that of r |u - 1 / r|, so the best u is the median of
    1 / r weighted by r: exact, without a search.

    Args:
        d: (m,) embedding distances.
        t: (m,) tree distances, positive.
    """
    ratio = np.sort(d / t)[::-1]
    weight = np.cumsum(ratio)
    if weight[-1] == 0:
        return 1.0, 0.0
    scale = float(ratio[np.searchsorted(weight, weight[-1] / 2)])
    return float(np.abs(ratio / scale - 1).mean()), scale


def edge_ranking(distance: Floats, tree: NDArray[np.integer]) -> tuple[float, float]:
    """Return (mean average precision, mean rank) of each code's neighbours in the tree.

    For each code all others are ranked by D; its parent and its children are the right answers.
    Average precision is the mean, over the right answers in order, of k / (k + wrong answers not
    farther than the k-th); the rank of a right answer counts only the wrong ones before it, plus
    one. Both are 1 when every neighbour is nearer than every other code. Codes without a
    neighbour are left out. The "edge" reconstruction of Nickel and Kiela (2017).

    Args:
        distance: (n, n).
        tree: (n, n), 1 for parent and child.
    """
    precisions, ranks = [], []
    for row, steps in zip(distance, tree, strict=True):
        right = np.sort(row[steps == 1])
        if len(right) == 0:
            continue
        # side='right': a wrong answer at the same distance stands before the right one.
        before = np.searchsorted(np.sort(row[steps > 1]), right, side='right')
        k = np.arange(1, len(right) + 1)
        precisions.append((k / (k + before)).mean())
        ranks.append(before + 1)
    if not ranks:
        raise DataError('No code has a parent or a child: the list of codes is not a taxonomy.')
    return float(np.mean(precisions)), float(np.concatenate(ranks).mean())


def parent_ranks(
    distance: Floats, taxonomy: Taxonomy
) -> tuple[NDArray[np.intp], NDArray[np.integer]]:
    """Return each code below a sector and the rank of its parent among the codes one level up.

    Returns:
        children (m,): indices of the codes; ranks (m,): 1 is best; a code as near as the parent
        stands before it.
    """
    children = np.flatnonzero(taxonomy.parents >= 0)
    ranks = np.zeros(len(children), np.int64)
    for level in LEVELS[1:]:
        rows = np.flatnonzero(taxonomy.levels[children] == level)
        at_level = children[rows]
        candidates = np.flatnonzero(taxonomy.levels == level - 1)
        to_parent = distance[at_level, taxonomy.parents[at_level]]
        ranks[rows] = (distance[np.ix_(at_level, candidates)] <= to_parent[:, None]).sum(1)
    return children, ranks


def trivial_edges(taxonomy: Taxonomy, titles: Sequence[str]) -> NDArray[np.bool_]:
    """Return (n,) True where finding the parent proves little: an only child, or the same title.

    In 2022 686 five-digit codes have one six-digit child, which repeats them.
    """
    plain = np.array([title.strip().casefold() for title in titles])
    below = taxonomy.parents >= 0
    siblings = np.bincount(taxonomy.parents[below], minlength=len(taxonomy))
    return below & ((siblings[taxonomy.parents] == 1) | (plain == plain[taxonomy.parents]))


def leaf_ndcg(distance: Floats, taxonomy: Taxonomy, k: int) -> float | None:
    """Return NDCG@k among the leaves (codes without children; the six-digit codes of an edition).

    Each leaf ranks the other leaves by D. The gain of an answer is 2^depth - 1, where depth is
    that of the lowest common ancestor: 0 for the virtual root, 1 for a shared sector, 4 for a
    shared five-digit code. Discount 1 / log2(rank + 1); divided by the best order's value (Jarvelin
    and Kekalainen 2002). Of leaves at one distance, the less related stands first. Leaves related
    to no other are left out; None when that leaves nothing.
    """
    leaves = np.setdiff1d(np.arange(len(taxonomy)), taxonomy.parents)
    above = taxonomy.ancestors[leaves]
    shared = (above[:, None, :] == above[None, :, :]) & (above[:, None, :] >= 0)
    gain = 2.0 ** shared.sum(-1) - 1
    d = distance[np.ix_(leaves, leaves)].copy()
    # Self stands last in either order, whatever D says of it.
    np.fill_diagonal(gain, -1.0)
    np.fill_diagonal(d, np.inf)
    k = min(k, len(leaves) - 1)
    discount = 1 / np.log2(np.arange(2, k + 2))
    order = np.lexsort((gain, d), axis=-1)[:, :k]
    reached = np.take_along_axis(gain, order, axis=1) @ discount
    best = np.sort(gain, axis=1)[:, ::-1][:, :k] @ discount
    known = best > 0
    return float((reached[known] / best[known]).mean()) if known.any() else None


def tie_share(distance: Floats) -> float:
    """Return the share of ordered pairs (a, b) for which some other c is exactly as far from a.

    Near 0 for embeddings that tell codes apart; near 1 when points coincide.
    """
    n = len(distance)
    others = np.sort(distance[~np.eye(n, dtype=bool)].reshape(n, n - 1), axis=1)
    equal = others[:, 1:] == others[:, :-1]
    tied = np.zeros(others.shape, bool)
    tied[:, 1:] |= equal
    tied[:, :-1] |= equal
    return float(tied.mean())


def spearman_ceiling(taxonomy: Taxonomy) -> float:
    """Return the largest Spearman correlation that a D without ties can have with this tree."""
    steps = np.sort(tree_distances(taxonomy)[np.triu_indices(len(taxonomy), k=1)])
    return pearson(np.arange(len(steps), dtype=np.float64), rankdata(steps))
