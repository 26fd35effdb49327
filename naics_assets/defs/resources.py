"""The resources of the graph, configured from the environment (`.env.example` lists the names)."""

import os

import dagster as dg

from naics_assets.lib.environment import default_tracking_uri
from naics_assets.lib.launcher import JobLauncher
from naics_assets.lib.mlflow_tracker import MlflowTracker
from naics_assets.lib.paths import NaicsPaths
from naics_model.storage.layout import default_data_dir


@dg.definitions
def resources() -> dg.Definitions:
    data_dir = default_data_dir()
    tracking_uri = os.environ.get('MLFLOW_TRACKING_URI') or default_tracking_uri()
    return dg.Definitions(
        resources={
            'paths': NaicsPaths(
                data_dir=str(data_dir), source_dir=os.environ.get('NAICS_SOURCE_DIR', '')
            ),
            'jobs': JobLauncher(
                profile=os.environ.get('NAICS_PROFILE') or 'smoke',
                processes=int(os.environ.get('NAICS_PROCESSES') or '0'),
            ),
            'mlflow': MlflowTracker(
                tracking_uri=tracking_uri,
                artifact_folder=(
                    str(data_dir / 'mlartifacts') if tracking_uri.startswith('sqlite') else ''
                ),
            ),
        }
    )
