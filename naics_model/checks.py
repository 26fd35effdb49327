"""What a check of a table says: one plain value for the asset graph, commands and tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

OFFENDING_SHOWN = 5


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Attributes:
        name: snake_case, unique within its table.
        passed: whether the table is as it should be.
        blocking: whether later steps must not run when it failed.
        sentence: what was found, for a person.
        offending: up to five of the rows that broke it.
    """

    name: str
    passed: bool
    blocking: bool
    sentence: str
    offending: tuple[dict[str, Any], ...] = ()


def no_rows(
    name: str, offending: pl.DataFrame, good: str, bad: str, *, blocking: bool = True
) -> Check:
    """Return the check that passes when `offending` is empty.

    Args:
        good: the sentence when it is.
        bad: the sentence when it is not, after the number of rows.
    """
    return Check(
        name=name,
        passed=offending.is_empty(),
        blocking=blocking,
        sentence=good if offending.is_empty() else f'{offending.height:,} {bad}',
        offending=tuple(offending.head(OFFENDING_SHOWN).to_dicts()),
    )
