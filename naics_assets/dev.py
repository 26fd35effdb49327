"""`python -m naics_assets.dev`: Dagster's UI and daemon, and MLflow's UI, until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from naics_assets.lib import programs
from naics_assets.lib.environment import prepare_environment
from naics_assets.lib.supervisor import HOST, Service, require_free, serve
from naics_model.errors import NaicsError


def services(port: int, mlflow_port: int, log: Path) -> list[Service]:
    """Return both, as local as can be: their databases are files.

    Args:
        port: of Dagster's UI.
        mlflow_port: of MLflow's.
        log: MLflow's; what Dagster says is for the terminal.
    """
    mlflow, dagster = programs.mlflow_server(HOST, mlflow_port), programs.dagster_dev(port)
    environment = {
        'MLFLOW_BACKEND_STORE_URI': os.environ['MLFLOW_TRACKING_URI'],
        **programs.MLFLOW_ENVIRONMENT,
    }
    return [
        Service('MLflow', mlflow.command, mlflow.check, environment, log),
        # On SIGINT it stops what it has started itself.
        Service('Dagster', dagster.command, dagster.check, stop_signal=signal.SIGINT),
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
                'Ctrl-C stops both.',
            ],
        )
    except NaicsError as error:
        print(f'Error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
