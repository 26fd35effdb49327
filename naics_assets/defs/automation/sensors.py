"""What reacts to the ends of runs."""

import dagster as dg

from naics_assets.lib.mlflow_tracker import MlflowTracker
from naics_model.errors import first_line


def closing_sensor(name: str, status: dg.DagsterRunStatus) -> dg.SensorDefinition:
    """Return the sensor that closes the MLflow runs of Dagster runs that ended like this."""

    @dg.run_status_sensor(
        name=name,
        run_status=status,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description='Closes MLflow runs that a killed step has left open.',
    )
    def close_runs(context: dg.RunStatusSensorContext, mlflow: MlflowTracker) -> None:
        try:
            closed = mlflow.close_abandoned(context.instance)
        except Exception as error:  # noqa: BLE001  all that an error comes from is stored and shown
            raise dg.Failure(f'MLflow can not be told: {first_line(error)}') from None
        for run_id in closed:
            context.log.info(f'Closed MLflow run {run_id}, which nobody writes to any more.')

    return close_runs


@dg.definitions
def sensors() -> dg.Definitions:
    return dg.Definitions(
        sensors=[
            closing_sensor('close_mlflow_runs_of_failures', dg.DagsterRunStatus.FAILURE),
            closing_sensor('close_mlflow_runs_of_cancellations', dg.DagsterRunStatus.CANCELED),
        ]
    )
