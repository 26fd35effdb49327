"""MLflow's runs of old Dagster runs: what registered models need of them, and their deletion.

An MLflow run goes with the Dagster run that it mirrors, and never alone: what was logged by hand,
or by another installation that shares the server, is not ours to judge.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from naics_assets.lib.mlflow_tracker import DAGSTER_RUN_ID, client_of

_MODEL_ID = re.compile(r'\bm-[0-9a-f]{32}\b')


@dataclass(frozen=True)
class TrackedRun:
    """A run in MLflow that mirrors a Dagster run, or one of its jobs.

    Attributes:
        run_id: MLflow's.
        dagster_run_id: of the Dagster run.
        running: whether MLflow has it as being at work.
        artifacts: the addresses of its files, and of the models that were logged from it.
    """

    run_id: str
    dagster_run_id: str
    running: bool
    artifacts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Registered:
    """What registered models refer to.

    Attributes:
        run_ids: MLflow runs that they come from.
        checkpoints: files that they were exported from.
    """

    run_ids: frozenset[str] = frozenset()
    checkpoints: frozenset[Path] = frozenset()


def has_runs(tracking_uri: str) -> bool:
    """Return whether there may be runs: a database file that is not there yet has none."""
    return not tracking_uri.startswith('sqlite:///') or Path(tracking_uri[10:]).is_file()


def list_runs(tracking_uri: str, experiment: str) -> list[TrackedRun]:
    """List the graph's runs, those in MLflow's trash as well."""
    from mlflow.entities import ViewType

    client = client_of(tracking_uri)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return []
    models: dict[str, list[str]] = defaultdict(list)
    for model in _pages(partial(client.search_logged_models, [found.experiment_id])):
        models[model.source_run_id].append(model.artifact_location)
    pages = _pages(partial(client.search_runs, [found.experiment_id], run_view_type=ViewType.ALL))
    return [
        TrackedRun(
            run.info.run_id,
            run.data.tags[DAGSTER_RUN_ID],
            run.info.status == 'RUNNING' and run.info.lifecycle_stage == 'active',
            (run.info.artifact_uri, *models[run.info.run_id]),
        )
        for run in pages
        if DAGSTER_RUN_ID in run.data.tags
    ]


def registered(tracking_uri: str, experiment: str) -> Registered:
    """Return what the versions of all registered models refer to."""
    client = client_of(tracking_uri)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return Registered()
    versions = list(_pages(client.search_model_versions))
    logged = _pages(partial(client.search_logged_models, [found.experiment_id]))
    # A database does not keep a version's model id, but the address of its files has it.
    named = {name for version in versions for name in _MODEL_ID.findall(version.source or '')}
    models = [model for model in logged if model.model_id in named]
    return Registered(
        frozenset(version.run_id for version in versions if version.run_id)
        | frozenset(model.source_run_id for model in models if model.source_run_id),
        frozenset(Path(m.tags['checkpoint']) for m in models if 'checkpoint' in m.tags),
    )


def needed_dagster_runs(runs: Iterable[TrackedRun], kept: Registered) -> set[str]:
    """Return the Dagster runs that may not go, because of what MLflow has of them: a registered
    model, or a run that is still at work."""
    return {run.dagster_run_id for run in runs if run.running or run.run_id in kept.run_ids}


def of_dagster_runs(runs: Iterable[TrackedRun], gone: Collection[str]) -> list[TrackedRun]:
    """Return the MLflow runs that go with Dagster runs."""
    return [run for run in runs if run.dagster_run_id in gone]


def local_folders(run: TrackedRun) -> list[Path]:
    """Return those folders of a run's files that are on this machine."""
    addresses = map(urlsplit, run.artifacts)
    return [Path(unquote(each.path)) for each in addresses if each.scheme in ('', 'file')]


def delete(tracking_uri: str, runs: Sequence[TrackedRun]) -> bool:
    """Delete runs, with the models that were logged from them.

    Where the tracker is a database they are gone for good, with their files. A server only puts
    them into its trash, which `mlflow gc` empties where its database is.

    Returns:
        whether they are gone for good.
    """
    client = client_of(tracking_uri)
    models: list[str] = []
    for run in runs:
        info = client.get_run(run.run_id).info
        of_run = f"source_run_id = '{info.run_id}'"
        logged = partial(client.search_logged_models, [info.experiment_id], of_run)
        for model in list(_pages(logged)):
            client.delete_logged_model(model.model_id)
            models.append(model.model_id)
        if info.lifecycle_stage == 'active':
            client.delete_run(run.run_id)
    if urlsplit(tracking_uri).scheme in ('http', 'https'):
        return False
    _purge(tracking_uri, [run.run_id for run in runs], models)
    return True


def _purge(tracking_uri: str, run_ids: Iterable[str], model_ids: Iterable[str]) -> None:
    """Take runs and logged models out of the trash.

    As `mlflow gc` does, which would also take out every experiment that is there, whoever deleted
    it.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
    from mlflow.tracking._tracking_service.utils import _get_store

    store = _get_store(tracking_uri)
    for model_id in model_ids:
        model = store.get_logged_model(model_id, allow_deleted=True)
        get_artifact_repository(model.artifact_location).delete_artifacts()
        store._hard_delete_logged_model(model_id)
    for run_id in run_ids:
        get_artifact_repository(store.get_run(run_id).info.artifact_uri).delete_artifacts()
        store._hard_delete_run(run_id)


def _pages(ask: Callable[..., Any]) -> Iterator[Any]:
    """Yield the entries of all pages of an answer.

    Args:
        ask: asks for the page of a `page_token`; None is the first.
    """
    token = None
    while True:
        page = ask(page_token=token)
        yield from page
        token = page.token
        if not token:
            return
