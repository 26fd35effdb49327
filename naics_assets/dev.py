"""`python -m naics_assets.dev`: Dagster's UI and daemon, and MLflow's UI, until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from naics_assets.lib import programs
from naics_assets.lib.environment import prepare_environment
from naics_assets.lib.supervisor import HOST, Service, require_free, serve
from naics_model.errors import NaicsError

WORKSPACE = Path('workspace.yaml')


def services(port: int, mlflow_port: int, log: Path) -> list[Service]:
    """Return all, as local as can be: their databases are files.

    Not `dagster dev`, whose webserver takes commands from any page (`naics_assets/webserver.py`).

    Args:
        port: of Dagster's UI.
        mlflow_port: of MLflow's.
        log: MLflow's; what Dagster says is for the terminal.
    """
    mlflow = programs.mlflow_server(HOST, mlflow_port)
    webserver, daemon = programs.webserver(HOST, port, WORKSPACE), programs.daemon(WORKSPACE)
    environment = {
        'MLFLOW_BACKEND_STORE_URI': os.environ['MLFLOW_TRACKING_URI'],
        **programs.MLFLOW_ENVIRONMENT,
    }
    return [
        Service('MLflow', mlflow.command, mlflow.check, environment, log),
        Service('Dagster', webserver.command, webserver.check),
        Service("Dagster's daemon", daemon.command, daemon.check),
    ]


def main() -> int:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog='python -m naics_assets.dev', description=__doc__)
    parser.add_argument('--port', type=int, default=3000, help="Dagster's")
    parser.add_argument('--mlflow-port', type=int, default=5000, help="MLflow's")
    given = parser.parse_args()
    prepare_environment()
    log = Path(os.environ['NAICS_DATA_DIR']) / 'mlflow.log'
    try:
        require_free(vars(given))
        serve(
            services(given.port, given.mlflow_port, log),
            ready=[
                f'Dagster  http://{HOST}:{given.port}',
                f'MLflow   http://{HOST}:{given.mlflow_port}/{programs.MLFLOW_RUNS}   '
                f'(its log: {log})',
                'Ctrl-C stops all.',
            ],
        )
    except NaicsError as error:
        print(f'Error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
