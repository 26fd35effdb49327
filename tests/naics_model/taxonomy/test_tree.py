"""A code's place from its digits; the ancestor table; what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from naics_model.errors import DataError
from naics_model.taxonomy.tree import Taxonomy, normalise_code, parent_of, sector_of


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
    ('codes', 'sentence'),
    [
        (['11', '111', '111'], '111 appear more than once'),
        (['11', '1111'], 'Code 1111 has no parent: 111 is missing'),
        (['45', '455'], 'Code 455 has no parent: 44 is missing'),
        (['31-33'], "2 to 6 digits, but found '31-33'"),
        (['11', '1111111'], '2 to 6 digits'),
        (['1'], '2 to 6 digits'),
        ([''], '2 to 6 digits'),
        (['١١'], '2 to 6 digits'),
    ],
)
def test_what_is_no_tree_of_codes_is_refused_in_words(codes: list[str], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        Taxonomy.from_codes(codes)


def test_counts_and_single_child_chains_of_2022(taxonomy_2022: Taxonomy) -> None:
    assert np.bincount(taxonomy_2022.levels)[2:].tolist() == [20, 96, 308, 689, 1012]
    children = np.bincount(taxonomy_2022.parents[taxonomy_2022.parents >= 0], minlength=2125)
    only = {
        level: int((children[taxonomy_2022.levels == level] == 1).sum()) for level in range(2, 6)
    }
    # Below the sectors: 24 + 140 + 522 = 686.
    assert only == {2: 4, 3: 24, 4: 140, 5: 522}
