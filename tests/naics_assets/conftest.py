"""Definitions of each test's environment, and a tracker of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from naics_assets.definitions import defs
from naics_assets.lib.mlflow_tracker import MlflowTracker


@pytest.fixture(autouse=True)
def definitions_of_each_test() -> None:
    """A test that sets the environment gets definitions with resources of that environment."""
    defs.load_fn.cache_clear()


@pytest.fixture(scope='session')
def new_tracker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database in which nothing is: MLflow takes seconds to make one."""
    path = tmp_path_factory.mktemp('tracker') / 'mlflow.db'
    MlflowClient(f'sqlite:///{path}').search_experiments()
    return path


@pytest.fixture
def tracker(new_tracker: Path, tmp_path: Path) -> MlflowTracker:
    shutil.copy(new_tracker, tmp_path)
    return MlflowTracker(
        tracking_uri=f'sqlite:///{tmp_path / "mlflow.db"}',
        artifact_folder=str(tmp_path / 'artifacts'),
        url='http://mlflow',
        dagster_url='http://dagster',
    )
