"""What the machine does while a job is at work, as figures of its run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from naics_assets.lib.mlflow_entries import Figure, Opened

_SECONDS = 5.0


def watch_machine(opened: Opened, write: Callable[..., None], ended: threading.Event) -> None:
    """Start to look at processors, memory, disks, network and GPUs every few seconds.

    By MLflow's own monitor, but not in the thread that this has: that ends for good at the first
    request which fails.

    Args:
        opened: the run.
        write: takes figures.
        ended: ends it.
    """

    def look() -> None:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        machine = SystemMetricsMonitor(
            opened.run_id,
            sampling_interval=_SECONDS,
            tracking_uri=opened.client.tracking_uri,
        )
        machine.collect_metrics()  # how busy processors are, it tells since the look before
        step = 0
        while True:
            for monitor in machine.monitors:
                monitor.clear_metrics()
            if ended.wait(machine.sampling_interval):
                return
            machine.collect_metrics()
            seen, now = machine.aggregate_metrics(), time.time()
            write(*(Figure(f'system/{name}', float(v), step, now) for name, v in seen.items()))
            step += 1

    threading.Thread(target=look, name='machine', daemon=True).start()
