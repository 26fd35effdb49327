"""The environment of the commands that people start: `.env`, and a place for everything."""

from __future__ import annotations

import os
from pathlib import Path

from dotenv import load_dotenv

from naics_model.storage.layout import default_data_dir

EXPERIMENT = 'naics'
"""The experiment that the graph's runs are in, in MLflow."""
ASK_THE_STACK = 'eval "$(.venv/bin/python -m naics_assets.stack --environment)"'
"""The command that has the others of a shell ask the stack."""


def prepare_environment() -> None:
    """Fill in what the environment leaves out, and make the data folder."""
    complete_environment()
    default_data_dir().mkdir(parents=True, exist_ok=True)


def complete_environment() -> None:
    """Fill in what the environment leaves out: first from `.env`, then with this folder's places.

    What is set already stays: `NAICS_SOURCE_DIR=... make edition` wins over a line in `.env`.
    """
    load_dotenv(Path('.env'), override=False)
    os.environ['NAICS_DATA_DIR'] = str(default_data_dir())
    os.environ.setdefault('DAGSTER_HOME', str(Path('dagster_home').absolute()))
    os.environ.setdefault('MLFLOW_TRACKING_URI', default_tracking_uri())
    os.environ.setdefault('MLFLOW_DISABLE_TELEMETRY', 'true')


def stack_state(data_dir: Path) -> Path:
    """Return where `make stack` keeps what is its own: databases, logs, settings."""
    return data_dir / 'stack'


def stack_home(data_dir: Path) -> Path:
    """Return the DAGSTER_HOME of that stack."""
    return stack_state(data_dir) / 'dagster_home'


def is_beside_a_stack(data_dir: Path) -> bool:
    """Return whether a data folder is a stack's, and this process asks another Dagster: what the
    stack's runs and registered models need is not known there.
    """
    of_stack, ours = stack_home(data_dir), Path(os.environ.get('DAGSTER_HOME', ''))
    return of_stack.is_dir() and not (ours.is_dir() and of_stack.samefile(ours))


def default_tracking_uri() -> str:
    """Return a database file in the data folder: MLflow no longer keeps runs in plain folders."""
    return f'sqlite:///{default_data_dir() / "mlflow.db"}'


def is_server(tracking_uri: str) -> bool:
    """Return whether MLflow is a server, and not a database of this project's own."""
    return tracking_uri.startswith(('http://', 'https://'))
