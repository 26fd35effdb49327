"""How the stack's runs are launched, and how one that has vanished is noticed."""

from __future__ import annotations

import dagster as dg
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._grpc.types import GetCurrentRunsResult
from dagster._serdes import deserialize_value


class WatchedRunLauncher(DefaultRunLauncher):
    """Dagster's launcher, whose runs are processes of the code location, with an eye on them.

    The code location notices when one of its runs is killed. When it is killed itself, its runs die
    with it, and stay "started" for ever with Dagster's own launcher. Here the daemon's monitoring
    asks the code location which runs it has; a run that it does not know is marked as failed, and
    tried again under `run_retries`.
    """

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether monitoring may ask: it may."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return whether the code location has a run.

        A run that a person started in a process of its own is left alone: nobody can be asked.

        Raises:
            DagsterUserCodeUnreachableError: the code location does not answer, because it is being
                started again, for example; monitoring logs this, and asks again at its next round.
        """
        client = self._get_grpc_client_for_termination(run.run_id)
        if client is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        has = deserialize_value(client.get_current_runs(), GetCurrentRunsResult).current_runs
        if run.run_id in has:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, 'The code location does not have it.')
