"""Whether Dagster and MLflow answer, and their ports are free: findings for `naics doctor`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx

from naics_assets.lib.environment import ASK_THE_STACK, is_beside_a_stack, stack_state
from naics_model.errors import first_line, without_passwords
from naics_model.upkeep.health import Finding

_HOST = '127.0.0.1'
_SECONDS = 3.0


def check_port(what: str, port: int, page: str, mark: str, option: str) -> Finding:
    """Say who listens at a port: nobody, the service that belongs there, or something else.

    Args:
        what: the service.
        port: its port on this machine.
        page: of the service, such as `/version`.
        mark: what its answer holds.
        option: of `make dev`, to choose another port.
    """
    name = f'port {port}'
    try:
        answer = httpx.get(f'http://{_HOST}:{port}{page}', timeout=_SECONDS)
    except httpx.ConnectError:
        return Finding(name, 'ok', f'free for {what}')
    except httpx.HTTPError:
        answer = None
    if answer is not None and answer.is_success and mark in answer.text:
        return Finding(name, 'ok', f'{what} answers')
    return Finding(
        name,
        'warning',
        f'in use, and not by {what}',
        f'end what listens there, or make dev {option}={port + 1}',
    )


def check_instance() -> Finding:
    """Ask Dagster's database, wherever DAGSTER_HOME says that it is, how many runs it has."""
    what, home = 'Dagster', Path(os.environ['DAGSTER_HOME'])
    if not home.is_dir():
        return Finding(
            what,
            'problem',
            f'DAGSTER_HOME {home} is no folder',
            'run from the folder of the project, or set DAGSTER_HOME',
        )
    if not (home / 'dagster.yaml').is_file():
        return Finding(
            what,
            'warning',
            f'{home} has no dagster.yaml: runs wait for no place, and crashed ones stay',
            'copy dagster_home/dagster.yaml of the project there',
        )
    import dagster as dg

    try:
        with dg.DagsterInstance.get() as instance:
            runs = instance.get_runs_count()
            storage = type(instance.run_storage).__name__
    except Exception as error:  # noqa: BLE001  each storage has errors of its own
        return Finding(
            what,
            'problem',
            f'its database does not answer ({first_line(error)})',
            f'start it, or mend {home / "dagster.yaml"} or the variables that it names; after an '
            'upgrade: dagster instance migrate',
        )
    return Finding(what, 'ok', f'{runs:,} runs, in {home} ({storage})')


def check_stack(data_dir: Path) -> Iterator[Finding]:
    """Say so where the data folder is a stack's, and this process asks another Dagster."""
    if is_beside_a_stack(data_dir):
        yield Finding(
            'stack',
            'warning',
            f'{stack_state(data_dir)} is there, but Dagster and MLflow below are not its own',
            ASK_THE_STACK,
        )


def check_tracker(tracking_uri: str, experiment: str) -> Finding:
    """Ask MLflow for the graph's experiment."""
    what, shown = 'MLflow', without_passwords(tracking_uri)
    from naics_assets.upkeep.mlflow_runs import has_runs

    if not has_runs(tracking_uri):
        return Finding(what, 'ok', f'no runs yet, {shown}')
    # Importing it takes seconds.
    from naics_assets.lib.mlflow_tracker import client_of, knock

    try:
        knock(tracking_uri)
        found = client_of(tracking_uri).get_experiment_by_name(experiment)
    except Exception as error:  # noqa: BLE001  each store has errors of its own
        return Finding(
            what,
            'problem',
            f'{shown} does not answer ({first_line(error)})',
            'start its server, or mend MLFLOW_TRACKING_URI; after an upgrade: mlflow db upgrade',
        )
    return Finding(what, 'ok', f'{shown}, experiment {experiment}' + ('' if found else ' (new)'))
