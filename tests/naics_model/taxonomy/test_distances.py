"""Both distances against networkx, examples worked by hand, and the exact histogram of 2022."""

from __future__ import annotations

import tracemalloc

import networkx as nx
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from naics_model.taxonomy.distances import (
    TABLE,
    distance_table,
    half_distances,
    half_distances_between,
    tree_distances,
    tree_distances_between,
)
from naics_model.taxonomy.tree import Taxonomy

ROOT = 'root'
# The ranges, written out once more so that the code under test is not its own judge.
SECTORS = {'32': '31', '33': '31', '45': '44', '49': '48'}
PREFIXES = ['11', '21', '31', '32', '33', '44', '45', '48', '49', '54', '92']


def parent_in_the_graph(code: str) -> str:
    if len(code) == 2:
        return ROOT
    return SECTORS.get(code[:2], code[:2]) if len(code) == 3 else code[:-1]


@st.composite
def taxonomies(draw: st.DrawFn) -> Taxonomy:
    """Some codes of any level, all their ancestors, in any order."""
    tails = st.text(alphabet='129', max_size=4)
    drawn = draw(st.lists(st.tuples(st.sampled_from(PREFIXES), tails), min_size=1, max_size=25))
    codes: set[str] = set()
    for prefix, tail in drawn:
        code = prefix + tail if tail else SECTORS.get(prefix, prefix)
        while code != ROOT:
            codes.add(code)
            code = parent_in_the_graph(code)
    return Taxonomy.from_codes(draw(st.permutations(sorted(codes))))


def as_graph(taxonomy: Taxonomy) -> nx.DiGraph:
    graph = nx.DiGraph()
    graph.add_edges_from((parent_in_the_graph(code), code) for code in taxonomy.codes)
    return graph


@given(taxonomies())
@settings(deadline=None)
def test_tree_distance_is_the_shortest_path_through_the_root(taxonomy: Taxonomy) -> None:
    lengths = dict(nx.all_pairs_shortest_path_length(as_graph(taxonomy).to_undirected()))
    expected = [[lengths[a][b] for b in taxonomy.codes] for a in taxonomy.codes]
    np.testing.assert_array_equal(tree_distances(taxonomy), expected)


@given(taxonomies())
@settings(deadline=None)
def test_curriculum_distance_is_the_path_inside_a_sector(taxonomy: Taxonomy) -> None:
    graph = as_graph(taxonomy)
    above = {code: nx.ancestors(graph, code) for code in taxonomy.codes}
    graph.remove_node(ROOT)
    lengths = dict(nx.all_pairs_shortest_path_length(graph.to_undirected()))

    def expected(a: str, b: str) -> int:
        if b not in lengths[a]:
            return 20
        lineal = a in above[b] or b in above[a]
        return 2 * lengths[a][b] - (1 if lineal else 0)

    np.testing.assert_array_equal(
        half_distances(taxonomy),
        [[expected(a, b) for b in taxonomy.codes] for a in taxonomy.codes],
    )


@given(taxonomies())
@settings(deadline=None)
def test_tree_distance_is_a_metric(taxonomy: Taxonomy) -> None:
    distances = tree_distances(taxonomy).astype(int)
    np.testing.assert_array_equal(distances, distances.T)
    np.testing.assert_array_equal(distances == 0, np.eye(len(taxonomy), dtype=bool))
    assert distances.max() <= 10
    detours = distances[:, :, None] + distances[None, :, :]
    assert (distances[:, None, :] <= detours).all()


@given(taxonomies())
@settings(deadline=None)
def test_curriculum_distance_is_symmetric_and_in_its_range(taxonomy: Taxonomy) -> None:
    halves = half_distances(taxonomy)
    np.testing.assert_array_equal(halves, halves.T)
    np.testing.assert_array_equal(halves == 0, np.eye(len(taxonomy), dtype=bool))
    assert set(np.unique(halves)) <= {0, 1, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20}


def test_both_distances_on_seven_codes_worked_by_hand() -> None:
    #       54            11
    #       541           111
    #   5415   5416
    #   54151
    taxonomy = Taxonomy.from_codes(['54', '541', '5415', '54151', '5416', '11', '111'])
    assert half_distances(taxonomy).tolist() == [
        [0, 1, 3, 5, 3, 20, 20],
        [1, 0, 1, 3, 1, 20, 20],
        [3, 1, 0, 1, 4, 20, 20],
        [5, 3, 1, 0, 6, 20, 20],
        [3, 1, 4, 6, 0, 20, 20],
        [20, 20, 20, 20, 20, 0, 1],
        [20, 20, 20, 20, 20, 1, 0],
    ]
    assert tree_distances(taxonomy).tolist() == [
        [0, 1, 2, 3, 2, 2, 3],
        [1, 0, 1, 2, 1, 3, 4],
        [2, 1, 0, 1, 2, 4, 5],
        [3, 2, 1, 0, 3, 5, 6],
        [2, 1, 2, 3, 0, 4, 5],
        [2, 3, 4, 5, 4, 0, 1],
        [3, 4, 5, 6, 5, 1, 0],
    ]


@pytest.mark.parametrize(
    ('a', 'b', 'distance', 'steps'),
    [
        ('541511', '541512', 2.0, 2),
        ('541511', '54151', 0.5, 1),
        ('541511', '5415', 1.5, 2),
        ('541511', '541', 2.5, 3),
        ('541511', '54', 3.5, 4),
        ('541511', '5416', 4.0, 4),
        ('541511', '54161', 5.0, 5),
        ('541511', '541611', 6.0, 6),
        ('541511', '111110', 10.0, 10),
        # Across the prefixes of one range sector.
        ('311', '321', 2.0, 2),
        ('311111', '336110', 8.0, 8),
        ('31', '11', 10.0, 2),
    ],
)
def test_examples_of_2022(
    taxonomy_2022: Taxonomy, a: str, b: str, distance: float, steps: int
) -> None:
    i, j = taxonomy_2022.index[a], taxonomy_2022.index[b]
    assert half_distances(taxonomy_2022)[i, j] / 2 == distance
    assert tree_distances(taxonomy_2022)[i, j] == steps


def test_histogram_of_2022(taxonomy_2022: Taxonomy) -> None:
    table = distance_table(taxonomy_2022)
    assert dict(table.group_by('distance').len().iter_rows()) == {
        0.5: 2_105,
        1.5: 2_009,
        2.0: 2_394,
        2.5: 1_701,
        3.0: 7_413,
        3.5: 1_012,
        4.0: 19_144,
        5.0: 38_841,
        6.0: 62_241,
        7.0: 70_835,
        8.0: 64_408,
        10.0: 1_984_647,
    }
    assert table.height == 2_256_750


def test_table_lists_each_unordered_pair_once_by_index_and_by_code() -> None:
    table = distance_table(Taxonomy.from_codes(['11', '111', '21']))
    assert table.schema == TABLE.schema
    assert table.schema == {
        'idx_i': pl.UInt32,
        'idx_j': pl.UInt32,
        'code_i': pl.String,
        'code_j': pl.String,
        'distance': pl.Float32,
    }
    assert table.rows() == [
        (0, 1, '11', '111', 0.5),
        (0, 2, '11', '21', 10.0),
        (1, 2, '111', '21', 10.0),
    ]


def test_table_of_no_codes_has_the_columns_and_no_rows() -> None:
    table = distance_table(Taxonomy.from_codes([]))
    assert (table.schema, table.height) == (TABLE.schema, 0)


def all_pairs(taxonomy: Taxonomy) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    i, j = np.indices((len(taxonomy), len(taxonomy)))
    return i.ravel(), j.ravel()


@given(taxonomies(), st.sampled_from([np.int8, np.uint8, np.int32, np.uint32, np.int64, np.uint64]))
@settings(deadline=None)
def test_pairs_on_demand_are_the_entries_of_the_matrices(
    taxonomy: Taxonomy, dtype: type[np.integer]
) -> None:
    i, j = (index.astype(dtype) for index in all_pairs(taxonomy))
    for between, matrix in (
        (half_distances_between, half_distances),
        (tree_distances_between, tree_distances),
    ):
        found = between(taxonomy, i, j)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, matrix(taxonomy).ravel())


def test_pairs_on_demand_are_the_entries_of_the_matrices_in_2022(taxonomy_2022: Taxonomy) -> None:
    i, j = all_pairs(taxonomy_2022)
    np.testing.assert_array_equal(
        half_distances_between(taxonomy_2022, i, j), half_distances(taxonomy_2022).ravel()
    )
    np.testing.assert_array_equal(
        tree_distances_between(taxonomy_2022, i, j), tree_distances(taxonomy_2022).ravel()
    )


def large_taxonomy() -> Taxonomy:
    """Return 177,140 codes: 20 sectors of 24 prefixes, and below each prefix all of 1 to 9."""
    prefixes = [str(p) for p in (11, *range(21, 24), *range(31, 34), 42, 44, 45, 48, 49)]
    prefixes += [str(p) for p in (*range(51, 57), 61, 62, 71, 72, 81, 92)]
    codes = [prefix for prefix in prefixes if prefix not in SECTORS]
    level = prefixes
    for _ in range(4):
        level = [code + digit for code in level for digit in '123456789']
        codes += level
    return Taxonomy.from_codes(sorted(codes))


def test_a_taxonomy_too_large_for_a_matrix_is_asked_pair_by_pair() -> None:
    rng = np.random.default_rng(0)
    tracemalloc.start()
    taxonomy = large_taxonomy()
    n = len(taxonomy)
    i, j = rng.integers(n, size=(2, 1_000_000))
    # Random pairs are mostly of two sectors: every second pair is made one of neighbours instead.
    j[::2] = (i[::2] + rng.integers(100, size=500_000)) % n
    halves = half_distances_between(taxonomy, i, j)
    steps = tree_distances_between(taxonomy, i, j)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert n == 177_140
    # A matrix of all pairs is 31 GB.
    assert peak < 300e6

    def line(code: str) -> list[str]:
        upwards = [code]
        while upwards[-1] != ROOT:
            upwards.append(parent_in_the_graph(upwards[-1]))
        return upwards

    met = set()
    for k in range(10_000):
        up, down = line(taxonomy.codes[i[k]]), line(taxonomy.codes[j[k]])
        meeting = next(code for code in up if code in down)
        a, b = up.index(meeting), down.index(meeting)
        lineal = (a == 0) != (b == 0)
        assert steps[k] == a + b
        assert halves[k] == (20 if meeting == ROOT else 2 * (a + b) - lineal)
        met.add(int(halves[k]))
    # Also the rare ones: a code with itself, with its parent and with its grandparent.
    assert {0, 1, 3, 4, 6, 8, 10, 12, 14, 16, 20} <= met
