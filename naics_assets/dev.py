"""`python -m naics_assets.dev`: Dagster's UI and daemon, and MLflow's UI, until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
from pathlib import Path

from naics_assets.lib.environment import prepare_environment

HOST = '127.0.0.1'


def is_free(port: int) -> bool:
    """Return whether nobody listens at a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) != 0


def serve(port: int, mlflow_port: int) -> int:
    """Run both until one ends or a person stops them; return the exit code."""
    for number, option in ((port, 'PORT'), (mlflow_port, 'MLFLOW_PORT')):
        if not is_free(number):
            print(f'Port {number} is in use: choose another one, as in make dev {option}=...')
            return 1
    data_dir = Path(os.environ['NAICS_DATA_DIR'])
    log = data_dir / 'mlflow.log'
    print(f'Dagster  http://{HOST}:{port}')
    runs = '#/experiments?workflowType=machine_learning'
    print(f'MLflow   http://{HOST}:{mlflow_port}/{runs}   (its log: {log})')
    print('Ctrl-C stops both.', flush=True)
    # Without this MLflow starts seven worker processes for features that are not used here.
    os.environ.setdefault('MLFLOW_SERVER_ENABLE_JOB_EXECUTION', 'false')
    # Not on the command line, which every user of the machine can read.
    os.environ['MLFLOW_BACKEND_STORE_URI'] = os.environ['MLFLOW_TRACKING_URI']
    python = [sys.executable, '-m']
    where = ['--host', HOST, '--port', str(mlflow_port)]
    with log.open('ab') as output:
        mlflow = subprocess.Popen(
            [*python, 'mlflow', 'server', *where, '--workers', '1'],
            stdout=output,
            stderr=output,
        )
    options = ['--workspace', 'workspace.yaml', '--host', HOST, '--port', str(port)]
    dagster = subprocess.Popen([*python, 'dagster', 'dev', *options])
    try:
        return dagster.wait()
    except KeyboardInterrupt:
        # The terminal has told both of them, too.
        return dagster.wait()
    finally:
        mlflow.terminate()
        mlflow.wait()


def main() -> int:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog='python -m naics_assets.dev', description=__doc__)
    parser.add_argument('--port', type=int, default=3000, help="Dagster's")
    parser.add_argument('--mlflow-port', type=int, default=5000, help="MLflow's")
    arguments = parser.parse_args()
    prepare_environment()
    return serve(arguments.port, arguments.mlflow_port)


if __name__ == '__main__':
    sys.exit(main())
