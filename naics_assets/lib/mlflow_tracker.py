"""MLflow runs that mirror Dagster's: one parent per Dagster run, one nested run per job."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

# MLflow's own names: which of its pages an experiment has, what makes a run nested, its title, and
# its description.
EXPERIMENT_KIND = 'mlflow.experimentKind'
MODEL_TRAINING = 'custom_model_development'
PARENT_RUN_ID = 'mlflow.parentRunId'
RUN_NAME = 'mlflow.runName'
NOTE = 'mlflow.note.content'
DAGSTER_RUN_ID = 'dagster/run_id'
ASSET = 'dagster/asset'

FIRST_WORDS = 'MLflow run: '
"""What a step's first line begins with."""

# As many as a server takes in one request.
_METRICS_A_BATCH = 1000
# As much of a digest as MLflow's databases take.
_DIGEST = 36


def _metric(name: str, value: float) -> Metric:
    from mlflow.entities import Metric

    return Metric(name, float(value), int(time.time() * 1000), 0)


def _client(tracking_uri: str) -> MlflowClient:
    # Imported here, because importing mlflow takes longer than loading the whole graph.
    from mlflow import MlflowClient

    if tracking_uri.startswith('sqlite:///'):
        database = Path(tracking_uri.removeprefix('sqlite:///'))
        database.parent.mkdir(parents=True, exist_ok=True)
    return MlflowClient(tracking_uri)


@dataclass(frozen=True)
class JobRun:
    """A nested MLflow run made for one job, open while the job runs.

    Attributes:
        run_id: the run's id, known before the job starts.
        parent_id: the run of the whole Dagster run, above it.
        tracking_uri: where MLflow keeps both.
        url: where a person sees it.
    """

    run_id: str
    parent_id: str
    tracking_uri: str
    url: str

    @property
    def link(self) -> dg.MetadataValue:
        """The run's page, for a materialisation's metadata."""
        return dg.MetadataValue.url(self.url)

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which a job finds this run."""
        return {'MLFLOW_TRACKING_URI': self.tracking_uri, 'MLFLOW_RUN_ID': self.run_id}

    def log_outcome(self, metrics: Mapping[str, float], group: str = '') -> None:
        """Log final figures here and on the parent, where whole runs of the graph are compared.

        Args:
            metrics: by name.
            group: what their names begin with on the parent, where jobs have figures of one name.
        """
        client = _client(self.tracking_uri)
        for run_id, prefix in ((self.run_id, ''), (self.parent_id, group and f'{group}/')):
            entries = [_metric(f'{prefix}{name}', value) for name, value in metrics.items()]
            for start in range(0, len(entries), _METRICS_A_BATCH):
                client.log_batch(run_id, entries[start : start + _METRICS_A_BATCH])

    def log_headlines(self, metrics: Mapping[str, float]) -> None:
        """Log the first figures of a report on the parent, where MLflow's charts begin with them:
        groups stand in the order of the alphabet.

        Args:
            metrics: by name.
        """
        entries = [
            _metric(f'at a glance/{name.replace("/", " ")}', value)
            for name, value in metrics.items()
        ]
        _client(self.tracking_uri).log_batch(self.parent_id, metrics=entries)

    def log_choices(self, choices: Mapping[str, str]) -> None:
        """Log what a person chose for the whole run of the graph as the parent's parameters."""
        client = _client(self.tracking_uri)
        known = client.get_run(self.parent_id).data.params
        for name, value in choices.items():
            if name not in known:  # MLflow keeps the first value for good
                client.log_param(self.parent_id, name, value)

    def log_report(self, files: Iterable[Path]) -> None:
        """Attach the files of a report to the run; its pictures so that runs can be compared.

        MLflow sets pictures of one key side by side, those of one run beside another's.
        """
        from PIL import Image

        client = _client(self.tracking_uri)
        for path in files:
            if path.suffix == '.png':
                with Image.open(path) as picture:
                    client.log_image(self.run_id, picture, key=path.stem, step=0)
                client.log_artifact(self.run_id, str(path), 'figures')
            else:
                client.log_artifact(self.run_id, str(path))


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
    experiment: str = 'naics'
    artifact_folder: str = ''
    url: str = 'http://127.0.0.1:5000'
    dagster_url: str = 'http://127.0.0.1:3000'

    @contextmanager
    def job_run(self, context: dg.AssetExecutionContext) -> Iterator[JobRun]:
        """Yield a nested run for the step's job, created before the job is launched.

        The run ends FINISHED, FAILED or KILLED with the block, and so does its parent, which is
        opened again by the next job: a step that fails or is cancelled leaves nothing RUNNING.
        Where the step is killed outright its job closes both (`jobs/watchdog.py`), and where the
        job is, too, `close_abandoned` does. Each try of a step has a run of its own.

        Args:
            context: the step's context; its asset, partition and run become the run's tags, and the
                assets it is made from its datasets, with their data versions.
        """
        client = _client(self.tracking_uri)
        experiment_id = self._experiment_id(client)
        parent_id = self._parent_run(client, experiment_id, context)
        client.update_run(parent_id, status='RUNNING')
        asset = context.asset_key.to_user_string()
        again = f' · try {context.retry_number + 1}' if context.retry_number else ''
        tags = {
            PARENT_RUN_ID: parent_id,
            ASSET: asset,
            RUN_NAME: f'{asset} · {context.partition_key}{again}',
            **self._links(context, f'`{asset}` of edition {context.partition_key}{again}'),
        }
        run_id = client.create_run(experiment_id, tags=tags).info.run_id
        status = 'FAILED'
        try:
            url = f'{self.url}/#/experiments/{experiment_id}/runs/{run_id}'
            context.log.info(f'{FIRST_WORDS}{url}')
            _log_inputs(client, run_id, context)
            yield JobRun(run_id, parent_id, self.tracking_uri, url)
            status = 'FINISHED'
        except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
            status = 'KILLED'
            raise
        finally:
            client.set_terminated(run_id, status)
            _settle(client, experiment_id, parent_id)

    def close_abandoned(self, instance: dg.DagsterInstance) -> list[str]:
        """Close what is still RUNNING although its Dagster run has ended; return the ids.

        Runs of another Dagster instance in the same experiment are left alone.
        """
        client = _client(self.tracking_uri)
        experiment = client.get_experiment_by_name(self.experiment)
        if experiment is None:
            return []
        closed = []
        running = "attributes.status = 'RUNNING'"
        for run in _all_runs(client, experiment.experiment_id, running):
            of = instance.get_run_by_id(run.data.tags.get(DAGSTER_RUN_ID, ''))
            if of is not None and of.is_finished:
                canceled = of.status == dg.DagsterRunStatus.CANCELED
                client.set_terminated(run.info.run_id, 'KILLED' if canceled else 'FAILED')
                closed.append(run.info.run_id)
        return closed

    def _links(self, context: dg.AssetExecutionContext, what: str) -> dict[str, str]:
        """Return the tags that lead back to Dagster; the description is shown with its link."""
        run_id = context.run.run_id
        url = f'{self.dagster_url}/runs/{run_id}'
        return {
            DAGSTER_RUN_ID: run_id,
            'dagster/url': url,
            'naics/edition': context.partition_key,
            NOTE: f'{what}, in [Dagster run {run_id[:8]}]({url})',
        }

    def _experiment_id(self, client: MlflowClient) -> str:
        found = client.get_experiment_by_name(self.experiment)
        if found is not None:
            return str(found.experiment_id)
        location = Path(self.artifact_folder).absolute().as_uri() if self.artifact_folder else None
        return client.create_experiment(
            self.experiment, artifact_location=location, tags={EXPERIMENT_KIND: MODEL_TRAINING}
        )

    def _parent_run(
        self, client: MlflowClient, experiment_id: str, context: dg.AssetExecutionContext
    ) -> str:
        """Return the id of the Dagster run's own MLflow run, made at its first job."""
        run_id = context.run.run_id
        found = client.search_runs(
            [experiment_id],
            f"tags.`{DAGSTER_RUN_ID}` = '{run_id}' AND tags.`naics/role` = 'pipeline'",
        )
        if found:
            return str(found[0].info.run_id)
        tags = {
            'naics/role': 'pipeline',
            RUN_NAME: f'{context.partition_key} · {run_id[:8]}',
            **self._links(context, f'The graph for edition {context.partition_key}'),
        }
        created = str(client.create_run(experiment_id, tags=tags).info.run_id)
        context.instance.add_run_tags(
            run_id,
            {
                'mlflow/run_id': created,
                'mlflow/url': f'{self.url}/#/experiments/{experiment_id}/runs/{created}',
            },
        )
        return created


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


def _settle(client: MlflowClient, experiment_id: str, parent_id: str) -> None:
    """Set a parent's status by the last try of each of its jobs, unless one is at work."""
    jobs = _all_runs(client, experiment_id, f"tags.`{PARENT_RUN_ID}` = '{parent_id}'")
    last = {run.data.tags.get(ASSET): run.info.status for run in jobs}
    if 'RUNNING' not in last.values():
        # The worst of them.
        whole = max(last.values(), key=('FINISHED', 'KILLED', 'FAILED').index)
        client.set_terminated(parent_id, whole)


def _log_inputs(client: MlflowClient, run_id: str, context: dg.AssetExecutionContext) -> None:
    """Log each asset that this one is made from as a dataset, its data version as the digest."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    inputs = []
    for dep in context.assets_def.get_asset_spec(context.asset_key).deps:
        record = context.instance.get_latest_data_version_record(
            dep.asset_key, partition_key=context.partition_key
        )
        made = record.asset_materialization if record else None
        version = (made.tags or {}).get('dagster/data_version') if made else None
        if made is None or version is None:
            continue
        path = made.metadata.get('path')
        facts = {
            name: made.metadata[name].value
            for name in ('dagster/row_count', 'size_mb')
            if name in made.metadata
        }
        dataset = Dataset(
            name=f'{dep.asset_key.to_user_string()} · {context.partition_key}',
            digest=version[:_DIGEST],
            source_type='local',
            source=json.dumps({'uri': str(path.value) if path is not None else ''}),
            profile=json.dumps({**facts, 'data_version': version}),
        )
        inputs.append(DatasetInput(dataset, [InputTag('mlflow.data.context', 'training')]))
    client.log_inputs(run_id, inputs)
