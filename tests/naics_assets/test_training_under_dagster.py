"""Training as a step of the graph in real life: crashes, cancellations, restarts; real processes.

A run of the graph is a process of its own here, as it is under Dagster's daemon, and trains the
first stage on the bundled edition with a tiny encoder.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from naics_model.storage.files import read_json
from naics_model.storage.layout import EditionFolder
from naics_model.training.cli import PROFILES
from tests.processes import is_alive

pytestmark = pytest.mark.slow

STAGE = 'stage_1_easy'
PATIENCE = 180
# A run of some of the graph's assets; the environment has all settings.
RUN = """
import sys
import dagster as dg
from naics_assets.definitions import defs
from naics_assets.lib import launcher

launcher.RETRY_SECONDS = 0
job = dg.define_asset_job('some', selection=dg.AssetSelection.assets(*sys.argv[1:]))
with dg.DagsterInstance.get() as instance:
    done = dg.Definitions.merge(defs(), dg.Definitions(jobs=[job])).resolve_job_def(
        'some'
    ).execute_in_process(instance=instance, partition_key='sample', raise_on_error=False)
sys.exit(0 if done.success else 1)
"""
# Where a test wants a fit to stand still, it writes a file; the fit answers with another.
PAUSE = """
import os, time
from pathlib import Path
from pytorch_lightning import Callback

class Pause(Callback):
    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        stop = self.folder / f'stop-{trainer.current_epoch}-{batch_idx}'
        if stop.exists():
            (self.folder / f'at-{os.environ.get("RANK", "0")}').touch()
            while stop.exists():
                time.sleep(0.05)
"""


class Place:
    """A data folder, an instance, and a tracker, with a tiny profile."""

    def __init__(
        self, folder: Path, home: Path | None = None, devices: int = 2, **changes: Any
    ) -> None:
        self.folder = folder
        self.home = home or folder / 'home'
        self.pauses = folder / 'pauses'
        self.edition = EditionFolder(folder / 'data', 'sample')
        self.run_dir = self.edition.stage(STAGE)
        self.tracking_uri = f'sqlite:///{folder / "mlflow.db"}'
        self.home.mkdir(parents=True, exist_ok=True)
        for name in ('pauses', 'code'):
            (folder / name).mkdir(parents=True)
        (folder / 'code' / 'pause.py').write_text(PAUSE)
        settings = yaml.safe_load((PROFILES / 'smoke.yaml').read_text())
        settings['data'] |= {
            'phrases_per_step': 16,
            'items_per_step': 24,
            'documents_per_step': 4,
            'steps_per_epoch': 4,
        }
        settings['model'] |= {'backbone': 'tiny-random', 'hyperbolic_dim': 8} | changes
        settings['trainer'] |= {
            'max_epochs': 4,
            'devices': devices,
            'callbacks': [{'class_path': 'pause.Pause', 'init_args': {'folder': str(self.pauses)}}],
        }
        self.profile = folder / 'tiny.yaml'
        self.profile.write_text(yaml.safe_dump(settings))

    def stop_at(self, epoch: int, step: int) -> None:
        """Let the next fit stand still before a step."""
        (self.pauses / f'stop-{epoch}-{step}').touch()

    def wait_until_it_stands(self, run: subprocess.Popen[bytes]) -> None:
        """Wait for every rank to stand still, and let later tries go on."""
        ranks = [self.pauses / f'at-{rank}' for rank in (0, 1)]
        wait_for(lambda: all(rank.exists() for rank in ranks) or run.poll() is not None)
        assert run.poll() is None
        for rank in ranks:
            rank.unlink()

    def go_on(self) -> None:
        """Let tries after this one pass."""
        for stop in self.pauses.glob('stop-*'):
            stop.unlink()

    @contextmanager
    def run(self, *assets: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start a run of the graph; nothing of it is left afterwards."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(('MLFLOW', 'DAGSTER', 'NAICS'))
        }
        with (self.folder / 'run.log').open('ab') as log:
            run = subprocess.Popen(
                [sys.executable, '-c', RUN, *assets],
                env={
                    **inherited,
                    'CUDA_VISIBLE_DEVICES': '',
                    'DAGSTER_HOME': str(self.home),
                    'MLFLOW_TRACKING_URI': self.tracking_uri,
                    'NAICS_DATA_DIR': str(self.folder / 'data'),
                    'NAICS_PROFILE': str(self.profile),
                    'PYTHONPATH': os.pathsep.join([str(self.folder / 'code'), str(Path.cwd())]),
                    # A rank that a test has stand still saves nothing: it is not waited for long.
                    'TORCH_ELASTIC_SHUTDOWN_TIMEOUT': '5',
                },
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield run
        finally:
            left = processes_of(run)
            for process in left:
                process.kill()
            psutil.wait_procs(left)
            run.wait()

    def train(self) -> int:
        """Run the stage to its end; return the exit code."""
        with self.run(STAGE) as run:
            return run.wait(PATIENCE)

    def said(self) -> str:
        return (self.folder / 'run.log').read_text()

    def result(self) -> Any:
        return read_json(self.run_dir / 'result.json')

    def weights(self) -> dict[str, torch.Tensor]:
        last = torch.load(self.run_dir / 'checkpoints' / 'last.ckpt', weights_only=True)
        return dict(last['state_dict'])

    def tracked(self) -> dict[str, Run]:
        """Return the tracker's runs by name, without the part that differs."""
        client = MlflowClient(self.tracking_uri)
        experiment = client.get_experiment_by_name('naics')
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id], order_by=['start_time ASC'])
        return {run.info.run_name.replace(' · sample', ''): run for run in runs}

    def curve(self, name: str) -> list[tuple[int, float]]:
        """Return the loss of a run's epochs, by step."""
        client = MlflowClient(self.tracking_uri)
        points = client.get_metric_history(self.tracked()[name].info.run_id, 'train/loss')
        return [(point.step, point.value) for point in points]

    def statuses(self) -> list[str]:
        """Return how the tracker's runs of the stage, and then those above them, stand."""
        runs = sorted(self.tracked().items())
        return [f'{name.split(" · ")[0]}: {run.info.status}' for name, run in runs]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, 'this took too long'
        time.sleep(0.05)


def processes_of(run: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return a run's process and all below it."""
    try:
        process = psutil.Process(run.pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def job_of(run: subprocess.Popen[bytes]) -> dict[str, psutil.Process]:
    """Return the processes of a run's job: its `leader`, and its ranks by number.

    (Dagster has some of its own, which copy what a step says.)
    """
    found = {}
    for process in processes_of(run):
        with suppress(psutil.Error):
            environment = process.environ()
            if 'NAICS_JOB_ID' in environment:
                found[environment.get('RANK', 'leader')] = process
    assert set(found) == {'leader', '0', '1'}
    return found


def assert_all_end(processes: Collection[psutil.Process]) -> None:
    wait_for(lambda: not any(is_alive(process) for process in processes))


@pytest.fixture(scope='module')
def data(new_tracker: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A place where the stage's inputs are made, and nothing is trained."""
    place = Place(tmp_path_factory.mktemp('data'))
    shutil.copy(new_tracker, place.folder)
    assets = ('codes_workbook', 'descriptions_workbook', 'cross_references_workbook')
    assets += ('index_workbook', 'descriptions', 'activities', 'phrases', 'distances')
    assets += ('triplets',)
    with place.run(*assets, 'relation_index', 'token_cache') as run:
        assert run.wait(PATIENCE) == 0, place.said()
    return place


@pytest.fixture
def place(data: Place, tmp_path: Path) -> Place:
    """A place of a test's own, with the same inputs and instance."""
    return place_with(data, tmp_path / 'place')


def place_with(data: Place, folder: Path, devices: int = 2, **changes: Any) -> Place:
    place = Place(folder, data.home, devices, **changes)
    # Nothing is in it yet, where only data was made.
    shutil.copy(data.folder / 'mlflow.db', folder)
    (folder / 'data').symlink_to(folder / 'own')
    (folder / 'own' / 'sample').mkdir(parents=True)
    for layer in data.edition.path.iterdir():
        (place.edition.path / layer.name).symlink_to(layer)
    return place


@pytest.fixture(scope='module')
def whole(data: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A fit that nothing befell."""
    place = place_with(data, tmp_path_factory.mktemp('whole') / 'place')
    assert place.train() == 0, place.said()
    return place


def assert_same_fit(place: Place, whole: Place) -> None:
    """Check that a fit that was cut off ended as one that was not."""
    resumed, through = place.result()['details'], whole.result()['details']
    assert resumed['resumed'] is True
    assert through['resumed'] is False
    assert resumed['processes'] == through['processes'] == 2
    assert resumed['history'] == through['history']
    ours, theirs = place.weights(), whole.weights()
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-5, atol=1e-6)


def test_a_fit_of_two_ranks_is_told_of_and_closed(whole: Place) -> None:
    assert whole.statuses() == ['sample: FINISHED', 'stage_1_easy: FINISHED']
    run = whole.tracked()[STAGE]
    [above] = [run for name, run in whole.tracked().items() if name.startswith('sample')]
    assert above.data.params == {'profile': str(whole.profile)}
    assert f'{STAGE}/best_val_loss' in above.data.metrics
    names = {made_from.dataset.name for made_from in run.inputs.dataset_inputs}
    assert run.data.params['trainer.max_epochs'] == '4'
    assert {'train/loss', 'mix/hardness_1', 'best_val_loss', 'seconds'} <= set(run.data.metrics)
    assert names == {f'{name} · sample' for name in ('relation_index', 'token_cache', 'phrases')}
    client = MlflowClient(whole.tracking_uri)
    models = client.search_logged_models([run.info.experiment_id])
    [exported] = [model for model in models if model.model_type == 'exported']
    files = {file.path for file in client.list_logged_model_artifacts(exported.model_id)}
    assert {'config.json', 'model.safetensors'} <= files
    assert whole.said().count('epoch 4: ') == 1


def test_a_fit_goes_on_after_its_rank_its_leader_and_its_step_were_killed(
    place: Place, whole: Place
) -> None:
    place.stop_at(1, 1)
    place.stop_at(2, 1)
    place.stop_at(3, 1)
    with place.run(STAGE) as run:
        # A rank that is not the one that speaks; as the kernel does where memory is short.
        place.wait_until_it_stands(run)
        first = job_of(run)
        (place.pauses / 'stop-1-1').unlink()
        first['1'].kill()
        # The leader of the second try.
        place.wait_until_it_stands(run)
        second = job_of(run)
        assert [process for process in first.values() if is_alive(process)] == []
        (place.pauses / 'stop-2-1').unlink()
        second['leader'].kill()
        # The step of the third.
        place.wait_until_it_stands(run)
        third = job_of(run)
        assert [process for process in second.values() if is_alive(process)] == []
        run.kill()
        assert_all_end(third.values())
    killed = {name: run.info.run_id for name, run in place.tracked().items()}
    place.go_on()
    assert place.train() == 0, place.said()
    assert_same_fit(place, whole)
    client = MlflowClient(place.tracking_uri)
    statuses = {name: client.get_run(run_id).info.status for name, run_id in killed.items()}
    [above] = [name for name in statuses if name.startswith('sample')]
    assert statuses == {
        STAGE: 'FAILED',
        f'{STAGE} · try 2': 'FAILED',
        # Nobody was left to close these but the next job: Dagster takes that run to be at work.
        f'{STAGE} · try 3': 'KILLED',
        above: 'KILLED',
    }
    # The run that finished has the whole curve.
    assert place.tracked()[STAGE].info.status == 'FINISHED'
    curve = place.curve(STAGE)
    assert len(curve) == 4
    assert curve == whole.curve(STAGE)


def test_a_tracker_away_in_mid_training_costs_neither_an_epoch_nor_a_figure(
    place: Place, whole: Place, server: Any
) -> None:
    place.tracking_uri = server.address
    place.stop_at(1, 2)
    place.stop_at(3, 1)
    with place.run(STAGE) as run:
        place.wait_until_it_stands(run)
        server.kill()
        (place.pauses / 'stop-1-2').unlink()
        # Two epochs on: nothing has waited for the server.
        place.wait_until_it_stands(run)
        server.start()
        place.go_on()
        assert run.wait(PATIENCE) == 0, place.said()
    place.tracking_uri = server.directly
    assert place.curve(STAGE) == whole.curve(STAGE)
    assert place.result()['details']['history'] == whole.result()['details']['history']
    assert place.statuses() == ['sample: FINISHED', 'stage_1_easy: FINISHED']


def test_a_cancelled_run_leaves_no_process_and_is_not_tried_again(place: Place) -> None:
    place.stop_at(1, 1)
    with place.run(STAGE) as run:
        place.wait_until_it_stands(run)
        job = job_of(run)
        run.send_signal(signal.SIGINT)
        assert run.wait(PATIENCE) != 0
        assert_all_end(job.values())
    assert place.statuses() == ['sample: KILLED', 'stage_1_easy: KILLED']
    assert not (place.run_dir / 'result.json').exists()


def test_an_error_of_the_job_is_told_and_not_tried_again(data: Place, tmp_path: Path) -> None:
    place = place_with(
        data, tmp_path / 'place', 1, learning_rate=1e30, head_rate=1.0, warmup_share=0.0
    )
    assert place.train() == 1
    assert 'The loss became' in place.said()
    assert place.statuses() == ['sample: FAILED', 'stage_1_easy: FAILED']
