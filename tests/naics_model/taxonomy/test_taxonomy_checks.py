"""Each guarantee of the pairs broken once, and tables as nobody should write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from naics_model.checks import Check
from naics_model.taxonomy import distances, relations
from naics_model.taxonomy.checks import check_distances, check_relations
from naics_model.taxonomy.distances import distance_table
from naics_model.taxonomy.relations import RELATIONS, relation_table
from naics_model.taxonomy.tree import Taxonomy

SEVEN = Taxonomy.from_codes(['31', '311', '3111', '3112', '321', '11', '111'])
Build = Callable[[Taxonomy], pl.DataFrame]
Find = Callable[[pl.DataFrame], dict[str, Check]]
PAIRS = (
    'no_nulls',
    'pairs_valid',
    'pairs_unique',
    'pairs_complete',
    'rows_in_order',
    'codes_at_their_indices',
)


def failed(checks: list[Check]) -> dict[str, Check]:
    assert all(check.blocking for check in checks)
    return {check.name: check for check in checks if not check.passed}


def of_distances(frame: pl.DataFrame) -> dict[str, Check]:
    return failed(check_distances(frame, SEVEN))


def of_relations(frame: pl.DataFrame) -> dict[str, Check]:
    return failed(check_relations(frame, SEVEN))


both_tables = pytest.mark.parametrize(
    ('table', 'check'), [(distance_table, of_distances), (relation_table, of_relations)]
)


def changed(frame: pl.DataFrame, i: str, j: str, **values: Any) -> pl.DataFrame:
    """Return the table with other values in the row of a pair of codes."""
    here = (pl.col('code_i') == i) & (pl.col('code_j') == j)
    assert frame.filter(here).height == 1
    return frame.with_columns(
        pl.when(here).then(pl.lit(value, frame.schema[name])).otherwise(name).alias(name)
        for name, value in values.items()
    )


@both_tables
def test_a_table_of_the_tree_passes_as_read_back_from_disk(
    tmp_path: Path, table: Build, check: Find
) -> None:
    table(SEVEN).write_parquet(tmp_path / 'table.parquet')
    assert check(pl.read_parquet(tmp_path / 'table.parquet')) == {}


def test_tables_of_2022_pass(taxonomy_2022: Taxonomy) -> None:
    checks = check_distances(distance_table(taxonomy_2022), taxonomy_2022)
    assert failed(checks) == {}
    checks = check_relations(relation_table(taxonomy_2022), taxonomy_2022)
    assert failed(checks) == {}


def test_empty_tables_of_no_codes_pass_and_name_the_checks() -> None:
    none = Taxonomy.from_codes([])
    checks = check_distances(pl.DataFrame(schema=distances.TABLE.schema), none)
    assert [check.name for check in checks] == [*PAIRS, 'distances_of_the_tree']
    assert failed(checks) == {}
    checks = check_relations(pl.DataFrame(schema=relations.TABLE.schema), none)
    names = [*PAIRS, 'relations_named_by_their_ids', 'relations_of_the_tree']
    assert [check.name for check in checks] == names
    assert failed(checks) == {}


@pytest.mark.parametrize(
    ('table', 'check', 'pairs'),
    [(distance_table, of_distances, 21), (relation_table, of_relations, 11)],
)
def test_an_empty_table_lacks_every_pair(
    table: Build,
    check: Find,
    pairs: int,
) -> None:
    found = check(table(SEVEN).clear())
    assert list(found) == ['pairs_complete']
    assert found['pairs_complete'].sentence == f'Pairs have no row: {pairs}.'
    assert found['pairs_complete'].offending[0] == {
        'idx_i': 0,
        'idx_j': 1,
        'code_i': '31',
        'code_j': '311',
    }


@both_tables
def test_a_row_too_few_and_a_row_too_many_are_shown(table: Build, check: Find) -> None:
    frame = table(SEVEN)
    pair = (pl.col('code_i') == '11') & (pl.col('code_j') == '111')
    found = check(frame.filter(~pair))
    assert list(found) == ['pairs_complete']
    assert found['pairs_complete'].offending == (
        {'idx_i': 5, 'idx_j': 6, 'code_i': '11', 'code_j': '111'},
    )
    found = check(pl.concat([frame, frame.filter(pair)]))
    assert list(found) == ['pairs_unique']
    assert found['pairs_unique'].offending == tuple(frame.filter(pair).to_dicts() * 2)


@both_tables
def test_rows_in_another_order_are_shown(table: Build, check: Find) -> None:
    frame = table(SEVEN)
    # The second row first, as a writer of several threads may leave it.
    found = check(frame[[1, 0, *range(2, frame.height)]])
    assert list(found) == ['rows_in_order']
    assert found['rows_in_order'].offending == tuple(frame[:1].to_dicts())
    # By idx_j first.
    found = check(frame.sort('idx_j', 'idx_i'))
    assert list(found) == ['rows_in_order']


@both_tables
@pytest.mark.parametrize('rows', [[0], [1, 10], range(30)])
def test_a_null_is_found_and_never_a_crash(table: Build, check: Find, rows: Sequence[int]) -> None:
    frame = table(SEVEN)
    here = pl.int_range(pl.len()).is_in(list(rows))
    for column in frame.columns:
        nulls = pl.when(here).then(None).otherwise(column).alias(column)
        found = check(frame.with_columns(nulls))
        assert (
            found['no_nulls'].offending
            == tuple({'column': column, 'row': row} for row in rows if row < frame.height)[:5]
        )


@both_tables
@pytest.mark.parametrize('index', [7, 2**32 - 1, None])
@pytest.mark.parametrize('column', ['idx_i', 'idx_j'])
def test_an_index_of_no_code_is_no_pair(
    table: Build,
    check: Find,
    column: str,
    index: int | None,
) -> None:
    found = check(changed(table(SEVEN), '11', '111', **{column: index}))
    assert set(found) - {'no_nulls'} == {'pairs_valid', 'pairs_complete'}
    assert ('no_nulls' in found) is (index is None)
    (row,) = found['pairs_valid'].offending
    assert (row['code_i'], row['code_j'], row[column]) == ('11', '111', index)


@both_tables
def test_an_index_below_zero_is_no_pair(table: Build, check: Find) -> None:
    frame = table(SEVEN).cast({'idx_i': pl.Int64, 'idx_j': pl.Int64})
    assert check(frame) == {}
    found = check(changed(frame, '11', '111', idx_j=-1))
    assert set(found) == {'pairs_valid', 'pairs_complete'}
    assert found['pairs_valid'].offending[0]['idx_j'] == -1


@both_tables
def test_a_pair_the_wrong_way_round_is_no_pair(table: Build, check: Find) -> None:
    turned = {'idx_i': 3, 'idx_j': 2, 'code_i': '3112', 'code_j': '3111'}
    found = check(changed(table(SEVEN), '3111', '3112', **turned))
    assert set(found) - {'rows_in_order'} == {'pairs_valid', 'pairs_complete'}
    (row,) = found['pairs_valid'].offending
    assert row.items() >= turned.items()
    (row,) = found['pairs_complete'].offending
    assert (row['code_i'], row['code_j']) == ('3111', '3112')


@pytest.mark.parametrize('number', RELATIONS)
def test_no_kinship_goes_across_sectors(number: int) -> None:
    values = {'idx_i': 0, 'idx_j': 5, 'code_i': '31', 'code_j': '11'}
    values |= {'relation_id': number, 'relation': RELATIONS[number]}
    found = of_relations(changed(relation_table(SEVEN), '11', '111', **values))
    assert set(found) == {
        'pairs_valid',
        'pairs_complete',
        'rows_in_order',
        'relations_of_the_tree',
    }
    assert found['pairs_valid'].offending == found['relations_of_the_tree'].offending == (values,)


@both_tables
@pytest.mark.parametrize('code', ['112', '', None])
@pytest.mark.parametrize('column', ['code_i', 'code_j'])
def test_a_code_that_is_not_the_one_at_its_index_is_shown_beside_it(
    table: Build,
    check: Find,
    column: str,
    code: str | None,
) -> None:
    found = check(changed(table(SEVEN), '11', '111', **{column: code}))
    assert set(found) - {'no_nulls'} == {'codes_at_their_indices'}
    (row,) = found['codes_at_their_indices'].offending
    assert (row[column], row['at_idx_i'], row['at_idx_j']) == (code, '11', '111')


@pytest.mark.parametrize('distance', [0.0, 1.0, 10.0, -0.5, float('nan'), float('inf'), None])
def test_a_distance_that_the_tree_does_not_give_is_shown_beside_it(distance: float | None) -> None:
    found = of_distances(changed(distance_table(SEVEN), '11', '111', distance=distance))
    assert set(found) - {'no_nulls'} == {'distances_of_the_tree'}
    (row,) = found['distances_of_the_tree'].offending
    assert (row['code_i'], row['code_j'], row['expected']) == ('11', '111', 0.5)


@pytest.mark.parametrize('number', RELATIONS)
def test_any_other_kinship_than_the_tree_gives_is_shown(number: int) -> None:
    frame = relation_table(SEVEN)
    right = frame.filter(relation_id=number)
    values = {'relation_id': number, 'relation': RELATIONS[number]}
    everywhere = frame.with_columns(
        pl.lit(value, frame.schema[name]).alias(name) for name, value in values.items()
    )
    found = of_relations(everywhere)
    assert list(found) == ['relations_of_the_tree']
    wrong = everywhere.join(right, on=['idx_i', 'idx_j'], how='anti')
    assert found['relations_of_the_tree'].sentence.startswith('Relations differ from the one that')
    assert found['relations_of_the_tree'].sentence.endswith(f' give: {wrong.height}.')
    assert found['relations_of_the_tree'].offending == tuple(wrong.head(5).to_dicts())


@pytest.mark.parametrize('name', ['child', None])
def test_a_name_that_is_not_the_one_of_its_id_is_shown(name: str | None) -> None:
    found = of_relations(changed(relation_table(SEVEN), '321', '3111', relation=name))
    assert set(found) - {'no_nulls'} == {'relations_named_by_their_ids'}
    (row,) = found['relations_named_by_their_ids'].offending
    assert (row['code_i'], row['relation_id'], row['relation']) == ('321', 5, name)


@pytest.mark.parametrize('number', [0, 15, 255, None])
@pytest.mark.parametrize('name', ['nephew/niece', None])
def test_an_id_of_no_kinship_fails_whatever_its_name(number: int | None, name: str | None) -> None:
    values = {'relation_id': number, 'relation': name}
    found = of_relations(changed(relation_table(SEVEN), '321', '3111', **values))
    without = {'no_nulls'} if None in values.values() else set()
    assert set(found) - without == {'relations_named_by_their_ids', 'relations_of_the_tree'}
    for check in found.values():
        if check.name in without:
            continue
        (row,) = check.offending
        assert row.items() >= values.items()


def test_a_table_of_other_codes_shows_where_they_part() -> None:
    # A sector fewer, so that everything behind it has moved up.
    other = Taxonomy.from_codes(['31', '311', '3111', '3112', '321'])
    found = of_distances(distance_table(other))
    assert list(found) == ['pairs_complete']
    assert found['pairs_complete'].sentence == 'Pairs have no row: 11.'
    found = failed(check_distances(distance_table(SEVEN), other))
    assert list(found) == ['pairs_valid']
    assert found['pairs_valid'].sentence == 'Rows are not a pair of codes, idx_i before idx_j: 11.'
