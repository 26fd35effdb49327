"""`python -m naics_assets.stack`: the server stack without containers, until Ctrl-C.

The processes of `docker/compose.yaml`, in its order, with its settings: PostgreSQL, MLflow, the
code location, Dagster's webserver and its daemon. State and logs are in `<data>/stack`.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from dotenv import dotenv_values

import naics_assets
from naics_assets.lib import programs
from naics_assets.lib.environment import prepare_environment, stack_home, stack_state
from naics_assets.lib.postgres import Cluster
from naics_assets.lib.programs import Program
from naics_assets.lib.supervisor import HOST, Service, require_free, serve
from naics_model.errors import ConfigurationError, NaicsError
from naics_model.storage.files import write_bytes

SETTINGS = Path(naics_assets.__file__).parents[1] / 'docker'
"""What the stack has in common with its containers."""
PEOPLE_S = {'NAICS_DATA_DIR', 'NAICS_DAGSTER_URL', 'NAICS_MLFLOW_URL'}
"""What people may choose of that which Dagster's processes are told."""


@dataclass(frozen=True)
class Ports:
    """Where the services listen, on this machine only; named as the options that choose them."""

    port: int
    mlflow_port: int
    code_port: int
    postgres_port: int


def dagster_environment(ports: Ports, data_dir: Path, cluster: Cluster) -> dict[str, str]:
    """Return what Dagster's processes are told, and every command that is to ask the same."""
    dagster_url, mlflow_url = f'http://{HOST}:{ports.port}', f'http://{HOST}:{ports.mlflow_port}'
    return {
        'PGPASSFILE': str(cluster.passwords),
        'DAGSTER_HOME': str(stack_home(data_dir)),
        'DAGSTER_POSTGRES_URL': cluster.url('dagster'),
        'NAICS_COMPUTE_LOGS': str(stack_state(data_dir) / 'compute_logs'),
        'NAICS_CODE_HOST': HOST,
        'NAICS_CODE_PORT': str(ports.code_port),
        'NAICS_DATA_DIR': str(data_dir),
        'NAICS_DAGSTER_URL': os.environ.get('NAICS_DAGSTER_URL') or dagster_url,
        'NAICS_MLFLOW_URL': os.environ.get('NAICS_MLFLOW_URL') or mlflow_url,
        'MLFLOW_TRACKING_URI': mlflow_url,
    }


def require_untold(environment: Mapping[str, str]) -> None:
    """See that `.env` says nothing of what the stack decides: Dagster's commands heed that file
    before their own environment.

    Raises:
        ConfigurationError: it does.
    """
    decided = set(environment) - PEOPLE_S
    wrong = [name for name in dotenv_values('.env') if name in decided or name.startswith('PG')]
    if wrong:
        raise ConfigurationError(
            f'.env sets {", ".join(wrong)}, and Dagster would heed that before what the stack '
            'decides itself: take it out of that file.'
        )


def in_a_shell(environment: Mapping[str, str], without: Sequence[str]) -> str:
    """Return the lines that set these variables in a shell, and take others out."""
    lines = [f'unset {" ".join(without)}'] if without else []
    return '\n'.join(
        lines + [f'export {name}={shlex.quote(value)}' for name, value in environment.items()]
    )


def services(ports: Ports, data_dir: Path, cluster: Cluster) -> list[Service]:
    """Return the services in the order of their starts.

    Args:
        ports: where they listen.
        data_dir: the data folder; their state is in its folder `stack`.
        cluster: the databases.
    """
    state, workspace = stack_state(data_dir), SETTINGS / 'workspace.yaml'
    for_dagster = dagster_environment(ports, data_dir, cluster)
    for_mlflow = {
        'PGPASSFILE': str(cluster.passwords),
        'MLFLOW_BACKEND_STORE_URI': cluster.url('mlflow'),
        **programs.MLFLOW_ENVIRONMENT,
    }

    def service(name: str, program: Program, environment: dict[str, str]) -> Service:
        log = state / 'logs' / f'{name}.log'
        return Service(name, program.command, program.check, environment, log)

    kept = programs.artifacts(state / 'artifacts')
    return [
        cluster.service(state / 'logs' / 'postgres.log'),
        service('mlflow', programs.mlflow_server(HOST, ports.mlflow_port, kept), for_mlflow),
        service('code', programs.code_location(HOST, ports.code_port), for_dagster),
        service('webserver', programs.webserver(HOST, ports.port, workspace), for_dagster),
        service('daemon', programs.daemon(workspace), for_dagster),
    ]


def main() -> int:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog='python -m naics_assets.stack', description=__doc__)
    parser.add_argument('--port', type=int, default=3000, help="of Dagster's UI and GraphQL")
    parser.add_argument('--mlflow-port', type=int, default=5000, help="MLflow's")
    parser.add_argument('--code-port', type=int, default=4000, help="the code location's")
    parser.add_argument('--postgres-port', type=int, default=5433, help="PostgreSQL's")
    parser.add_argument(
        '--databases-only', action='store_true', help='PostgreSQL alone, to restore or to migrate'
    )
    parser.add_argument(
        '--environment',
        action='store_true',
        help='start nothing: print what a shell is to be told, so that its commands ask the stack',
    )
    given = parser.parse_args()
    prepare_environment()
    # What clients of PostgreSQL heed before the address and the file of passwords they are given.
    foreign = [name for name in os.environ if name.startswith('PG')]
    for name in foreign:
        del os.environ[name]
    ports = Ports(given.port, given.mlflow_port, given.code_port, given.postgres_port)
    data_dir = Path(os.environ['NAICS_DATA_DIR'])
    state = stack_state(data_dir)
    if given.databases_only:
        listening = {'postgres_port': ports.postgres_port}
        shown = [f'PostgreSQL  {HOST}:{ports.postgres_port}']
    else:
        listening = asdict(ports)
        shown = [
            f'Dagster  http://{HOST}:{ports.port}',
            f'MLflow   http://{HOST}:{ports.mlflow_port}/{programs.MLFLOW_RUNS}',
        ]
    try:
        cluster = Cluster(state / 'postgres', state / 'passwords', ports.postgres_port)
        environment = dagster_environment(ports, data_dir, cluster)
        require_untold(environment)
        if given.environment:
            print(in_a_shell(environment, foreign))
            return 0
        require_free(listening)
        (state / 'logs').mkdir(parents=True, exist_ok=True)
        cluster.create(SETTINGS / 'databases.sql')
        # Dagster keeps files of its own beside its settings.
        settings = (SETTINGS / 'dagster.yaml').read_bytes()
        write_bytes(settings, stack_home(data_dir) / 'dagster.yaml')
        print(f'Starting; logs are in {state / "logs"}.', flush=True)
        started = services(ports, data_dir, cluster)
        serve(started[:1] if given.databases_only else started, [*shown, 'Ctrl-C stops all.'])
    except NaicsError as error:
        print(f'Error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
