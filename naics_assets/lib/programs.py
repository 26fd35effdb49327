"""The command lines of what serves: MLflow, the code location, Dagster's webserver and daemon.

`naics_assets/stack.py` and `naics_assets/dev.py` start these; `docker/compose.yaml` has the same
ones in its own notation, which a test compares. Addresses of databases come by the environment,
because a command line is read by everyone on the machine.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from naics_assets.lib.supervisor import HOST, python

DEFINITIONS = 'naics_assets.definitions'
LOCATION = 'naics_assets'
MLFLOW_RUNS = '#/experiments?workflowType=machine_learning'
"""The page of MLflow's UI that shows the runs of jobs."""
MLFLOW_ENVIRONMENT = {
    # Otherwise MLflow starts seven worker processes for features that are not used here.
    'MLFLOW_SERVER_ENABLE_JOB_EXECUTION': 'false',
    'MLFLOW_DISABLE_TELEMETRY': 'true',
}


@dataclass(frozen=True)
class Program:
    """What starts a service, and what tells whether it answers (exit code 0)."""

    command: Sequence[str]
    check: Sequence[str]


def mlflow_server(
    host: str, port: int, options: Sequence[str] = (), allowed: Sequence[str] = ()
) -> Program:
    """Return MLflow's server; `MLFLOW_BACKEND_STORE_URI` says where its database is.

    Args:
        host: the address that it listens at.
        port: its port.
        options: more of its options.
        allowed: names under which it may be asked, beside this machine's own.
    """
    # A foreign page that has its own name lead to this machine asks under that name. Any port,
    # because a container's port, or a tunnel's, is another one outside.
    names = ','.join([f'{HOST}:*', 'localhost:*', *allowed])
    address = ('--host', host, '--port', str(port), '--workers', '1', '--allowed-hosts', names)
    return Program(
        python('mlflow', 'server', *address, *options), _get(f'http://{HOST}:{port}/health')
    )


def artifacts(folder: Path | PurePosixPath) -> tuple[str, ...]:
    """Return the options of MLflow's server that keep files of runs in a folder of its own.

    Jobs send their files to the server, and need not see the folder.
    """
    return ('--serve-artifacts', '--artifacts-destination', folder.as_posix())


def code_location(host: str, port: int) -> Program:
    """Return the server of the asset graph, which is also the parent of its runs."""
    address = ('--host', host, '--port', str(port))
    return Program(
        python('dagster', 'api', 'grpc', *address, '-m', DEFINITIONS, '--location-name', LOCATION),
        python('dagster', 'api', 'grpc-health-check', '--host', HOST, '--port', str(port)),
    )


def webserver(host: str, port: int, workspace: Path | PurePosixPath) -> Program:
    """Return Dagster's UI and GraphQL."""
    address = ('--host', host, '--port', str(port))
    return Program(
        python('naics_assets.webserver', *address, '--workspace', workspace.as_posix()),
        _get(f'http://{HOST}:{port}/server_info'),
    )


def daemon(workspace: Path | PurePosixPath) -> Program:
    """Return what launches queued runs, tries crashed ones again, and ticks sensors and schedules.

    Raises its own alarm: a daemon whose parts no longer report ends itself.
    """
    return Program(
        python('dagster._daemon', 'run', '--workspace', workspace.as_posix()),
        python('dagster._daemon', 'liveness-check'),
    )


def _get(url: str) -> tuple[str, ...]:
    """Return a command that asks an address, in images that have no curl."""
    ask = f"import urllib.request as r; r.urlopen('{url}', timeout=10)"
    return (sys.executable, '-c', ask)
