"""Old Dagster runs: which of them hold nothing that the newest data needs, and their deletion.

To delete a run is to delete its events. So runs stay whose materialisation or check is the latest
of any partition of an asset, with the runs that made what these were made from: the lineage of
everything that is there stays whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import dagster as dg
from dagster._core.definitions.data_version import DataProvenance
from dagster._core.storage.event_log.sqlite import SqliteEventLogStorage
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

_PAGE = 500
_MADE, _CHECKED = (
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
)


@dataclass(frozen=True)
class PastRun:
    """A Dagster run.

    Attributes:
        run_id: its id.
        ended: when, in seconds since the epoch; None while it is waiting or at work.
        parents: the runs that it tries again.
    """

    run_id: str
    ended: float | None
    parents: tuple[str, ...] = ()


def list_runs(instance: dg.DagsterInstance) -> list[PastRun]:
    """List all runs, newest first."""
    found: list[PastRun] = []
    cursor = None
    while records := instance.get_run_records(limit=_PAGE, cursor=cursor):
        for record in records:
            run = record.dagster_run
            ended = record.end_time or record.update_timestamp.timestamp()
            parents = tuple({each for each in (run.parent_run_id, run.root_run_id) if each})
            found.append(PastRun(run.run_id, ended if run.is_finished else None, parents))
        cursor = records[-1].dagster_run.run_id
    return found


def to_delete(runs: Sequence[PastRun], needed: Collection[str], before: float) -> list[PastRun]:
    """Decide which runs go.

    Args:
        runs: all of them.
        needed: ids of those that something needs.
        before: only runs that ended before, in seconds since the epoch.

    Returns:
        The finished runs of before that are not needed, and that no run which stays tries again.
    """
    parents = {run.run_id: run.parents for run in runs}
    young = {run.run_id for run in runs if run.ended is None or run.ended >= before}
    stay: set[str] = set()
    waiting = young | set(needed)
    while waiting:
        run_id = waiting.pop()
        stay.add(run_id)
        waiting |= set(parents.get(run_id, ())) - stay
    return [run for run in runs if run.run_id not in stay]


def needed_runs(
    instance: dg.DagsterInstance, candidates: Iterable[str], also: Iterable[str] = ()
) -> set[str]:
    """Return the ids of the runs that hold what the newest data needs.

    Args:
        instance: where they are.
        candidates: runs that may go; of these alone checks are looked at.
        also: runs that something outside Dagster needs, with what they were made from.
    """
    also = set(also)
    records = chain(
        (record for key in instance.all_asset_keys() for record in _latest(instance, key)),
        (record for run_id in also for record in _made_by(instance, run_id)),
    )
    made: dict[int, str] = {}
    waiting = list(records)
    while waiting:
        record = waiting.pop()
        if record.storage_id not in made:
            made[record.storage_id] = record.run_id
            waiting += _made_from(instance, record)
    return also | set(made.values()) | set(_with_latest_checks(instance, candidates))


def _latest(instance: dg.DagsterInstance, key: dg.AssetKey) -> list[dg.EventLogRecord]:
    """Return the latest materialisation of an asset, and that of each of its partitions."""
    newest = instance.fetch_materializations(key, limit=1).records
    by_partition = instance.get_latest_storage_id_by_partition(key, _MADE)
    return [*newest, *_records(instance, {key: by_partition.values()})]


def _made_by(instance: dg.DagsterInstance, run_id: str) -> Iterator[dg.EventLogRecord]:
    """Yield the materialisations of a run as they stand in the index of assets."""
    keys = {
        event.asset_key
        for event in (entry.dagster_event for entry in instance.all_logs(run_id, of_type=_MADE))
        if event and event.asset_key
    }
    for key in keys:
        for record in _all_materialisations(instance, key):
            if record.run_id == run_id:
                yield record


def _all_materialisations(
    instance: dg.DagsterInstance, key: dg.AssetKey
) -> Iterator[dg.EventLogRecord]:
    cursor = None
    while True:
        page = instance.fetch_materializations(key, limit=_PAGE, cursor=cursor)
        yield from page.records
        if not page.has_more:
            return
        cursor = page.cursor


def _made_from(
    instance: dg.DagsterInstance, record: dg.EventLogRecord
) -> Iterator[dg.EventLogRecord]:
    """Yield the materialisations that one was made from."""
    made = record.asset_materialization
    provenance = DataProvenance.from_tags((made and made.tags) or {})
    if provenance:
        yield from _records(
            instance,
            {key: [at] for key, at in provenance.input_storage_ids.items() if at is not None},
        )


def _records(
    instance: dg.DagsterInstance, places: Mapping[dg.AssetKey, Iterable[int]]
) -> Iterator[dg.EventLogRecord]:
    for key, ids in places.items():
        if wanted := list(ids):
            which = dg.AssetRecordsFilter(asset_key=key, storage_ids=wanted)
            yield from instance.fetch_materializations(which, limit=len(wanted)).records


def _with_latest_checks(instance: dg.DagsterInstance, candidates: Iterable[str]) -> Iterator[str]:
    """Yield those of the candidates that hold the latest result of a check of a partition."""
    latest: dict[dg.AssetCheckKey, set[str]] = {}
    for run_id in candidates:
        entries = instance.all_logs(run_id, of_type=_CHECKED)
        events = [entry.dagster_event for entry in entries if entry.dagster_event]
        for key in {event.asset_check_evaluation_data.asset_check_key for event in events}:
            if key not in latest:
                found = instance.event_log_storage.get_asset_check_partition_info([key])
                latest[key] = {info.latest_planned_run_id for info in found}
            if run_id in latest[key]:
                yield run_id


def places_of(instance: dg.DagsterInstance, run_id: str) -> list[Path]:
    """Return the files that a run has on this machine: its events, where they are in a file of
    their own, and what its steps said."""
    places: list[Path] = []
    storage, logs = instance.event_log_storage, instance.compute_log_manager
    if isinstance(storage, SqliteEventLogStorage):
        shard = Path(storage.path_for_shard(run_id))
        places += shard.parent.glob(f'{shard.name}*')
    if isinstance(logs, LocalComputeLogManager):
        somewhere = Path(logs.get_captured_local_path([run_id, 'compute_logs', 'step'], 'out'))
        places += (path for path in somewhere.parents[1].rglob('*') if path.is_file())
    return places


def delete(instance: dg.DagsterInstance, runs: Iterable[PastRun]) -> None:
    """Delete runs with their events and what their steps said."""
    for run in runs:
        events = [p for p in places_of(instance, run.run_id) if p.name.startswith(run.run_id)]
        instance.delete_run(run.run_id)
        instance.compute_log_manager.delete_logs(prefix=[run.run_id])
        # Emptied, and left there by Dagster.
        for path in events:
            path.unlink(missing_ok=True)
