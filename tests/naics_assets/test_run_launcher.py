"""Which runs monitoring takes to be lost."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._core.test_utils import create_run_for_test, instance_for_test
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._grpc.server import GrpcServerProcess

from naics_assets.lib.run_launcher import WatchedRunLauncher

LAUNCHER = {'module': WatchedRunLauncher.__module__, 'class': WatchedRunLauncher.__name__}


def test_a_run_of_a_process_of_its_own_is_left_alone() -> None:
    with instance_for_test(overrides={'run_launcher': LAUNCHER}) as instance:
        assert isinstance(instance.run_launcher, WatchedRunLauncher)
        by_hand = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED)
        health = instance.run_launcher.check_run_worker_health(by_hand)
        assert health.status == WorkerStatus.RUNNING
        # The server of this one is away: no answer is no proof.
        where = {GRPC_INFO_TAG: json.dumps({'host': '127.0.0.1', 'port': 1})}
        launched = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED, tags=where)
        with pytest.raises(DagsterUserCodeUnreachableError):
            instance.run_launcher.check_run_worker_health(launched)


def test_a_run_that_its_server_does_not_know_is_lost(tmp_path: Path) -> None:
    code = tmp_path / 'code.py'
    code.write_text('import dagster\n\ndefs = dagster.Definitions()\n')
    origin = LoadableTargetOrigin(executable_path=sys.executable, python_file=str(code))
    with (
        instance_for_test(overrides={'run_launcher': LAUNCHER}) as instance,
        GrpcServerProcess(
            instance_ref=instance.get_ref(), loadable_target_origin=origin, wait_on_exit=True
        ) as server,
    ):
        where = {GRPC_INFO_TAG: json.dumps({'host': 'localhost', 'socket': server.socket})}
        lost = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED, tags=where)
        health = instance.run_launcher.check_run_worker_health(lost)
        assert health.status == WorkerStatus.NOT_FOUND
