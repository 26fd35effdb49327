"""`python -m naics_assets.dev`: Dagster's UI and daemon, and MLflow's UI, until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from naics_assets.lib import programs
from naics_assets.lib.environment import is_server, prepare_environment
from naics_assets.lib.supervisor import HOST, Service, require_free, serve
from naics_model.errors import NaicsError, without_passwords

WORKSPACE = Path('workspace.yaml')


def services(port: int, mlflow_port: int, tracking_uri: str, log: Path) -> list[Service]:
    """Return all, as local as can be: their databases are files, unless the tracker is a server.

    Not `dagster dev`, whose webserver takes commands from any page (`naics_assets/webserver.py`).

    Args:
        port: of Dagster's UI.
        mlflow_port: of MLflow's.
        tracking_uri: MLflow's database; of a server, no other is started.
        log: MLflow's; what Dagster says is for the terminal.
    """
    webserver, daemon = programs.webserver(HOST, port, WORKSPACE), programs.daemon(WORKSPACE)
    dagster = [
        Service('Dagster', webserver.command, webserver.check),
        Service("Dagster's daemon", daemon.command, daemon.check),
    ]
    if is_server(tracking_uri):
        return dagster
    mlflow = programs.mlflow_server(HOST, mlflow_port)
    environment = {'MLFLOW_BACKEND_STORE_URI': tracking_uri, **programs.MLFLOW_ENVIRONMENT}
    return [Service('MLflow', mlflow.command, mlflow.check, environment, log), *dagster]


def main() -> int:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog='python -m naics_assets.dev', description=__doc__)
    parser.add_argument('--port', type=int, default=3000, help="Dagster's")
    parser.add_argument('--mlflow-port', type=int, default=5000, help="MLflow's")
    given = parser.parse_args()
    prepare_environment()
    tracking_uri = os.environ['MLFLOW_TRACKING_URI']
    log = Path(os.environ['NAICS_DATA_DIR']) / 'mlflow.log'
    try:
        if is_server(tracking_uri):
            listening = {'port': given.port}
            mlflow = without_passwords(tracking_uri)
        else:
            listening = vars(given)
            mlflow = f'http://{HOST}:{given.mlflow_port}/{programs.MLFLOW_RUNS}   (its log: {log})'
        require_free(listening)
        serve(
            services(given.port, given.mlflow_port, tracking_uri, log),
            [f'Dagster  http://{HOST}:{given.port}', f'MLflow   {mlflow}', 'Ctrl-C stops all.'],
        )
    except NaicsError as error:
        print(f'Error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
