"""The resources of the graph, configured from the environment (`.env.example` lists the names)."""

import os

import dagster as dg

from naics_assets.lib.environment import default_tracking_uri, is_server
from naics_assets.lib.gate import ReleaseGate
from naics_assets.lib.launcher import JobLauncher
from naics_assets.lib.mlflow_tracker import MlflowTracker
from naics_assets.lib.paths import NaicsPaths
from naics_model.errors import without_passwords
from naics_model.storage.layout import default_data_dir


@dg.definitions
def resources() -> dg.Definitions:
    data_dir = default_data_dir()
    given = os.environ.get('MLFLOW_TRACKING_URI')
    tracking_uri = given or default_tracking_uri()
    return dg.Definitions(
        resources={
            'paths': NaicsPaths(
                data_dir=str(data_dir), source_dir=os.environ.get('NAICS_SOURCE_DIR', '')
            ),
            'jobs': JobLauncher(
                profile=os.environ.get('NAICS_PROFILE') or 'smoke',
                processes=int(os.environ.get('NAICS_PROCESSES') or '0'),
                max_steps=int(os.environ.get('NAICS_MAX_STEPS') or '0'),
            ),
            'release_gate': ReleaseGate(),
            'mlflow': MlflowTracker(
                # By its name where it has one: Dagster stores settings, and shows them to everyone.
                tracking_uri=dg.EnvVar('MLFLOW_TRACKING_URI') if given else tracking_uri,
                artifact_folder=(
                    str(data_dir / 'mlartifacts') if tracking_uri.startswith('sqlite') else ''
                ),
                url=_shown(os.environ.get('NAICS_MLFLOW_URL') or _address(tracking_uri)),
                dagster_url=_shown(os.environ.get('NAICS_DAGSTER_URL') or 'http://127.0.0.1:3000'),
            ),
        }
    )


def _address(tracking_uri: str) -> str:
    """Return where people see MLflow: the server itself, or that of `make dev`."""
    return tracking_uri if is_server(tracking_uri) else 'http://127.0.0.1:5000'


def _shown(address: str) -> str:
    return without_passwords(address).rstrip('/')
