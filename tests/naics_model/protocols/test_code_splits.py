"""Which codes are held out: by hand, over random trees, and in the real editions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from naics_model.checks import Check
from naics_model.corpus.text import words_of
from naics_model.errors import DataError
from naics_model.protocols.branches import Branches
from naics_model.protocols.folds import ALONE, FOLD_SPLITS, FOLDS, SHARED_TITLE, never_hidden
from naics_model.protocols.splits import (
    ALL_SPLITS,
    SPLITS,
    TABLE,
    build_code_splits,
    check_code_splits,
    hidden_codes,
    read_code_splits,
)
from naics_model.storage.files import read_parquet, write_parquet
from naics_model.storage.layout import EditionFolder
from naics_model.taxonomy.tree import parent_of, sector_of

MakeTable = Callable[[Mapping[str, Mapping[str, object]]], pl.DataFrame]
AMOUNTS = {'some_held_out', 'held_out_share', 'sector_shares'}

LEAVES = st.lists(
    st.builds(
        lambda sector, rest: sector + ''.join(map(str, rest)),
        st.sampled_from(['11', '31', '32', '54', '62']),
        st.tuples(*[st.integers(1, 3)] * 4),
    ),
    min_size=1,
    max_size=60,
    unique=True,
)
# One word for a title: so some codes share theirs.
TITLES = st.lists(st.sampled_from([None, None, None, 'Farms', 'farms.', 'Mills']), min_size=60)


def trees(make: MakeTable) -> st.SearchStrategy[pl.DataFrame]:
    return st.builds(
        lambda leaves, titles: make(
            {
                leaf: {'title': title} if title else {}
                for leaf, title in zip(leaves, titles, strict=False)
            }
        ),
        LEAVES,
        TITLES,
    )


def failed(checks: list[Check]) -> set[str]:
    return {check.name for check in checks if not check.passed}


def test_a_code_without_siblings_takes_the_codes_above_with_it(table_of: MakeTable) -> None:
    # In the order of their sha256: 111110, whose chain ends at the sector, then these two.
    assert draw(table_of, '541110', '541211', '541212', '111110') == ['541212']
    assert draw(table_of, '541110', '541211', '111110') == ['5411', '54111', '541110']


def draw(table_of: MakeTable, *codes: str, split: str = 'stratified') -> list[str]:
    """Build the splits of the codes and those above them, and return what is hidden."""
    table = table_of({code: {} for code in codes})
    splits = build_code_splits(table)
    assert splits.schema == TABLE.schema
    assert splits['code'].to_list() == table['code'].to_list()
    assert failed(check_code_splits(splits, table)) <= AMOUNTS - {'some_held_out'}
    return hidden_codes(splits, split)


def test_a_group_goes_with_all_that_is_below_it_and_one_stays(table_of: MakeTable) -> None:
    # 1111 comes before 5411, but is the only group of its subsector.
    hidden = draw(table_of, '541110', '541120', '541211', '111110', split='subtrees')
    assert hidden == ['5411', '54111', '541110', '54112', '541120']


def test_a_title_that_another_code_keeps_is_no_secret(table_of: MakeTable) -> None:
    table = table_of({'541110': {'title': 'Law Offices'}, '541210': {'title': 'LAW offices.'}})
    splits = build_code_splits(table)
    assert [hidden_codes(splits, split) for split in SPLITS] == [[], []]
    assert 'some_held_out' in failed(check_code_splits(splits, table))
    shared = table_of({'541110': {}, '541210': {}, '54121': {}})
    assert [len(hidden_codes(build_code_splits(shared), split)) for split in SPLITS] == [3, 3]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_what_is_hidden_keeps_every_guarantee(table_of: MakeTable, data: st.DataObject) -> None:
    table = data.draw(trees(table_of))
    splits = build_code_splits(table)
    assert failed(check_code_splits(splits, table)) <= AMOUNTS
    for split in ALL_SPLITS:
        hidden = set(hidden_codes(splits, split))
        # The same by a loop over codes.
        for code, title in table.select('code', 'title').iter_rows():
            parent = parent_of(code)
            assert code in hidden or parent not in hidden
            assert len(code) > 3 or code not in hidden
            bearers = {
                c
                for c, t in table.select('code', 'title').iter_rows()
                if words_of(t) == words_of(title)
            }
            assert code not in hidden or bearers <= hidden
            children = {c for c in table['code'] if parent_of(c) == code}
            assert code in hidden or not children or not children <= hidden


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_sides_depend_on_codes_and_titles_and_on_no_order(
    table_of: MakeTable, data: st.DataObject
) -> None:
    table = data.draw(trees(table_of))
    splits = build_code_splits(table)
    assert build_code_splits(table).equals(splits)
    shuffled = table.sample(fraction=1, shuffle=True, seed=data.draw(st.integers(0, 9)))
    again = build_code_splits(shuffled).sort('index')
    assert again.equals(splits)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_each_split_draws_a_tenth_unless_fewer_may_go(
    table_of: MakeTable, data: st.DataObject
) -> None:
    table = data.draw(trees(table_of))
    splits = build_code_splits(table)
    for split, level in zip(SPLITS, (6, 4), strict=True):
        hidden = hidden_codes(splits, split)
        units = [code for code in table['code'] if len(code) == level]
        wanted = max(1, round(len(units) / 10))
        drawn = [code for code in hidden if len(code) == level]
        assert len(drawn) <= wanted
        if len(drawn) < wanted:
            assert not any(may_go(unit, set(hidden), table) for unit in units)


def may_go(unit: str, hidden: set[str], table: pl.DataFrame) -> bool:
    """Whether a code could go beside those that are hidden, by trying it."""
    if unit in hidden:
        return False
    going = {code for code in table['code'] if code.startswith(unit)}
    top = unit
    while len([c for c in table['code'] if parent_of(c) == parent_of(top)]) == 1 and len(unit) == 6:
        top = parent_of(top) or ''
        going.add(top)
    sides = pl.when(pl.col('code').is_in(hidden | going)).then(pl.lit('heldout'))
    splits = table.select(
        'index',
        'code',
        *(sides.otherwise(pl.lit('train')).alias(s) for s in SPLITS),
        fold=pl.lit(0, pl.UInt8),
    )
    return failed(check_code_splits(splits, table)) <= AMOUNTS | {'folds_complete'}


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_every_code_that_may_go_is_in_one_fold(table_of: MakeTable, data: st.DataObject) -> None:
    table = data.draw(trees(table_of))
    splits = build_code_splits(table)
    fold = dict(splits.select('code', 'fold').iter_rows())
    leaves = [code for code in table['code'] if len(code) == 6]
    # With nothing else hidden, a code may go if and only if it is in a fold.
    code = data.draw(st.sampled_from(leaves))
    assert (fold[code] > 0) == may_go(code, set(), table)
    for codes in (leaves, *([c for c in leaves if sector_of(c) == s] for s in SECTORS)):
        counts = Counter(fold[code] for code in codes if fold[code])
        assert max(counts.values(), default=0) - min(counts[k] for k in range(1, FOLDS + 1)) <= 1
    # A parent's children are spread as far as they go.
    for parent in table['code']:
        children = [fold[c] for c in table['code'] if parent_of(c) == parent and fold[c]]
        if fold[parent] == 0 and children:
            assert max(Counter(children).values()) == -(-len(children) // FOLDS)


SECTORS = ('11', '31', '54', '62')


def test_siblings_are_dealt_to_different_folds(table_of: MakeTable) -> None:
    table = table_of({f'54{rest}': {} for rest in ('1111', '1112', '1113', '1210', '2110')})
    splits = build_code_splits(table)
    fold = dict(splits.filter(pl.col('fold') > 0).select('code', 'fold').iter_rows())
    # 542110 is the only code of its subsector; 541210 takes 54121 and 5412 along.
    assert set(fold) == {'541111', '541112', '541113', '541210', '54121', '5412'}
    assert len({fold[code] for code in ('541111', '541112', '541113')}) == 3
    assert fold['541210'] == fold['54121'] == fold['5412']
    assert hidden_codes(splits, f'fold_{fold["5412"]}') == ['5412', '54121', '541210']


def test_who_is_never_hidden_and_why(table_of: MakeTable) -> None:
    table = table_of(
        {
            '541110': {'title': 'Other Work'},
            '541190': {},
            '541210': {'title': 'other work.'},
            '542110': {},
        }
    )
    assert never_hidden(Branches.of(table)) == {
        '541110': SHARED_TITLE,
        '541210': SHARED_TITLE,
        '542110': ALONE,
    }


def test_a_table_without_folds_is_to_be_built_again(table_of: MakeTable, tmp_path: Path) -> None:
    splits = build_code_splits(table_of({'541110': {}, '541210': {}}))
    path = tmp_path / 'code_splits.parquet'
    write_parquet(splits, path)
    assert read_code_splits(path).equals(splits)
    write_parquet(splits.drop('fold'), path)
    with pytest.raises(DataError, match='lacks fold, which this release writes: build'):
        read_code_splits(path)


@pytest.mark.parametrize(
    ('edition', 'sizes', 'alone', 'shared'),
    [
        (
            '2022',
            [10, 201, 201, 200, 200, 200],
            ['425120', '491110', '518210', '521110', '533110', '814110', '927110'],
            ['339999', '459999', '812199'],
        ),
        (
            '2017',
            [8, 210, 210, 210, 210, 209],
            ['491110', '518210', '521110', '533110', '814110', '927110'],
            ['339999', '812199'],
        ),
    ],
)
def test_folds_of_the_real_editions(
    real: Callable[[str], EditionFolder],
    edition: str,
    sizes: list[int],
    alone: list[str],
    shared: list[str],
) -> None:
    folder = real(edition)
    splits, table = read_parquet(folder.code_splits), read_parquet(folder.descriptions)
    six = Counter(splits.filter(pl.col('code').str.len_chars() == 6)['fold'])
    assert [six[fold] for fold in range(FOLDS + 1)] == sizes
    reasons = never_hidden(Branches.of(table))
    assert [code for code, reason in reasons.items() if reason == ALONE] == alone
    assert [code for code, reason in reasons.items() if reason == SHARED_TITLE] == shared
    hidden = [code for split in FOLD_SPLITS for code in hidden_codes(splits, split)]
    assert len(hidden) == len(set(hidden))


@pytest.mark.parametrize(
    ('edition', 'figures'),
    [
        ('2022', {'stratified': (101, 49, 5), 'subtrees': (117, 73, 31)}),
        ('2017', {'stratified': (106, 48, 5), 'subtrees': (109, 70, 31)}),
    ],
)
def test_a_tenth_of_each_sector_of_the_real_editions(
    real: Callable[[str], EditionFolder], edition: str, figures: dict[str, tuple[int, ...]]
) -> None:
    folder = real(edition)
    splits, table = read_parquet(folder.code_splits), read_parquet(folder.descriptions)
    assert failed(check_code_splits(splits, table)) == set()
    for split, counts in figures.items():
        levels = Counter(map(len, hidden_codes(splits, split)))
        assert tuple(levels[level] for level in (6, 5, 4)) == counts
        assert levels.total() == sum(counts)

    leaves = [code for code in table['code'] if len(code) == 6]
    hidden = [code for code in hidden_codes(splits, 'stratified') if len(code) == 6]
    assert len(hidden) == round(len(leaves) / 10)
    of_sector = Counter(map(sector_of, hidden))
    for sector, size in Counter(map(sector_of, leaves)).items():
        assert abs(of_sector[sector] - size / 10) <= 1


def test_most_codes_keep_their_side_from_edition_to_edition(
    real: Callable[[str], EditionFolder],
) -> None:
    sides = [read_parquet(real(edition).code_splits) for edition in ('2017', '2022')]
    both = sides[0].join(sides[1], on='code', suffix='_2022')
    held_out = both.filter(
        (pl.col('stratified') == 'heldout') & (pl.col('code').str.len_chars() == 6)
    )
    stayed = held_out.filter(pl.col('stratified_2022') == 'heldout')
    assert stayed.height >= 0.9 * held_out.height


DAMAGE: dict[str, tuple[Callable[[pl.DataFrame], pl.DataFrame], str]] = {
    'a null': (lambda t: set_side(t, '541110', 'stratified', None), 'no_nulls'),
    'another word': (lambda t: set_side(t, '541110', 'stratified', 'test'), 'sides_known'),
    'fewer rows': (lambda t: t.head(5), 'same_codes'),
    'another order': (lambda t: t.reverse(), 'same_codes'),
    'a parent alone': (lambda t: set_side(t, '5412', 'subtrees', 'heldout'), 'closed_downward'),
    'all children': (
        lambda t: t.with_columns(
            stratified=pl.when(pl.col('code').str.starts_with('5412') & (pl.col('code') != '5412'))
            .then(pl.lit('heldout'))
            .otherwise('stratified')
        ),
        'children_stay',
    ),
    'a subsector': (
        lambda t: t.with_columns(
            subtrees=pl.when(pl.col('code').str.starts_with('542'))
            .then(pl.lit('heldout'))
            .otherwise('subtrees')
        ),
        'subsectors_stay',
    ),
    'a shared title': (lambda t: set_side(t, '541219', 'stratified', 'heldout'), 'titles_go'),
    'all children in a fold': (lambda t: set_fold(t, 2, '5411', '5412', '5413'), 'children_stay'),
    'a fold too many': (lambda t: set_fold(t, 6, '541211'), 'folds_known'),
    'a shared title in a fold': (lambda t: set_fold(t, 2, '541219'), 'titles_go'),
    'a code in no fold': (lambda t: set_fold(t, 0, '541211'), 'folds_complete'),
    'folds of one': (lambda t: t.with_columns(fold=pl.lit(1, pl.UInt8)), 'folds_even'),
    'nothing hidden': (
        lambda t: t.with_columns(subtrees=pl.lit('train')),
        'some_held_out',
    ),
}


def set_fold(table: pl.DataFrame, fold: int, *prefixes: str) -> pl.DataFrame:
    """Move all codes that begin with one of the prefixes to a fold."""
    begins = pl.any_horizontal(pl.col('code').str.starts_with(prefix) for prefix in prefixes)
    return table.with_columns(
        fold=pl.when(begins).then(pl.lit(fold, pl.UInt8)).otherwise(pl.col('fold'))
    )


def set_side(table: pl.DataFrame, code: str, split: str, side: str | None) -> pl.DataFrame:
    changed = pl.when(pl.col('code') == code).then(pl.lit(side)).otherwise(split)
    return table.with_columns(changed.alias(split))


@pytest.mark.parametrize('kind', list(DAMAGE))
def test_each_check_finds_its_fault_and_shows_it(table_of: MakeTable, kind: str) -> None:
    damage, name = DAMAGE[kind]
    table = table_of(
        {
            '541110': {},
            '541211': {},
            '541219': {'title': 'Other'},
            '54122': {'title': 'Other'},
            '541310': {},
            '542110': {},
        }
    )
    good = build_code_splits(table)
    assert failed(check_code_splits(good, table)) <= AMOUNTS - {'some_held_out'}
    found = {check.name: check for check in check_code_splits(damage(good), table)}
    assert not found[name].passed
    assert found[name].blocking == (name not in ('folds_complete', 'folds_even'))
    assert found[name].offending or name == 'some_held_out'
