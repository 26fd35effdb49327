"""Four embeddings whose structure figures theory knows beforehand, on one regular tree.

Three sectors, two children under every code, five levels: 3, 6, 12, 24 and 48 codes at depths 1
to 5, 31 of them in each sector. Every code of a depth is like every other, so that each figure can
be counted with pencil and paper.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats

from naics_model.evaluation.structure import structure_metrics
from naics_model.taxonomy.distances import tree_distances
from naics_model.taxonomy.tree import Taxonomy

DEPTHS = range(1, 6)
AT_DEPTH = {depth: 3 * 2 ** (depth - 1) for depth in DEPTHS}
N, IN_SECTOR, LEAVES = 93, 31, 48
# Neighbours in the tree: parent and two children, but for the ends.
DEGREE = {1: 2, 2: 3, 3: 3, 4: 3, 5: 1}
ANCESTORS = {depth: depth - 1 for depth in DEPTHS}
# Of the 47 other leaves: the sibling shares 4 levels, 2 leaves 3, 4 leaves 2, 8 leaves 1.
GAINS = [15] + 2 * [7] + 4 * [3] + 8 * [1] + 32 * [0]


@pytest.fixture(scope='module')
def regular() -> Taxonomy:
    codes = [
        sector + ''.join(rest)
        for sector in ('11', '21', '22')
        for depth in range(5)
        for rest in itertools.product('12', repeat=depth)
    ]
    taxonomy = Taxonomy.from_codes(codes)
    assert len(taxonomy) == N
    return taxonomy


def figures_of(distance: np.ndarray, taxonomy: Taxonomy) -> dict[str, float]:
    # No edge is trivial: titles differ, and every code below a sector has a sibling.
    return structure_metrics(distance, taxonomy, taxonomy.codes)


def per_code(figure: dict[int, float], depths=DEPTHS) -> float:
    """Mean over codes of a figure that all codes of a depth share."""
    return sum(AT_DEPTH[i] * figure[i] for i in depths) / sum(AT_DEPTH[i] for i in depths)


def dcg(gains: list[int], k: int) -> float:
    return sum(gain / np.log2(place + 1) for place, gain in enumerate(gains[:k], start=1))


def last_of(right: dict[int, int], others: dict[int, int]) -> tuple[float, float]:
    """Return (mAP, mean rank) where `others[i]` wrong answers stand before all right ones."""
    depths = [i for i in DEPTHS if right[i]]
    precision = {
        i: float(np.mean([k / (k + others[i]) for k in range(1, right[i] + 1)])) for i in depths
    }
    answers = sum(AT_DEPTH[i] * right[i] for i in depths)
    ranks = sum(AT_DEPTH[i] * right[i] * (1 + others[i]) for i in depths)
    return per_code(precision, depths), ranks / answers


# --- the tree's own distances ---


def test_exact_tree_metric(regular):
    figures = figures_of(tree_distances(regular) * 0.5, regular)

    # The one figure that an exact drawing does not have at its best. The ancestor a steps above a
    # code of depth i has to be nearer than all codes that are none. As near or nearer are: the
    # descendants 1 ... a steps below, 2^t of them at t steps while i + t <= 5; and, turning off b
    # steps up, the 2^(c - 1) codes c steps down the other branch, while b + c <= a, i - b + c <= 5.
    def before(i: int, a: int) -> int:
        below = sum(2**t for t in range(1, a + 1) if i + t <= 5)
        aside = sum(
            2 ** (c - 1) for b in range(1, a) for c in range(1, a - b + 1) if i - b + c <= 5
        )
        return below + aside

    up = {i: [before(i, a) for a in range(1, i)] for i in DEPTHS}
    # A code of depth 5 has its parent first, and then its sibling as near as its grandparent.
    assert up[5][:2] == [0, 1]
    precision = {
        i: float(np.mean([k / (k + w) for k, w in enumerate(up[i], start=1)])) for i in DEPTHS[1:]
    }
    ranks = sum(AT_DEPTH[i] * (1 + w) for i in DEPTHS for w in up[i])
    closure = {
        'closure_map': per_code(precision, DEPTHS[1:]),
        'closure_mean_rank': ranks / sum(AT_DEPTH[i] * (i - 1) for i in DEPTHS),
    }
    ones = (
        *('pearson', 'spearman', 'pearson_within_sectors', 'spearman_within_sectors'),
        # Leaves of one depth: T is ultrametric, and clustering gives it back.
        *('cophenetic_correlation', 'worst_distortion', 'worst_distortion_middle'),
        *('edge_map', 'edge_mean_rank', 'parent_hit_at_1', 'parent_mrr'),
        *('parent_hit_at_1_nontrivial', 'parent_mrr_nontrivial', 'child_at_5'),
        *('leaf_ndcg_at_5', 'leaf_ndcg_at_10', 'leaf_ndcg_at_20'),
    )
    assert closure['closure_map'] < 1
    assert figures == pytest.approx(
        {
            **dict.fromkeys(ones, 1.0),
            **closure,
            'average_distortion': 0.0,
            'sibling_confusion': 0.0,
            # Only the 48 leaves have a code at a distance of its own, the parent at 1: their
            # grandparent shares 2 with the sibling, and other codes have two children at 1.
            'tie_share': 1 - 48 / (N * (N - 1)),
        }
    )


# --- random points ---


def test_random_embedding(regular):
    # Points drawn from one distribution may change places without a change of probability. So
    # every order of the others is equally likely, and means over draws are those of a shuffle.
    draws = [
        figures_of(np.linalg.norm(points[:, None] - points[None], axis=-1), regular)
        for points in (np.random.default_rng(seed).normal(size=(N, 6)) for seed in range(40))
    ]
    harmonic = np.cumsum(1 / np.arange(1, N + 1))

    def by_chance(right: dict[int, int]) -> tuple[float, float]:
        depths = [i for i in DEPTHS if right[i]]
        # Average precision of a shuffle of m answers, r of them right: at place p an answer is
        # right with probability r / m, and then (r - 1) / (m - 1) of the p - 1 before are.
        m = N - 1
        precision = {
            i: float(harmonic[m - 1] + (right[i] - 1) / (m - 1) * (m - harmonic[m - 1])) / m
            for i in depths
        }
        # Each wrong answer stands before a right one half the time.
        ranks = sum(AT_DEPTH[i] * right[i] * (1 + (m - right[i]) / 2) for i in depths)
        return per_code(precision, depths), ranks / sum(AT_DEPTH[i] * right[i] for i in depths)

    below = DEPTHS[1:]
    expected = {
        # The best of a shuffled AT_DEPTH[i - 1] codes; 1 / rank of one of them.
        'parent_hit_at_1': per_code({i: 1 / AT_DEPTH[i - 1] for i in below}, below),
        'parent_mrr': per_code(
            {i: harmonic[AT_DEPTH[i - 1] - 1] / AT_DEPTH[i - 1] for i in below}, below
        ),
        # Two of AT_DEPTH[i + 1] codes are children, at every place alike.
        'child_at_5': per_code({i: 2 / AT_DEPTH[i + 1] for i in DEPTHS[:-1]}, DEPTHS[:-1]),
        'sibling_confusion': 1 - 1 / (LEAVES - 1),
        **{
            f'leaf_ndcg_at_{k}': np.mean(GAINS) * dcg([1] * k, k) / dcg(GAINS, k)
            for k in (5, 10, 20)
        },
        # Distances that know nothing of T, over pairs and joined in clusters.
        **dict.fromkeys(
            (
                *('pearson', 'spearman', 'pearson_within_sectors', 'spearman_within_sectors'),
                'cophenetic_correlation',
            ),
            0.0,
        ),
    }
    expected['edge_map'], expected['edge_mean_rank'] = by_chance(DEGREE)
    expected['closure_map'], expected['closure_mean_rank'] = by_chance(ANCESTORS)
    for name, value in expected.items():
        drawn = np.array([figures[name] for figures in draws])
        error = drawn.std(ddof=1) / np.sqrt(len(drawn))
        assert abs(drawn.mean() - value) < 4 * error, name
    assert all(figures['tie_share'] == 0 for figures in draws)


# --- a flag that says no more than "same sector" ---


def test_same_sector_indicator(regular):
    flag = (regular.sectors[:, None] != regular.sectors[None, :]) * 1.0
    figures = figures_of(flag, regular)
    tree = tree_distances(regular)

    def of_a_flag(tree: np.ndarray, across: np.ndarray) -> float:
        # A correlation with a flag that is 1 for a share p: sqrt(p (1 - p)) times the difference
        # of the two means, over the standard deviation (point-biserial).
        p = across.mean()
        gap = tree[across].mean() - tree[~across].mean()
        return np.sqrt(p * (1 - p)) * gap / tree.std()

    pairs = np.triu_indices(N, k=1)
    t, across = tree[pairs].astype(np.float64), flag[pairs] == 1
    leaves = np.flatnonzero(regular.levels == 6)
    pairs = np.triu_indices(LEAVES, k=1)
    leaf_t = tree[np.ix_(leaves, leaves)][pairs].astype(np.float64)
    leaf_across = flag[np.ix_(leaves, leaves)][pairs] == 1
    # A pair of one sector misses by 1 at every scale; the best scale is a ratio of another pair.
    missed = min(np.abs(steps / t[across] - 1).mean() for steps in np.unique(t[across]))

    edge_map, edge_rank = last_of(DEGREE, {i: IN_SECTOR - 1 - DEGREE[i] for i in DEPTHS})
    closure_map, closure_rank = last_of(
        ANCESTORS, {i: IN_SECTOR - 1 - ANCESTORS[i] for i in DEPTHS}
    )
    # One level above depth i a sector has 2^(i - 2) codes, all as near as the parent.
    parents = {i: 2.0 ** -(i - 2) for i in DEPTHS[1:]}
    hit = per_code({i: float(parents[i] == 1) for i in DEPTHS[1:]}, DEPTHS[1:])
    mrr = per_code(parents, DEPTHS[1:])
    # The sector's leaves come first, the least related of them before the others.
    worst = sorted(gain for gain in GAINS if gain) + 32 * [0]
    assert figures == pytest.approx(
        {
            'pearson': of_a_flag(t, across),
            'spearman': of_a_flag(scipy.stats.rankdata(t), across),
            # Inside a sector the flag is constant: what all pairs flatter, this shows.
            'pearson_within_sectors': 0.0,
            'spearman_within_sectors': 0.0,
            # Clusters are the sectors, at height 0, joined at 1.
            'cophenetic_correlation': of_a_flag(leaf_t, leaf_across),
            'average_distortion': (~across).mean() + across.mean() * missed,
            # The worst distortion, of the middle as well, is infinite: 33 % of D are 0.
            'edge_map': edge_map,
            'edge_mean_rank': edge_rank,
            'closure_map': closure_map,
            'closure_mean_rank': closure_rank,
            'parent_hit_at_1': hit,
            'parent_hit_at_1_nontrivial': hit,
            'parent_mrr': mrr,
            'parent_mrr_nontrivial': mrr,
            # A sector finds its only two codes of depth 2. At depth 2 and below two or more of
            # the sector's codes one level down are not children, and take both places.
            'child_at_5': per_code({1: 1.0, 2: 0.0, 3: 0.0, 4: 0.0}, DEPTHS[:-1]),
            'sibling_confusion': 1.0,
            **{f'leaf_ndcg_at_{k}': dcg(worst, k) / dcg(GAINS, k) for k in (5, 10, 20)},
            'tie_share': 1.0,
        }
    )


# --- embeddings with many ties ---


def test_all_codes_equally_far(regular):
    figures = figures_of(np.ones((N, N)), regular)
    t = tree_distances(regular)[np.triu_indices(N, k=1)].astype(np.float64)
    edge_map, edge_rank = last_of(DEGREE, {i: N - 1 - DEGREE[i] for i in DEPTHS})
    closure_map, closure_rank = last_of(ANCESTORS, {i: N - 1 - ANCESTORS[i] for i in DEPTHS})
    mrr = per_code({i: 1 / AT_DEPTH[i - 1] for i in DEPTHS[1:]}, DEPTHS[1:])
    zeros = (
        *('pearson', 'spearman', 'pearson_within_sectors', 'spearman_within_sectors'),
        *('cophenetic_correlation', 'parent_hit_at_1', 'parent_hit_at_1_nontrivial'),
        # Wrong codes fill every place: 4 or more one level down, 32 unrelated leaves.
        *('child_at_5', 'leaf_ndcg_at_5', 'leaf_ndcg_at_10', 'leaf_ndcg_at_20'),
    )
    assert figures == pytest.approx(
        {
            **dict.fromkeys(zeros, 0.0),
            'average_distortion': min(np.abs(steps / t - 1).mean() for steps in np.unique(t)),
            # D / T is 1 / T: 2 % of pairs are edges, 18 % cross from leaf to leaf at 10.
            'worst_distortion': 10.0,
            'worst_distortion_middle': 10.0,
            'edge_map': edge_map,
            'edge_mean_rank': edge_rank,
            'closure_map': closure_map,
            'closure_mean_rank': closure_rank,
            'parent_mrr': mrr,
            'parent_mrr_nontrivial': mrr,
            'sibling_confusion': 1.0,
            'tie_share': 1.0,
        }
    )


def test_leaves_on_top_of_their_parents(regular):
    # What codes do whose texts repeat their parent's: two siblings and their parent are one point.
    place = np.where(regular.levels == 6, regular.parents, np.arange(N))
    figures = figures_of(tree_distances(regular)[np.ix_(place, place)] * 1.0, regular)
    # At depth 5 the parent, at 0, has the sibling before it. At depth 3 the four grandchildren
    # stand at 1, with the parent and the children: three right answers behind four wrong ones.
    # Everywhere else nothing comes between.
    edge_map, edge_rank = last_of(DEGREE, {1: 0, 2: 0, 3: 4, 4: 0, 5: 1})
    assert edge_rank == pytest.approx((48 * 2 + 72 * 1 + 36 * 5 + 18 * 1 + 6 * 1) / 180)
    assert figures['edge_map'] == pytest.approx(edge_map)
    assert figures['edge_mean_rank'] == pytest.approx(edge_rank)
    # Each of these compares codes of one level, whose distances are as the tree has them or all
    # less by 2, and the sibling's 0: no order changes.
    for name in (
        *('parent_hit_at_1', 'parent_mrr', 'child_at_5', 'cophenetic_correlation'),
        *('leaf_ndcg_at_5', 'leaf_ndcg_at_10', 'leaf_ndcg_at_20'),
    ):
        assert figures[name] == pytest.approx(1.0), name
    assert figures['sibling_confusion'] == 0.0
    # 72 of 4,278 pairs are at 0, more than the thousandth that the middle leaves out.
    assert not {'worst_distortion', 'worst_distortion_middle'} & set(figures)
