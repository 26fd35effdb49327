"""A code's place from its digits; the ancestor table; what is refused."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from naics_model.taxonomy.tree import (
    NoTreeError,
    Taxonomy,
    common_levels,
    lineage,
    normalise_code,
    parent_of,
    related,
    sector_of,
)


@pytest.mark.parametrize(
    ('printed', 'stored'),
    [('31-33', '31'), ('44-45', '44'), (' 48-49 ', '48'), ('11', '11'), ('541511', '541511')],
)
def test_a_range_sector_is_stored_under_its_first_prefix(printed: str, stored: str) -> None:
    assert normalise_code(printed) == stored


@pytest.mark.parametrize(
    ('code', 'sector'),
    [
        ('311', '31'),
        ('3273', '31'),
        ('336110', '31'),
        ('455', '44'),
        ('491110', '48'),
        ('54', '54'),
    ],
)
def test_all_prefixes_of_a_range_belong_to_its_sector(code: str, sector: str) -> None:
    assert sector_of(code) == sector


@pytest.mark.parametrize(
    ('code', 'parent'),
    [
        ('31', None),
        ('321', '31'),
        ('45', None),
        ('459', '44'),
        ('3211', '321'),
        ('541511', '54151'),
    ],
)
def test_parent_is_one_level_up(code: str, parent: str | None) -> None:
    assert parent_of(code) == parent


def test_lineage_and_relatives() -> None:
    assert lineage('336110') == {'336110', '33611', '3361', '336', '31'}
    assert lineage('45') == {'45'}
    assert related('31', '336110')
    assert related('336110', '31')
    assert related('3361', '3361')
    assert not related('33611', '33612')
    assert not related('336110', '44')


def test_seven_codes_worked_by_hand() -> None:
    taxonomy = Taxonomy.from_codes(['31', '321', '3211', '32111', '321113', '336', '54'])
    assert len(taxonomy) == 7
    assert taxonomy.levels.tolist() == [2, 3, 4, 5, 6, 3, 2]
    assert taxonomy.parents.tolist() == [-1, 0, 1, 2, 3, 0, -1]
    assert taxonomy.ancestors.tolist() == [
        [0, -1, -1, -1, -1],
        [0, 1, -1, -1, -1],
        [0, 1, 2, -1, -1],
        [0, 1, 2, 3, -1],
        [0, 1, 2, 3, 4],
        [0, 5, -1, -1, -1],
        [6, -1, -1, -1, -1],
    ]
    assert taxonomy.sectors.tolist() == [0, 0, 0, 0, 0, 0, 6]
    assert taxonomy.index['336'] == 5


def test_order_of_the_codes_is_kept_whatever_it_is() -> None:
    taxonomy = Taxonomy.from_codes(['1111', '11', '111'])
    assert taxonomy.codes == ('1111', '11', '111')
    assert taxonomy.parents.tolist() == [2, -1, 1]


@pytest.mark.parametrize(
    ('codes', 'problem', 'positions'),
    [
        (['11', '111', '112', '111'], 'code 111 must be unique, but stands 2 times', (1, 3)),
        (
            ['21', '11', '11', '21'],
            'code 21 must be unique, but stands 2 times (and 1 more like it)',
            (0, 3),
        ),
        (['11', '1111'], 'code 1111 has no parent: 111 is not in the list', (1,)),
        (
            ['1111', '11', '2111', '1112'],
            'code 1111 has no parent: 111 is not in the list (and 2 more like it)',
            (0,),
        ),
        (['45', '455'], 'code 455 has no parent: 44 is not in the list', (1,)),
        (['31-33'], "'31-33' is no code of 2 to 6 digits", (0,)),
        (['11', '1111111'], "'1111111' is no code of 2 to 6 digits", (1,)),
        (['1', '11'], "'1' is no code of 2 to 6 digits", (0,)),
        (['11', '', ''], 'an empty cell is no code of 2 to 6 digits (and 1 more like it)', (1,)),
        (['11', None], 'an empty cell is no code of 2 to 6 digits', (1,)),
        ([' '], "' ' is no code of 2 to 6 digits", (0,)),
        (['١١'], "'١١' is no code of 2 to 6 digits", (0,)),
        (['11\n'], "'11\\n' is no code of 2 to 6 digits", (0,)),
    ],
)
def test_what_is_no_tree_of_codes_is_refused_in_words_and_with_its_place(
    codes: list[Any], problem: str, positions: tuple[int, ...]
) -> None:
    with pytest.raises(NoTreeError) as refused:
        Taxonomy.from_codes(codes)
    assert (refused.value.problem, refused.value.positions) == (problem, positions)
    assert str(refused.value) == f'The codes are no tree: {problem}.'


def test_the_refusal_travels_between_processes() -> None:
    error = pickle.loads(
        pickle.dumps(NoTreeError('code 11 must be unique, but stands 2 times', [0, 1]))
    )
    assert (error.problem, error.positions) == (
        'code 11 must be unique, but stands 2 times',
        (0, 1),
    )


def test_no_codes_are_a_tree_of_none() -> None:
    taxonomy = Taxonomy.from_codes([])
    assert len(taxonomy) == 0
    assert taxonomy.ancestors.shape == (0, 5)


def test_shared_levels_are_counted_from_the_sector() -> None:
    taxonomy = Taxonomy.from_codes(['31', '321', '3211', '32111', '321113', '336', '54', '32112'])
    pairs = {(0, 0): 1, (0, 6): 0, (0, 4): 1, (5, 4): 1, (2, 4): 3, (3, 7): 3, (4, 4): 5, (4, 7): 3}
    i, j = np.array(list(pairs)).T
    shared = common_levels(taxonomy, i, j)
    assert shared.dtype == np.uint8
    assert shared.tolist() == common_levels(taxonomy, j, i).tolist() == list(pairs.values())


def test_counts_and_single_child_chains_of_2022(taxonomy_2022: Taxonomy) -> None:
    assert np.bincount(taxonomy_2022.levels)[2:].tolist() == [20, 96, 308, 689, 1012]
    children = np.bincount(taxonomy_2022.parents[taxonomy_2022.parents >= 0], minlength=2125)
    only = {
        level: int((children[taxonomy_2022.levels == level] == 1).sum()) for level in range(2, 6)
    }
    # Below the sectors: 24 + 140 + 522 = 686.
    assert only == {2: 4, 3: 24, 4: 140, 5: 522}
