"""What every asset of the graph shares: its partitions, its owners, what it is made again by, and
how its errors read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg

from naics_assets.lib.automation import CONDITIONS
from naics_assets.lib.metadata import offending_rows
from naics_model.checks import BrokenGuaranteeError
from naics_model.corpus.editions import load_editions
from naics_model.errors import NaicsError

# Static, from editions.toml: dynamic keys live in the instance's database, so that a fresh clone
# would show an empty grid, in the order of insertion.
EDITIONS = dg.StaticPartitionsDefinition(list(load_editions()))


def naics_asset(
    *, group_name: str, **options: Any
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """`dg.asset` with what all assets share, and the automation condition of the group.

    Args:
        group_name: the group.
        options: as of `dg.asset`; what is given here wins.
    """
    shared = {
        'partitions_def': EDITIONS,
        'owners': ['team:naics'],
        'automation_condition': CONDITIONS.get(group_name),
    }
    return dg.asset(group_name=group_name, **{**shared, **options})


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn an error meant for people into the step's failure, without a traceback around it.

    The rows that broke a guarantee are shown with it.
    """
    try:
        yield
    except BrokenGuaranteeError as error:
        rows = {check.name: offending_rows(check) for check in error.checks if check.offending}
        raise dg.Failure(description=str(error), metadata=rows, allow_retries=False) from None
    except NaicsError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from None
