"""MLflow runs that mirror Dagster's: one parent per Dagster run, one nested run per job.

What stands here is how runs are made, found and closed; `mlflow_run.py` has one while its job is at
work.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import dagster as dg

from naics_assets.lib.environment import EXPERIMENT
from naics_assets.lib.mlflow_entries import Opened
from naics_assets.lib.mlflow_run import JobRun, not_opened
from naics_model.jobs.processes import is_alive, this_process

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

# MLflow's own names: which of its pages an experiment has, what makes a run nested, its title, and
# its description.
EXPERIMENT_KIND = 'mlflow.experimentKind'
MODEL_TRAINING = 'custom_model_development'
PARENT_RUN_ID = 'mlflow.parentRunId'
RUN_NAME = 'mlflow.runName'
NOTE = 'mlflow.note.content'
DAGSTER_RUN_ID = 'dagster/run_id'
ASSET = 'dagster/asset'
# The process that has a run open.
OWNER = 'naics/owner'

_KNOCK_SECONDS = 10.0
# As much of a digest as MLflow's databases take.
_DIGEST = 36


def client_of(tracking_uri: str) -> MlflowClient:
    # MLflow's own way to wait for a server, minutes in all, would only be between us and the news
    # that it is away: what is to be written is kept and tried again here.
    os.environ.setdefault('MLFLOW_HTTP_REQUEST_MAX_RETRIES', '2')
    os.environ.setdefault('MLFLOW_DISABLE_TELEMETRY', 'true')
    # Imported here, because importing mlflow takes longer than loading the whole graph.
    from mlflow import MlflowClient

    if tracking_uri.startswith('sqlite:///'):
        database = Path(tracking_uri.removeprefix('sqlite:///'))
        database.parent.mkdir(parents=True, exist_ok=True)
    return MlflowClient(tracking_uri)


def knock(tracking_uri: str) -> None:
    """Knock at a server, which takes no time; a database file is asked nothing.

    Raises:
        OSError: nobody answers.
    """
    parts = urlsplit(tracking_uri)
    if parts.scheme not in ('http', 'https') or not parts.hostname:
        return
    port = parts.port or (443 if parts.scheme == 'https' else 80)
    socket.create_connection((parts.hostname, port), _KNOCK_SECONDS).close()


def _require_somebody(tracking_uri: str) -> None:
    """Knock before a job is started that would replace what an earlier one left.

    Raises:
        dagster.Failure: nobody answers.
    """
    try:
        knock(tracking_uri)
    except OSError as error:
        raise not_opened(error) from None


@dataclass(frozen=True)
class _Step:
    """What a run is to know of the step it is for, read from Dagster before the run is made.

    Attributes:
        dagster_run_id: of the Dagster run.
        asset: which asset is made.
        edition: of which edition.
        again: which try it is, in words; nothing for the first.
        made_from: MLflow's fields of a dataset, for each asset that this one is made from.
    """

    dagster_run_id: str
    asset: str
    edition: str
    again: str
    made_from: tuple[dict[str, Any], ...]

    @classmethod
    def of(cls, context: dg.AssetExecutionContext) -> _Step:
        return cls(
            context.run.run_id,
            context.asset_key.to_user_string(),
            context.partition_key,
            f' · try {context.retry_number + 1}' if context.retry_number else '',
            tuple(_made_from(context)),
        )


class MlflowTracker(dg.ConfigurableResource):
    """Opens and closes MLflow runs for the graph's jobs.

    Attributes:
        tracking_uri: a database (`sqlite:////path/mlflow.db`) or a server's address.
        experiment: the experiment's name.
        artifact_folder: where a local database's runs keep their files; a server has its own.
        url: where people see MLflow, for links to it.
        dagster_url: where people see Dagster, for links back.
    """

    tracking_uri: str
    experiment: str = EXPERIMENT
    artifact_folder: str = ''
    url: str = 'http://127.0.0.1:5000'
    dagster_url: str = 'http://127.0.0.1:3000'

    @contextmanager
    def job_run(self, context: dg.AssetExecutionContext) -> Iterator[JobRun]:
        """Yield a nested run for the step's job, at once: it is opened meanwhile.

        The run ends FINISHED, FAILED or KILLED with the block, and so does its parent, which is
        opened again by the next job: a step that fails or is cancelled leaves nothing RUNNING. What
        a step left that was killed outright, this closes first (`close_abandoned`). Each try of a
        step has a run of its own.

        Args:
            context: the step's context; its asset, partition and run become the run's tags, and the
                assets it is made from its datasets, with their data versions.

        Raises:
            dagster.Failure: nobody answers where MLflow should be, before the block; or MLflow did
                not make the run, whatever the block did.
        """
        _require_somebody(self.tracking_uri)
        step, instance = _Step.of(context), context.instance
        run = JobRun(context, partial(self._open, step))
        run.write(lambda _: self.close_abandoned(instance), partial(_log_inputs, step))
        status = 'FAILED'
        try:
            yield run
            run.require()
            status = 'FINISHED'
        except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
            status = 'KILLED'
            raise
        finally:
            run.close(partial(_close, status))

    def close_abandoned(self, instance: dg.DagsterInstance) -> list[str]:
        """Close what is still RUNNING although its Dagster run has ended, or the process of its
        step; return the ids.

        Runs of another Dagster instance in the same experiment are left alone.
        """
        client = client_of(self.tracking_uri)
        experiment = client.get_experiment_by_name(self.experiment)
        if experiment is None:
            return []
        closed, parents = [], set()
        running = "attributes.status = 'RUNNING'"
        for run in list(_all_runs(client, experiment.experiment_id, running)):
            of = instance.get_run_by_id(run.data.tags.get(DAGSTER_RUN_ID, ''))
            if of is None:
                continue
            owner = run.data.tags.get(OWNER)
            if of.is_finished:
                canceled = of.status == dg.DagsterRunStatus.CANCELED
                status = 'KILLED' if canceled else 'FAILED'
            elif owner and is_alive(json.loads(owner)) is False:
                status = 'KILLED'
                parents.add(run.data.tags[PARENT_RUN_ID])
            else:
                continue
            client.set_terminated(run.info.run_id, status)
            closed.append(run.info.run_id)
        for parent_id in parents:
            closed += _settle(client, experiment.experiment_id, parent_id)
        return closed

    def _open(self, step: _Step) -> Opened:
        """Make the run of a step's job."""
        client = client_of(self.tracking_uri)
        experiment_id = self._experiment_id(client)
        parent_id, is_new = self._parent_run(client, experiment_id, step)
        client.update_run(parent_id, status='RUNNING')
        tags = {
            PARENT_RUN_ID: parent_id,
            ASSET: step.asset,
            OWNER: json.dumps(this_process()),
            RUN_NAME: f'{step.asset} · {step.edition}{step.again}',
            **self._links(step, f'`{step.asset}` of edition {step.edition}{step.again}'),
        }
        run_id = client.create_run(experiment_id, tags=tags).info.run_id
        page = f'{self.url}/#/experiments/{experiment_id}/runs'
        new = {'mlflow/run_id': parent_id, 'mlflow/url': f'{page}/{parent_id}'} if is_new else {}
        return Opened(client, experiment_id, run_id, parent_id, step.asset, f'{page}/{run_id}', new)

    def _links(self, step: _Step, what: str) -> dict[str, str]:
        """Return the tags that lead back to Dagster; the description is shown with its link."""
        run_id = step.dagster_run_id
        url = f'{self.dagster_url}/runs/{run_id}'
        return {
            DAGSTER_RUN_ID: run_id,
            'dagster/url': url,
            'naics/edition': step.edition,
            NOTE: f'{what}, in [Dagster run {run_id[:8]}]({url})',
        }

    def _experiment_id(self, client: MlflowClient) -> str:
        found = client.get_experiment_by_name(self.experiment)
        if found is not None:
            return str(found.experiment_id)
        from mlflow.exceptions import MlflowException

        location = Path(self.artifact_folder).absolute().as_uri() if self.artifact_folder else None
        try:
            return client.create_experiment(
                self.experiment, artifact_location=location, tags={EXPERIMENT_KIND: MODEL_TRAINING}
            )
        except MlflowException:
            # Another step of the first run was faster.
            found = client.get_experiment_by_name(self.experiment)
            if found is None:
                raise
            return str(found.experiment_id)

    def _parent_run(
        self, client: MlflowClient, experiment_id: str, step: _Step
    ) -> tuple[str, bool]:
        """Return the id of the Dagster run's own MLflow run, and whether it was made just now, at
        the first job.
        """
        run_id = step.dagster_run_id
        of_this = f"tags.`{DAGSTER_RUN_ID}` = '{run_id}' AND tags.`naics/role` = 'pipeline'"
        for parent in _all_runs(client, experiment_id, of_this):
            return str(parent.info.run_id), False
        tags = {
            'naics/role': 'pipeline',
            RUN_NAME: f'{step.edition} · {run_id[:8]}',
            **self._links(step, f'The graph for edition {step.edition}'),
        }
        made = str(client.create_run(experiment_id, tags=tags).info.run_id)
        # Steps begin beside each other, and another may have made one meanwhile: the oldest is it.
        oldest = next(_all_runs(client, experiment_id, of_this)).info.run_id
        if oldest != made:
            client.delete_run(made)
        return str(oldest), oldest == made


def _all_runs(client: MlflowClient, experiment_id: str, condition: str) -> Iterator[Run]:
    """Yield the runs under a condition, oldest first."""
    token = None
    while True:
        page = client.search_runs(
            [experiment_id], condition, order_by=['attributes.start_time ASC'], page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def _close(status: str, opened: Opened) -> None:
    opened.client.set_terminated(opened.run_id, status)
    _settle(opened.client, opened.experiment_id, opened.parent_id)


def _settle(client: MlflowClient, experiment_id: str, parent_id: str) -> list[str]:
    """Set a parent's status by the last try of each of its jobs, unless one is at work; return its
    id if it was set.
    """
    jobs = _all_runs(client, experiment_id, f"tags.`{PARENT_RUN_ID}` = '{parent_id}'")
    last = {run.data.tags.get(ASSET): run.info.status for run in jobs}
    if 'RUNNING' in last.values():
        return []
    # The worst of them.
    whole = max(last.values(), key=('FINISHED', 'KILLED', 'FAILED').index)
    client.set_terminated(parent_id, whole)
    return [parent_id]


def _made_from(context: dg.AssetExecutionContext) -> Iterator[dict[str, Any]]:
    """Yield each asset that this one is made from as a dataset, its data version as the digest."""
    for dep in context.assets_def.get_asset_spec(context.asset_key).deps:
        record = context.instance.get_latest_data_version_record(
            dep.asset_key, partition_key=context.partition_key
        )
        made = record.asset_materialization if record else None
        version = (made.tags or {}).get('dagster/data_version') if made else None
        if made is None or version is None:
            continue
        path = made.metadata.get('path')
        facts: Mapping[str, Any] = {
            name: made.metadata[name].value
            for name in ('dagster/row_count', 'size_mb')
            if name in made.metadata
        }
        yield {
            'name': f'{dep.asset_key.to_user_string()} · {context.partition_key}',
            'digest': version[:_DIGEST],
            'source_type': 'local',
            'source': json.dumps({'uri': str(path.value) if path is not None else ''}),
            'profile': json.dumps({**facts, 'data_version': version}),
        }


def _log_inputs(step: _Step, opened: Opened) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    tag = InputTag('mlflow.data.context', 'training')
    inputs = [DatasetInput(Dataset(**fields), [tag]) for fields in step.made_from]
    opened.client.log_inputs(opened.run_id, inputs)
