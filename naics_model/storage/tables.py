"""What a table is: its columns with their types and meanings, said once.

The writers take the schema from here, the asset graph its column descriptions, and the data
dictionary its pages. Which tables there are is not known here: each is defined beside the function
that builds it.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class Column:
    """A column of a published table.

    Attributes:
        name: its name.
        dtype: its type.
        meaning: what a value says, and what a null means where there can be one, for a person.
    """

    name: str
    dtype: pl.DataType
    meaning: str

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
