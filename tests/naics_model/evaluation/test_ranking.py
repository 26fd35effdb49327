"""Rankings against hand-worked values, scikit-learn and brute force, ties included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

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


def random_distances(n: int, seed: int) -> np.ndarray:
    points = np.random.default_rng(seed).normal(size=(n, 8))
    return np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1))


def on_a_line(seven, **moved: float) -> tuple[np.ndarray, Taxonomy]:
    """The seven codes with some at another place of the line: `c211=1.5`."""
    taxonomy, distance, _ = seven
    # 112 is the leftmost, at -2.
    place = distance[taxonomy.index['112']] - 2
    for code, where in moved.items():
        place[taxonomy.index[code[1:]]] = where
    return np.abs(place[:, None] - place[None, :]), taxonomy


# --- by hand, on the seven codes of conftest.py ---


def test_edge_reconstruction_of_seven_codes(seven):
    taxonomy, distance, _ = seven
    # Wrong codes at most as far as the neighbour: 1111 has 1112 before its parent; 1112 has 1111
    # and 211; 211 has 1111 and 1112. All others are perfect.
    precision, rank = reconstruction(distance, edges(taxonomy))
    assert precision == pytest.approx((1 + 1 + 1 / 2 + 1 / 3 + 1 + 1 + 1 / 3) / 7)
    # Ten directed edges: seven of rank 1, 1111 of rank 2, 1112 and 211 of rank 3.
    assert rank == pytest.approx((7 * 1 + 2 + 3 + 3) / 10)


def test_closure_reconstruction_of_seven_codes(seven):
    taxonomy, distance, _ = seven
    # 111 and 112 have 11 first. 1111 has 1112 before 111, and 211 too before 11: 1/2, 2/4.
    # 1112 has 1111 and 211 before both: 1/3, 2/4. 211 has 1111 and 1112 before 21.
    precision, rank = reconstruction(distance, closure(taxonomy))
    of_1111, of_1112 = (1 / 2 + 2 / 4) / 2, (1 / 3 + 2 / 4) / 2
    assert precision == pytest.approx((1 + 1 + of_1111 + of_1112 + 1 / 3) / 5)
    assert rank == pytest.approx((1 + 1 + 2 + 3 + 3 + 3 + 3) / 7)


def test_average_precision_counts_wrong_codes_between_right_ones():
    # Code 0 has three right answers (1, 2, 3); code 4 stands between the first and the second.
    right = np.zeros((5, 5), bool)
    right[0, 1:4] = right[1:4, 0] = True
    distance = np.full((5, 5), 9.0)
    distance[0] = [0, 1, 3, 4, 2]
    precision, rank = reconstruction(distance, right)
    # Code 0: 1/1, 2/3, 3/4. Codes 1, 2, 3: all at distance 9, three wrong codes first: 1/4.
    assert precision == pytest.approx(((1 + 2 / 3 + 3 / 4) / 3 + 3 * 1 / 4) / 4)
    assert rank == pytest.approx((1 + 2 + 2 + 3 * 4) / 6)


def test_nothing_to_reconstruct_has_no_figure():
    assert reconstruction(np.ones((3, 3)), np.zeros((3, 3), bool)) is None


def test_edges_and_closure_of_seven_codes(seven):
    taxonomy, _, _ = seven
    name = taxonomy.codes
    up = {(name[i], name[j]) for i, j in np.argwhere(closure(taxonomy))}
    parents = {('111', '11'), ('112', '11'), ('211', '21'), ('1111', '111'), ('1112', '111')}
    assert up == parents | {('1111', '11'), ('1112', '11')}
    both = {(name[i], name[j]) for i, j in np.argwhere(edges(taxonomy))}
    assert both == parents | {(b, a) for a, b in parents}


def test_parent_ranks_of_seven_codes(seven):
    taxonomy, distance, _ = seven
    children, ranks = parent_ranks(distance, taxonomy)
    by_code = {taxonomy.codes[i]: rank for i, rank in zip(children, ranks, strict=True)}
    # 211 stands at 1.5 from 1112, nearer than its parent 111 at 2.
    assert by_code == {'111': 1, '112': 1, '211': 1, '1111': 1, '1112': 2}


def test_trivial_edges_are_only_children_and_repeated_titles(seven):
    taxonomy, _, titles = seven
    # A sector has no parent to be named like, not even the last code of the list.
    titles = [*titles[:5], titles[6], titles[6]]
    trivial = trivial_edges(taxonomy, titles)
    assert {taxonomy.codes[i] for i in np.flatnonzero(trivial)} == {'1111', '211'}


def test_child_share_of_seven_codes(seven):
    # 11 has two children at 1 and -2, 21 one, and 111 the only two codes of four digits.
    assert child_share(*on_a_line(seven), k=5) == 1.0
    # 211 at 1.5 takes the second of the two places that are asked of 11; at 2 it ties for it.
    for place in (1.5, 2.0):
        moved = on_a_line(seven, c211=place)
        assert child_share(*moved, k=5) == pytest.approx((1 / 2 + 1 + 1) / 3)
        assert child_share(*moved, k=1) == 1.0


def test_child_share_without_children_has_no_figure():
    assert child_share(np.ones((2, 2)), Taxonomy.from_codes(['11', '21']), k=5) is None


def test_sibling_confusion_of_seven_codes(seven):
    # Of the leaves only 1111 and 1112 are siblings of each other, at 2.5 and 3.
    assert sibling_confusion(*on_a_line(seven)) == 0.0
    # 211 as near to 1112 as its sibling: a tie is a confusion; between the two, both are confused.
    assert sibling_confusion(*on_a_line(seven, c211=3.5)) == 1 / 2
    assert sibling_confusion(*on_a_line(seven, c211=2.75)) == 1.0


def test_sibling_confusion_without_siblings_has_no_figure():
    taxonomy = Taxonomy.from_codes(['11', '111', '21', '31'])
    # Two sectors without children have no parent, but not the same one.
    assert sibling_confusion(np.ones((4, 4)), taxonomy) is None


def test_leaf_ndcg_of_seven_codes(seven):
    taxonomy, distance, _ = seven
    # Gains: 1111-1112 share 111 (depth 2): 3. Either with 112 shares 11 (depth 1): 1. 211: 0.
    # 1111 and 1112 each see gains 3, 0, 1 where 3, 1, 0 is best; 112 sees 1, 1, 0, the best;
    # 211 is related to no other leaf and is left out.
    third, second = 1 / np.log2(4), 1 / np.log2(3)
    all_three = (2 * (3 + third) / (3 + second) + 1) / 3
    assert leaf_ndcg(distance, taxonomy, (1, 2, 5, 10, 20)) == pytest.approx(
        {1: 1.0, 2: (2 * 3 / (3 + second) + 1) / 3, 5: all_three, 10: all_three, 20: all_three}
    )


def test_tie_share_of_seven_codes(seven):
    _, distance, _ = seven
    # From 1111 at 2.5, 112 and 21 are 4.5 to the left and to the right; no code has others tied.
    assert tie_share(distance) == pytest.approx(2 / 42)


def test_tie_share_by_hand():
    # From a: b and c at 1, d at 2. From every other point all distances differ.
    distance = np.array(
        [[0, 1, 1, 2], [1, 0, 2, 3], [1, 2, 0, 3.5], [2, 3, 3.5, 0]], dtype=np.float64
    )
    assert tie_share(distance) == pytest.approx(2 / 12)


# --- oracles ---


def average_precision(distance: np.ndarray, right: np.ndarray) -> float:
    n = len(distance)
    others = ~np.eye(n, dtype=bool)
    return float(
        np.mean(
            [
                average_precision_score(right[i][others[i]], -distance[i][others[i]])
                for i in range(n)
                if right[i].any()
            ]
        )
    )


@pytest.mark.parametrize('answers', [edges, closure])
def test_map_agrees_with_scikit_learn(bushy, answers):
    distance, right = random_distances(len(bushy), seed=5), answers(bushy)
    precision, _ = reconstruction(distance, right)
    assert precision == pytest.approx(average_precision(distance, right))


def test_leaf_ndcg_agrees_with_scikit_learn(bushy):
    distance = random_distances(len(bushy), seed=6)
    leaves = np.flatnonzero(bushy.levels == 6)
    tree = tree_distances(bushy)[np.ix_(leaves, leaves)].astype(int)
    gain = 2.0 ** ((10 - tree) / 2) - 1
    others = ~np.eye(len(leaves), dtype=bool)
    d = distance[np.ix_(leaves, leaves)]
    found = leaf_ndcg(distance, bushy, (5, 10, 20))
    for k in (5, 10, 20):
        expected = [
            ndcg_score([gain[i][others[i]]], [-d[i][others[i]]], k=k) for i in range(len(leaves))
        ]
        assert found[k] == pytest.approx(np.mean(expected))


def test_parent_ranks_agree_with_sorting(bushy):
    distance = random_distances(len(bushy), seed=7)
    children, ranks = parent_ranks(distance, bushy)
    for child, rank in zip(children, ranks, strict=True):
        above = [j for j in range(len(bushy)) if bushy.levels[j] == bushy.levels[child] - 1]
        order = sorted(above, key=lambda j: distance[child, j])
        assert order.index(bushy.parents[child]) + 1 == rank


def random_taxonomy(rng: np.random.Generator) -> Taxonomy:
    """A tree of a few codes, some without children, some with one, some with four."""
    codes, level = [], ['11', '21', '31']
    while level and len(level[0]) < 7:
        codes += level
        level = [code + str(i) for code in level for i in range(1, rng.integers(0, 5) + 1)]
        level = level[:12]
    return Taxonomy.from_codes(codes)


def in_order(row, right, answers) -> list:
    """What a sorted list of answers says, the wrong ones first where distances tie."""
    return [right[j] for j in sorted(answers, key=lambda j: (row[j], right[j]))]


@given(st.integers(0, 10_000), st.integers(1, 30))
def test_rankings_agree_with_sorting_where_distances_tie(seed, values):
    rng = np.random.default_rng(seed)
    taxonomy = random_taxonomy(rng)
    n = len(taxonomy)
    # Few values, so that most distances tie; not symmetric, and a diagonal that must not matter.
    distance = rng.integers(0, values, (n, n)).astype(np.float64)

    for right in (edges(taxonomy), closure(taxonomy)):
        precisions, ranks = [], []
        for i in range(n):
            order = in_order(distance[i], right[i], [j for j in range(n) if j != i])
            places = [place for place, is_right in enumerate(order, start=1) if is_right]
            if places:
                precisions.append(np.mean([k / p for k, p in enumerate(places, start=1)]))
                ranks += [p - k + 1 for k, p in enumerate(places, start=1)]
        expected = (np.mean(precisions), np.mean(ranks)) if ranks else None
        found = reconstruction(distance, right)
        assert found == (expected if expected is None else pytest.approx(expected))

    for k in (1, 2, 5):
        shares = []
        for i in range(n):
            is_child = taxonomy.parents == i
            below = np.flatnonzero(taxonomy.levels == taxonomy.levels[i] + 1)
            asked = min(k, is_child.sum())
            if asked:
                shares.append(np.mean(in_order(distance[i], is_child, below)[:asked]))
        expected = np.mean(shares) if shares else None
        found = child_share(distance, taxonomy, k)
        assert found == (expected if expected is None else pytest.approx(expected))

    leaves = leaves_of(taxonomy)
    assert leaves.tolist() == [i for i in range(n) if i not in taxonomy.parents]
    confused = []
    for i in leaves:
        others = [j for j in leaves if j != i]
        sibling = (taxonomy.parents == taxonomy.parents[i]) & (taxonomy.parents[i] >= 0)
        if sibling[others].any():
            confused.append(not in_order(distance[i], sibling, others)[0])
    found = sibling_confusion(distance, taxonomy)
    assert found == (pytest.approx(np.mean(confused)) if confused else None)

    off_diagonal = [np.delete(distance[i], i).tolist() for i in range(n)]
    tied = [row.count(x) > 1 for row in off_diagonal for x in row]
    assert tie_share(distance) == pytest.approx(np.mean(tied))
