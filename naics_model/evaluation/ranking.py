"""Are the right codes nearest? Ranks of parents, children, ancestors, siblings and leaves.

A matrix of distances in, figures out. A code is never its own answer, and a tie counts against
the embedding: of two codes at the same distance the wrong one stands first, so that collapsed
points can not score by the order they happen to stand in.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from naics_model.taxonomy.tree import LEVELS, Taxonomy

Floats = NDArray[np.floating]


def reconstruction(distance: Floats, right: NDArray[np.bool_]) -> tuple[float, float] | None:
    """Return (mean average precision, mean rank) of each code's right answers among all codes.

    For each code all others are ranked by D. Average precision is the mean, over its right
    answers in order, of k / (k + wrong answers not farther than the k-th), and mAP the mean over
    codes, in 0 to 1. The rank of a right answer counts only the wrong ones before it, plus one;
    the mean rank is over all right answers, from 1. Both are 1 when every right answer is nearer
    than every wrong one. Codes without a right answer are left out; None when that leaves
    nothing. The reconstruction task of Nickel and Kiela (2017).

    Which answers are right is `edges` or `closure`. No distance has both at 1: of a code with a
    grandparent and a child, the edges want the child nearer and the closure the grandparent.

    Args:
        distance: (n, n); the diagonal is not read.
        right: (n, n), True where the column is a right answer to the row; False on the diagonal.
    """
    precisions, ranks = [], []
    wrong = ~right & ~np.eye(len(right), dtype=bool)
    for row, is_right, is_wrong in zip(distance, right, wrong, strict=True):
        answers = np.sort(row[is_right])
        if len(answers) == 0:
            continue
        # side='right': a wrong answer at the same distance stands before the right one.
        before = np.searchsorted(np.sort(row[is_wrong]), answers, side='right')
        k = np.arange(1, len(answers) + 1)
        precisions.append((k / (k + before)).mean())
        ranks.append(before + 1)
    if not ranks:
        return None
    return float(np.mean(precisions)), float(np.concatenate(ranks).mean())


def edges(taxonomy: Taxonomy) -> NDArray[np.bool_]:
    """Return (n, n) True where the column is the parent or a child of the row."""
    below = np.flatnonzero(taxonomy.parents >= 0)
    right = np.zeros((len(taxonomy), len(taxonomy)), bool)
    right[below, taxonomy.parents[below]] = True
    return right | right.T


def closure(taxonomy: Taxonomy) -> NDArray[np.bool_]:
    """Return (n, n) True where the column is an ancestor of the row.

    The transitive closure of "is a kind of", one way, as Nickel and Kiela have it: a code's
    descendants are wrong answers.
    """
    right = np.zeros((len(taxonomy), len(taxonomy)), bool)
    for column in taxonomy.ancestors.T:
        below = np.flatnonzero(column >= 0)
        right[below, column[below]] = True
    np.fill_diagonal(right, False)
    return right


def parent_ranks(
    distance: Floats, taxonomy: Taxonomy
) -> tuple[NDArray[np.intp], NDArray[np.integer]]:
    """Return each code below a sector and the rank of its parent among the codes one level up.

    hit@1 is the share of ranks that are 1, MRR the mean of 1 / rank (Voorhees 1999); both are in
    0 to 1.

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


def child_share(distance: Floats, taxonomy: Taxonomy, k: int) -> float | None:
    """Return child@k: how many of a code's nearest codes one level down are its children.

    For a code with c children the codes one level down are ranked by D, and of the first
    min(k, c) the share that are its children is taken: a code with two children can have two
    right answers at most. The mean over all codes with children, in 0 to 1; None when there is
    none. It is R-precision cut at k.
    """
    shares = []
    for level in LEVELS[:-1]:
        below = np.flatnonzero(taxonomy.levels == level + 1)
        above = np.unique(taxonomy.parents[below])
        if len(above) == 0:
            continue
        is_child = taxonomy.parents[below] == above[:, None]
        # The first key to differ is D; at one D, False stands before True.
        order = np.lexsort((is_child, distance[np.ix_(above, below)]), axis=-1)[:, :k]
        found = np.take_along_axis(is_child, order, axis=1)
        asked = np.minimum(k, is_child.sum(1))
        counted = np.arange(found.shape[1]) < asked[:, None]
        shares.append((found & counted).sum(1) / asked)
    return float(np.concatenate(shares).mean()) if shares else None


def leaves_of(taxonomy: Taxonomy) -> NDArray[np.intp]:
    """Return the indices of the codes without children: the six-digit codes of an edition."""
    return np.setdiff1d(np.arange(len(taxonomy)), taxonomy.parents)


def sibling_confusion(distance: Floats, taxonomy: Taxonomy) -> float | None:
    """Return the share of leaves whose nearest leaf is not a sibling, in 0 (best) to 1.

    Siblings have one parent. A leaf is confused unless a sibling is strictly nearer than every
    leaf that is none. Leaves without a sibling among the leaves are left out; None when that
    leaves nothing.
    """
    leaves = leaves_of(taxonomy)
    parent = taxonomy.parents[leaves]
    # Sectors without children have no parent, not the same one.
    sibling = (parent[:, None] == parent[None, :]) & (parent >= 0)[:, None]
    d = distance[np.ix_(leaves, leaves)].copy()
    np.fill_diagonal(d, np.inf)
    to_sibling = np.where(sibling, d, np.inf).min(axis=1)
    to_other = np.where(sibling, np.inf, d).min(axis=1)
    known = sibling.sum(axis=1) - np.diagonal(sibling) > 0
    return float((to_other <= to_sibling)[known].mean()) if known.any() else None


def leaf_ndcg(distance: Floats, taxonomy: Taxonomy, ks: Sequence[int]) -> dict[int, float]:
    """Return NDCG@k among the leaves for each k, in 0 to 1.

    Each leaf ranks the other leaves by D. The gain of an answer is 2^depth - 1, where depth is
    that of the lowest common ancestor: 0 for the virtual root, 1 for a shared sector, 4 for a
    shared five-digit code. Discount 1 / log2(rank + 1); divided by the best order's value (Jarvelin
    and Kekalainen 2002). Of leaves at one distance, the less related stands first. Leaves related
    to no other are left out; when that leaves nothing, no k has a figure.
    """
    leaves = leaves_of(taxonomy)
    gain = np.zeros((len(leaves), len(leaves)))
    for column in taxonomy.ancestors[leaves].T:
        gain += (column[:, None] == column[None, :]) & (column >= 0)
    gain = 2.0**gain - 1
    d = distance[np.ix_(leaves, leaves)].copy()
    # Self stands last in either order, whatever D says of it.
    np.fill_diagonal(gain, -1.0)
    np.fill_diagonal(d, np.inf)
    reached = np.take_along_axis(gain, np.lexsort((gain, d), axis=-1), axis=1)
    best = np.sort(gain, axis=1)[:, ::-1]
    figures = {}
    for k in ks:
        deep = min(k, len(leaves) - 1)
        discount = 1 / np.log2(np.arange(2, deep + 2))
        ideal = best[:, :deep] @ discount
        known = ideal > 0
        if known.any():
            figures[k] = float(((reached[:, :deep] @ discount)[known] / ideal[known]).mean())
    return figures


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
