"""What an installation no longer needs: found, told, and removed.

First all is decided, so that a tracker which does not answer leaves everything as it is; MLflow's
runs go before the Dagster runs that they are found by.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from naics_assets.lib.environment import ASK_THE_STACK, is_beside_a_stack
from naics_assets.lib.mlflow_tracker import knock
from naics_assets.upkeep import dagster_runs, mlflow_runs
from naics_assets.upkeep.dagster_runs import PastRun
from naics_assets.upkeep.mlflow_runs import TrackedRun
from naics_model.errors import ConfigurationError, NaicsError, first_line, without_passwords
from naics_model.upkeep import leftovers
from naics_model.upkeep.leftovers import Leftover


@dataclass(frozen=True)
class Row:
    """What goes of one kind.

    Attributes:
        kind: what it is.
        count: how many.
        bytes: on this machine; what is in a database or on a server is not counted.
    """

    kind: str
    count: int
    bytes: int


@dataclass(frozen=True)
class Plan:
    """What goes.

    Attributes:
        runs: Dagster runs.
        tracked: their MLflow runs.
        files: of the data folder.
        rows: the same, counted by kind.
    """

    runs: Sequence[PastRun]
    tracked: Sequence[TrackedRun]
    files: Sequence[Leftover]
    rows: Sequence[Row]


def plan(
    instance: dg.DagsterInstance,
    tracking_uri: str,
    experiment: str,
    data_dir: Path,
    before: float,
) -> Plan:
    """Decide what goes, and touch nothing.

    Args:
        instance: where Dagster's runs are.
        tracking_uri: where MLflow's runs are.
        experiment: the graph's experiment there.
        data_dir: the data folder.
        before: only what is older, in seconds since the epoch.

    Raises:
        NaicsError: MLflow does not answer, so that it is not known what registered models need; or
            the data folder is a stack's, and the instance another.
    """
    if is_beside_a_stack(data_dir):
        raise ConfigurationError(
            f'{data_dir} is the data folder of a stack, and what its models need is known there '
            f'alone: {ASK_THE_STACK}, then clean again.'
        )
    tracked, kept = _tracked(tracking_uri, experiment)
    also = mlflow_runs.needed_dagster_runs(tracked, kept)
    runs = dagster_runs.list_runs(instance)
    old = dagster_runs.to_delete(runs, also, before)
    needed = dagster_runs.needed_runs(instance, [run.run_id for run in old], also)
    going = dagster_runs.to_delete(runs, needed, before)
    going_tracked = mlflow_runs.of_dagster_runs(tracked, {run.run_id for run in going})

    files = leftovers.list_files(data_dir)
    facts = leftovers.read_facts(files, data_dir, kept.checkpoints)
    found = leftovers.leftovers(files, facts, before)
    return Plan(
        going,
        going_tracked,
        found,
        [
            Row('Dagster runs with their events and logs', len(going), _bytes_of(instance, going)),
            Row('MLflow runs with their files', len(going_tracked), _bytes_tracked(going_tracked)),
            *(_row(kind, found) for kind in leftovers.KINDS),
        ],
    )


def carry_out(what: Plan, instance: dg.DagsterInstance, tracking_uri: str) -> bool:
    """Remove what is planned.

    Returns:
        whether MLflow's runs are gone for good; a server keeps them in its trash.

    Raises:
        NaicsError: MLflow does not answer any more; what is left goes next time.
    """
    for_good = True
    if what.tracked:
        with _answering(tracking_uri):
            for_good = mlflow_runs.delete(tracking_uri, what.tracked)
    dagster_runs.delete(instance, what.runs)
    leftovers.remove(what.files)
    return for_good


def _tracked(tracking_uri: str, experiment: str) -> tuple[list[TrackedRun], mlflow_runs.Registered]:
    if not mlflow_runs.has_runs(tracking_uri):
        return [], mlflow_runs.Registered()
    with _answering(tracking_uri):
        return (
            mlflow_runs.list_runs(tracking_uri, experiment),
            mlflow_runs.registered(tracking_uri, experiment),
        )


@contextmanager
def _answering(tracking_uri: str) -> Iterator[None]:
    from mlflow.exceptions import MlflowException

    try:
        knock(tracking_uri)
        yield
    except (MlflowException, OSError) as error:
        raise NaicsError(
            f'MLflow at {without_passwords(tracking_uri)} does not do what it is asked for '
            f'({first_line(error)}): start it, or mend MLFLOW_TRACKING_URI, and '
            'clean again.'
        ) from error


def _row(kind: str, found: Iterable[Leftover]) -> Row:
    sizes = [leftover.file.bytes for leftover in found if leftover.kind == kind]
    return Row(kind, len(sizes), sum(sizes))


def _bytes_of(instance: dg.DagsterInstance, runs: Iterable[PastRun]) -> int:
    return _bytes(path for run in runs for path in dagster_runs.places_of(instance, run.run_id))


def _bytes_tracked(runs: Iterable[TrackedRun]) -> int:
    folders = (folder for run in runs for folder in mlflow_runs.local_folders(run))
    return _bytes(path for folder in folders for path in folder.rglob('*'))


def _bytes(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())
