"""A tracker of a test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from naics_assets.definitions import defs
from naics_assets.lib.mlflow_tracker import MlflowTracker


@pytest.fixture(autouse=True)
def definitions_of_each_test() -> None:
    """A test that sets the environment gets definitions with resources of that environment."""
    defs.load_fn.cache_clear()


@pytest.fixture
def tracker(tmp_path: Path) -> MlflowTracker:
    return MlflowTracker(
        tracking_uri=f'sqlite:///{tmp_path / "mlflow.db"}',
        artifact_folder=str(tmp_path / 'artifacts'),
        url='http://mlflow',
        dagster_url='http://dagster',
    )
