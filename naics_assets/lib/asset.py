"""What every asset of the graph shares: its partitions, its owners, and how its errors read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import dagster as dg

from naics_assets.lib.metadata import offending_rows
from naics_model.checks import BrokenGuaranteeError
from naics_model.corpus.editions import load_editions
from naics_model.errors import NaicsError

# Static, from editions.toml: dynamic keys live in the instance's database, so that a fresh clone
# would show an empty grid, in the order of insertion.
EDITIONS = dg.StaticPartitionsDefinition(list(load_editions()))

naics_asset = partial(dg.asset, partitions_def=EDITIONS, owners=['team:naics'])


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
