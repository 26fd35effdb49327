"""What a check of a table says: one plain value for the asset graph, commands and tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from naics_model.errors import DataError

OFFENDING_SHOWN = 5
_OFFENDING_IN_A_SENTENCE = 3


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Attributes:
        name: snake_case, unique within its table.
        passed: whether the table is as it should be.
        blocking: whether later steps must not run when it failed.
        guarantee: what it stands for, whatever it found.
        sentence: what was found, for a person.
        offending: up to five of the rows that broke it.
    """

    name: str
    passed: bool
    blocking: bool
    guarantee: str
    sentence: str
    offending: tuple[dict[str, Any], ...] = ()


def no_rows(
    name: str, offending: pl.DataFrame, good: str, bad: str, *, blocking: bool = True
) -> Check:
    """Return the check that passes when `offending` is empty.

    Args:
        name: snake_case, unique within its table.
        offending: the rows that break it.
        good: the guarantee, which is the sentence when it is.
        bad: what the rows do when it is not, as a clause; their number follows on it.
        blocking: whether later steps must not run when it failed.
    """
    return Check(
        name=name,
        passed=offending.is_empty(),
        blocking=blocking,
        guarantee=good,
        sentence=good if offending.is_empty() else f'{bad}: {offending.height:,}.',
        offending=tuple(offending.head(OFFENDING_SHOWN).to_dicts()),
    )


class BrokenGuaranteeError(DataError):
    """A table was not written, because it breaks guarantees that later steps rely on.

    Attributes:
        checks: the blocking checks that failed.
    """

    def __init__(self, message: str, checks: Sequence[Check]) -> None:
        # Both are arguments of the exception, or a process could not hand it to another.
        super().__init__(message, tuple(checks))
        self.checks = tuple(checks)

    def __str__(self) -> str:
        return str(self.args[0])


def require(checks: Sequence[Check], path: Path, remedy: str) -> None:
    """Refuse a table that fails a blocking check, before it takes the place of a good one.

    Args:
        checks: what the checks of the new table said.
        path: the file that it was to be written to.
        remedy: what a person can do, as the end of a sentence.

    Raises:
        BrokenGuaranteeError: a blocking check failed.
    """
    failed = [check for check in checks if check.blocking and not check.passed]
    if failed:
        found = '; '.join(check.sentence.rstrip('.') + _in_words(check) for check in failed)
        raise BrokenGuaranteeError(f'{path} was not written: {found}; {remedy}.', failed)


def _in_words(check: Check) -> str:
    rows = [
        ', '.join(
            f'{column} {value}'
            for column, value in row.items()
            if value is not None and str(value).strip()
        )
        for row in check.offending[:_OFFENDING_IN_A_SENTENCE]
    ]
    return f' ({"; ".join(rows)})' if rows else ''
