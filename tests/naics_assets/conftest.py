"""A tracker of a test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from naics_assets.lib.mlflow_tracker import MlflowTracker


@pytest.fixture
def tracker(tmp_path: Path) -> MlflowTracker:
    return MlflowTracker(
        tracking_uri=f'sqlite:///{tmp_path / "mlflow.db"}',
        artifact_folder=str(tmp_path / 'artifacts'),
        url='http://mlflow',
        dagster_url='http://dagster',
    )
