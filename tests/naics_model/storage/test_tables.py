"""What a table says of its columns, and whether a frame has a value where it must."""

from __future__ import annotations

import polars as pl

from naics_model.checks import Check
from naics_model.storage.tables import Column, Table, check_nulls

TABLE = Table(
    name='descriptions',
    row='one code.',
    columns=(
        Column('code', pl.String(), 'The code.'),
        Column('examples', pl.List(pl.String()), 'Its examples, null where none.', nullable=True),
        Column('level', pl.UInt8(), 'Its level.'),
        Column('parent', pl.String(), 'The code above, null for a sector.', nullable=True),
    ),
)
GOOD = 'No value is null but in examples, parent.'


def test_a_value_everywhere_but_where_there_may_be_none_passes() -> None:
    frame = pl.DataFrame(
        [('11', None, 2, None), ('111', ['a'], 3, '11')], TABLE.schema, orient='row'
    )
    passed = Check('no_nulls', True, True, GOOD, GOOD)
    assert check_nulls(TABLE, frame) == passed
    # Here the asset graph learns the name and the guarantee.
    assert check_nulls(TABLE, frame.clear()) == passed


def test_nulls_are_shown_by_column_and_row() -> None:
    rows = [('11', None, None, None), (None, None, 3, '11'), (None, ['a'], None, None)]
    check = check_nulls(TABLE, pl.DataFrame(rows, TABLE.schema, orient='row'))
    assert (check.passed, check.blocking, check.guarantee) == (False, True, GOOD)
    assert check.sentence == 'Values are null: 4.'
    assert check.offending == (
        {'column': 'code', 'row': 1},
        {'column': 'code', 'row': 2},
        {'column': 'level', 'row': 0},
        {'column': 'level', 'row': 2},
    )


def test_a_table_that_is_never_without_says_so() -> None:
    table = Table('distances', 'a pair.', (Column('code', pl.String(), 'The code.'),))
    check = check_nulls(table, pl.DataFrame(schema=table.schema))
    assert check.guarantee == 'No value is null.'
