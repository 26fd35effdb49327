"""The fourteen kinships: an example of each, a walk up the tree as oracle, exact counts."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from naics_model.taxonomy.distances import half_distances
from naics_model.taxonomy.relations import (
    KINSHIPS,
    NO_RELATION,
    RELATIONS,
    TABLE,
    relation_table,
    relations_between,
)
from naics_model.taxonomy.tree import Taxonomy, parent_of


def test_ids_count_the_names_from_one() -> None:
    assert len(RELATIONS) == 14
    assert RELATIONS[1] == 'child'
    assert RELATIONS[14] == 'third cousin'


@pytest.mark.parametrize(
    ('i', 'j', 'name'),
    [
        ('54151', '541511', 'child'),
        ('541511', '541512', 'sibling'),
        ('5415', '541511', 'grandchild'),
        ('541', '541511', 'great-grandchild'),
        ('54152', '541511', 'nephew/niece'),
        ('54', '541511', 'great-great-grandchild'),
        ('54161', '54151', 'cousin'),
        ('5416', '541511', 'grand-nephew/niece'),
        ('542', '541511', 'great-grand-nephew/niece'),
        ('54161', '541512', 'cousin once removed'),
        ('541611', '541511', 'second cousin'),
        ('5421', '541511', 'cousin twice removed'),
        ('54211', '541511', 'second cousin once removed'),
        ('542111', '541511', 'third cousin'),
    ],
)
def test_one_example_of_each(i: str, j: str, name: str) -> None:
    codes = [
        *('11', '111', '54', '541', '5415', '54151', '541511', '541512', '54152'),
        *('5416', '54161', '541611', '542', '5421', '54211', '542111'),
    ]
    table = relation_table(Taxonomy.from_codes(codes))
    found = table.filter(pl.col('code_i').is_in([i, j]), pl.col('code_j').is_in([i, j]))
    assert found['relation'].to_list() == [name]


@st.composite
def taxonomies(draw: st.DrawFn) -> Taxonomy:
    """Some codes of any level in two sectors, all their ancestors, in any order."""
    codes: set[str] = set()
    for drawn in draw(st.lists(st.from_regex('(11|31|33)[12]{1,4}', fullmatch=True), max_size=12)):
        code: str | None = drawn
        while code is not None:
            codes.add(code)
            code = parent_of(code)
    return Taxonomy.from_codes(draw(st.permutations(sorted(codes))))


@given(taxonomies(), st.sampled_from([np.int8, np.uint8, np.uint32, np.int64]))
@settings(deadline=None)
def test_pairs_on_demand_are_the_rows_of_the_table_in_either_order(
    taxonomy: Taxonomy, dtype: type[np.integer]
) -> None:
    n, table = len(taxonomy), relation_table(taxonomy)
    expected = np.full((n, n), NO_RELATION, np.uint8)
    expected[table['idx_i'], table['idx_j']] = table['relation_id']
    expected[table['idx_j'], table['idx_i']] = table['relation_id']
    i, j = (index.ravel().astype(dtype) for index in np.indices((n, n)))
    found = relations_between(taxonomy, i, j)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected.ravel())


@given(taxonomies())
@settings(deadline=None)
def test_pairs_on_demand_agree_with_a_walk_up_the_tree(taxonomy: Taxonomy) -> None:
    numbers = {kinship: number for number, kinship in enumerate(KINSHIPS, start=1)}
    lines = []
    for code in taxonomy.codes:
        line = [code]
        while (parent := parent_of(line[-1])) is not None:
            line.append(parent)
        lines.append(line)
    for i, first in enumerate(lines):
        for j, second in enumerate(lines):
            common = next((code for code in first if code in second), None)
            # The same steps from either side: none for a code and itself, nor for two sectors.
            steps = sorted(line.index(common) for line in (first, second)) if common else (0, 0)
            [found] = relations_between(taxonomy, np.array([i]), np.array([j]))
            assert found == numbers.get(tuple(steps), NO_RELATION)


def test_table_of_no_codes_has_the_columns_and_no_rows() -> None:
    table = relation_table(Taxonomy.from_codes([]))
    assert (table.schema, table.height) == (TABLE.schema, 0)


def test_codes_of_two_sectors_have_no_kinship() -> None:
    table = relation_table(Taxonomy.from_codes(['11', '111', '21', '211']))
    assert table.select('code_i', 'code_j').rows() == [('11', '111'), ('21', '211')]


def test_the_shallower_code_comes_first_and_at_one_level_the_earlier() -> None:
    table = relation_table(Taxonomy.from_codes(['321', '311', '31']))
    assert table.schema == TABLE.schema
    assert table.select('idx_i', 'idx_j', 'code_i', 'code_j', 'relation').rows() == [
        (0, 1, '321', '311', 'sibling'),
        (2, 0, '31', '321', 'child'),
        (2, 1, '31', '311', 'child'),
    ]


def test_every_pair_of_2022_agrees_with_a_walk_up_the_tree(taxonomy_2022: Taxonomy) -> None:
    steps = {name: kinship for kinship, name in KINSHIPS.items()}
    codes, parents = taxonomy_2022.codes, taxonomy_2022.parents

    def line(index: int) -> list[int]:
        upwards = [index]
        while parents[upwards[-1]] >= 0:
            upwards.append(int(parents[upwards[-1]]))
        return upwards

    lines = [line(index) for index in range(len(codes))]
    # Every hundredth of the 272,103 pairs: a loop over all takes a minute.
    for row in relation_table(taxonomy_2022).gather_every(100).iter_rows(named=True):
        first, second = lines[row['idx_i']], lines[row['idx_j']]
        common = next(index for index in first if index in second)
        assert steps[row['relation']] == (first.index(common), second.index(common))


def test_kinship_and_curriculum_distance_tell_the_same_story(taxonomy_2022: Taxonomy) -> None:
    table = relation_table(taxonomy_2022)
    halves = half_distances(taxonomy_2022)[table['idx_i'].to_numpy(), table['idx_j'].to_numpy()]
    by_kinship = {
        name: 2 * (up + down) - (1 if up == 0 else 0) for (up, down), name in KINSHIPS.items()
    }
    assert table['relation'].cast(pl.String).replace_strict(by_kinship).to_list() == halves.tolist()


def test_counts_of_2022(taxonomy_2022: Taxonomy) -> None:
    table = relation_table(taxonomy_2022)
    assert table.height == 272_103
    assert dict(table.group_by('relation_id').len().iter_rows()) == {
        1: 2_105,
        2: 2_394,
        3: 2_009,
        4: 1_701,
        5: 7_413,
        6: 1_012,
        7: 9_583,
        8: 9_561,
        9: 9_338,
        10: 29_503,
        11: 27_807,
        12: 34_434,
        13: 70_835,
        14: 64_408,
    }
