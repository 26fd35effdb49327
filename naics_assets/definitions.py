"""The code location's entry point: everything below `defs/`, found by its folder."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import dagster as dg

from naics_assets.lib.memory import keep_to_the_end


# Dagster asks for the definitions several times in each process of a run (six times and twice were
# counted), and each time would cost half a second. They stay the same while the process lives.
@dg.definitions
@cache
def defs() -> dg.Definitions:
    """Load every asset, check, job and resource of the graph."""
    definitions = dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
    keep_to_the_end()
    return definitions
