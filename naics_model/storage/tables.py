"""What a table is: its columns with their types and meanings, said once.

The writers take the schema from here, the asset graph its column descriptions, and the data
dictionary its pages. Which tables there are is not known here: each is defined beside the function
that builds it.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from naics_model.checks import Check, no_rows


@dataclass(frozen=True)
class Column:
    """A column of a published table.

    Attributes:
        name: its name.
        dtype: its type.
        meaning: what a value says, and what a null means where there can be one, for a person.
        nullable: whether there can be one.
    """

    name: str
    dtype: pl.DataType
    meaning: str
    nullable: bool = False

    @property
    def type_name(self) -> str:
        """Its type in a word or two."""
        return 'Enum' if isinstance(self.dtype, pl.Enum) else str(self.dtype)


@dataclass(frozen=True)
class Table:
    """A published table.

    Attributes:
        name: the name of its asset, and of its file without the ending.
        row: what one row is, and in what order they are, to follow on 'a row is'.
        columns: its columns, in order.
    """

    name: str
    row: str
    columns: tuple[Column, ...]

    @property
    def schema(self) -> pl.Schema:
        return pl.Schema({column.name: column.dtype for column in self.columns})


def check_nulls(table: Table, frame: pl.DataFrame) -> Check:
    """Check that there is a value everywhere but in the columns that may be without. Blocking.

    Args:
        table: says which columns those are.
        frame: a table with its columns.

    Returns:
        `no_nulls`; an offending row names the column and the number of the row, from 0.
    """
    free = [column.name for column in table.columns if column.nullable]
    except_in = f' but in {", ".join(free)}' if free else ''
    nulls = [
        frame.select(row=pl.col(column.name).is_null().arg_true()).select(
            pl.lit(column.name).alias('column'), 'row'
        )
        for column in table.columns
        if not column.nullable
    ]
    return no_rows('no_nulls', pl.concat(nulls), f'No value is null{except_in}.', 'Values are null')
