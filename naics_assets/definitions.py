"""The code location's entry point: everything below `defs/`, found by its folder."""

from __future__ import annotations

import gc
from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """Load every asset, check, job and resource of the graph."""
    definitions = dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
    # What is loaded now is needed to the end: to look through it for garbage, above all when a
    # process ends, takes each process of a run a second or more.
    gc.freeze()
    return definitions
