"""The code location's entry point: everything below `defs/`, found by its folder."""

from __future__ import annotations

from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """Load every asset, check, job and resource of the graph."""
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
