"""Definitions of each test's environment, and a tracker of its own, as a file and as a server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psutil
import pytest
from mlflow import MlflowClient

from naics_assets.definitions import defs
from naics_assets.lib.mlflow_tracker import MlflowTracker

PATIENCE = 120


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


class Server:
    """An MLflow server over a database file.

    Attributes:
        address: of the server.
        directly: of its database.
    """

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            self.port = free.getsockname()[1]
        self.address = f'http://127.0.0.1:{self.port}'
        self.directly = f'sqlite:///{folder / "mlflow.db"}'
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        store = ['--backend-store-uri', self.directly]
        files = ['--artifacts-destination', str(self._folder / 'files')]
        where = ['--host', '127.0.0.1', '--port', str(self.port), '--workers', '1']
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'mlflow', 'server', *store, *files, *where],
            env={**os.environ, 'MLFLOW_SERVER_ENABLE_JOB_EXECUTION': 'false'},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert time.monotonic() < deadline, 'MLflow did not start'
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            with urlopen(f'{self.address}/health', timeout=5) as answer:
                return answer.status == 200
        except (URLError, OSError):
            return False

    def kill(self) -> None:
        if self._process is not None:
            process = psutil.Process(self._process.pid)
            for each in [*process.children(recursive=True), process]:
                each.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def server(new_tracker: Path, tmp_path: Path) -> Iterator[Server]:
    shutil.copy(new_tracker, tmp_path)
    server = Server(tmp_path)
    server.start()
    yield server
    server.kill()
