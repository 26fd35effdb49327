"""MLflow runs that mirror Dagster's: one parent per Dagster run, one nested run per job."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

# MLflow's own names: what makes a run nested, its title, and which of its pages an experiment has.
EXPERIMENT_KIND = 'mlflow.experimentKind'
MODEL_TRAINING = 'custom_model_development'
PARENT_RUN_ID = 'mlflow.parentRunId'
RUN_NAME = 'mlflow.runName'
DAGSTER_RUN_ID = 'dagster/run_id'


# As many as a server takes in one request.
_METRICS_A_BATCH = 1000


def _metric(name: str, value: float) -> Metric:
    from mlflow.entities import Metric

    return Metric(name, float(value), int(time.time() * 1000), 0)


def _client(tracking_uri: str) -> MlflowClient:
    # Imported here, because importing mlflow takes longer than loading the whole graph.
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri)


@dataclass(frozen=True)
class JobRun:
    """A nested MLflow run made for one job, open while the job runs.

    Attributes:
        run_id: the run's id, known before the job starts.
        parent_id: the run of the whole Dagster run, above it.
        tracking_uri: where MLflow keeps both.
    """

    run_id: str
    parent_id: str
    tracking_uri: str

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
    """

    tracking_uri: str
    experiment: str = 'naics'
    artifact_folder: str = ''

    @contextmanager
    def job_run(self, context: dg.AssetExecutionContext) -> Iterator[JobRun]:
        """Yield a nested run for the step's job, created before the job is launched.

        The run ends FINISHED or FAILED with the block, and so does its parent, which is opened
        again by the next job: a step that fails or is cancelled leaves nothing RUNNING. (One that
        is killed outright does.)

        Args:
            context: the step's context; its asset, partition, run, and the data versions of the
                assets it is made from become the run's tags.
        """
        if self.tracking_uri.startswith('sqlite:///'):
            database = Path(self.tracking_uri.removeprefix('sqlite:///'))
            database.parent.mkdir(parents=True, exist_ok=True)
        client = _client(self.tracking_uri)
        experiment_id = self._experiment_id(client)
        parent_id = self._parent_run(client, experiment_id, context)
        # A job that failed before makes the whole a failed one, whatever follows.
        failed_before = client.get_run(parent_id).info.status == 'FAILED'
        client.update_run(parent_id, status='RUNNING')
        asset = context.asset_key.to_user_string()
        tags = {
            PARENT_RUN_ID: parent_id,
            DAGSTER_RUN_ID: context.run.run_id,
            'dagster/asset': asset,
            'naics/edition': context.partition_key,
            **_input_versions(context),
        }
        name = f'{asset} · {context.partition_key}'
        run_id = client.create_run(experiment_id, run_name=name, tags=tags).info.run_id
        context.log.debug(f'MLflow run {run_id} in {self.tracking_uri}')
        status = 'FAILED'
        try:
            yield JobRun(run_id, parent_id, self.tracking_uri)
            status = 'FINISHED'
        finally:
            client.set_terminated(run_id, status)
            client.set_terminated(parent_id, 'FAILED' if failed_before else status)

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
            DAGSTER_RUN_ID: run_id,
            'naics/role': 'pipeline',
            'naics/edition': context.partition_key,
            RUN_NAME: f'pipeline · {context.partition_key} · {run_id[:8]}',
        }
        created = str(client.create_run(experiment_id, tags=tags).info.run_id)
        context.instance.add_run_tags(run_id, {'mlflow/run_id': created})
        return created


def _input_versions(context: dg.AssetExecutionContext) -> dict[str, str]:
    """Return the current data version of each asset that this one is made from, as tags."""
    versions = {}
    for dep in context.assets_def.get_asset_spec(context.asset_key).deps:
        record = context.instance.get_latest_data_version_record(
            dep.asset_key, partition_key=context.partition_key
        )
        made = record.asset_materialization if record else None
        version = (made.tags or {}).get('dagster/data_version') if made else None
        if version:
            versions[f'naics/input/{dep.asset_key.to_user_string()}'] = version
    return versions
