"""A run whose process is killed between two assets: what was made stays, and the next run ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg

from naics_model.storage.files import sha256_of
from naics_model.storage.layout import EditionFolder

ROOT = Path(__file__).parents[2]
PATIENCE = 240
WORKBOOKS = ('codes_workbook', 'descriptions_workbook', 'cross_references_workbook')
# A run of some assets, whose process ends as `kill -9` ends it, once one of them is made.
RUN = """
import os, signal, sys
import dagster as dg
from naics_assets.definitions import defs

last, *assets = sys.argv[1:]

def kill_after(entry):
    event = entry.dagster_event
    if event and event.is_step_success and event.step_key == last:
        os.kill(os.getpid(), signal.SIGKILL)

job = dg.define_asset_job('some', selection=dg.AssetSelection.assets(*assets))
run_id = '00000000-0000-4000-8000-00000000000' + str(len(assets))
with dg.DagsterInstance.get() as instance:
    instance.add_event_listener(run_id, kill_after)
    done = dg.Definitions.merge(defs(), dg.Definitions(jobs=[job])).resolve_job_def(
        'some'
    ).execute_in_process(
        instance=instance, run_id=run_id, partition_key='sample', raise_on_error=False
    )
sys.exit(0 if done.success else 1)
"""


def run(folder: Path, last: str, *assets: str) -> subprocess.CompletedProcess[str]:
    (folder / 'home').mkdir(exist_ok=True)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(('NAICS', 'MLFLOW'))}
    return subprocess.run(
        [sys.executable, '-c', RUN, last, *assets],
        env={
            **inherited,
            'PYTHONPATH': str(ROOT),
            'DAGSTER_HOME': str(folder / 'home'),
            'NAICS_DATA_DIR': str(folder / 'data'),
            'MLFLOW_TRACKING_URI': f'sqlite:///{folder / "mlflow.db"}',
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def made(folder: Path, asset: str) -> dg.EventLogEntry | None:
    with dg.DagsterInstance.from_config(str(folder / 'home')) as instance:
        return instance.get_latest_materialization_event(dg.AssetKey(asset))


def test_what_was_made_before_a_kill_is_kept_and_the_next_run_makes_the_rest(
    tmp_path: Path,
) -> None:
    edition = EditionFolder(tmp_path / 'data', 'sample')
    killed = run(tmp_path, 'descriptions', *WORKBOOKS, 'descriptions', 'distances', 'relations')
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    assert edition.descriptions.is_file()
    assert not edition.distances.exists()
    # Dagster knows of what is there, and of nothing else.
    kept = made(tmp_path, 'descriptions')
    assert kept is not None
    assert made(tmp_path, 'distances') is None
    version = kept.asset_materialization.tags['dagster/data_version']
    assert version == sha256_of(edition.descriptions)
    before = edition.descriptions.stat()

    rest = run(tmp_path, '', 'distances', 'relations')
    assert rest.returncode == 0, rest.stderr[-2000:]
    after = edition.descriptions.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert made(tmp_path, 'relations') is not None
    assert edition.relations.is_file()
    assert [path for path in edition.path.rglob('.*') if path.is_file()] == []
