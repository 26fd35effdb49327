"""The command as people and the asset graph run it: real processes, on a tiny backbone."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from naics_model.encoder.embedder import NaicsEmbedder
from naics_model.encoder.points import POINTS_FILE, CodePoints
from naics_model.jobs.command import run_command
from naics_model.jobs.lightning import fastest_precision
from naics_model.jobs.watchdog import LAUNCHER_PID
from naics_model.storage.files import sha256_of
from naics_model.training.cli import main
from tests.forked import run_module
from tests.processes import is_alive

MODULE = 'naics_model.training'
# All phases in a fit of four epochs; clusters and gates of the third stay for the fourth.
DYNAMIC = [
    '--model.fusion=moe',
    '--model.negatives.strategy=sadc',
    '--model.negatives.second_end=0.5',
    '--model.negatives.clusters=6',
    '--model.negatives.hardest=5',
    '--model.negatives.every=2',
]
SMALL = [
    '--model.backbone=tiny-random',
    '--model.hyperbolic_dim=8',
    '--model.learning_rate=3e-3',
    '--model.head_rate=1',
    '--model.point_rate=3',
    '--model.offset_rate=3',
    '--data.phrases_per_step=20',
    '--data.documents_per_step=6',
    '--data.items_per_step=16',
    '--data.steps_per_epoch=5',
    '--data.val_phrases=58',
    '--trainer.log_every_n_steps=2',
]
# What a fit is to do beside learning: end in the middle, as a job does that is killed, or write
# down the points of its process.
ASIDE = """
import os
import torch
from pytorch_lightning import Callback

class CutOff(Callback):
    def on_train_epoch_start(self, trainer, pl_module):
        if str(trainer.current_epoch) == os.environ.get('CUT_OFF_AT'):
            os._exit(9)

class NotePoints(Callback):
    def __init__(self, folder: str) -> None:
        self.folder = folder

    def on_train_end(self, trainer, pl_module):
        points = {name: value.clone() for name, value in pl_module.points.named_parameters()}
        torch.save(points, f'{self.folder}/points-{trainer.global_rank}.pt')
"""


def start(arguments: list[Any], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return run_module(MODULE, arguments, {**clean_environment(), **environment})


def command(arguments: list[Any]) -> list[str]:
    return [sys.executable, '-m', MODULE, *map(str, arguments)]


def clean_environment() -> dict[str, str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(('MLFLOW', 'DAGSTER', 'NAICS'))}
    return {**env, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}


def fit_arguments(edition: Any, stage_file: Path, run_dir: Path, *more: Any) -> list[Any]:
    inputs = ['--data.relation_index', edition.relation_index]
    inputs += ['--data.token_cache', edition.token_cache]
    inputs += ['--data.phrases', edition.phrases]
    where = ['--curriculum', stage_file, '--run_dir', run_dir]
    return ['fit', '--config', 'smoke', *inputs, *where, *SMALL, *more]


@pytest.fixture(scope='module')
def finished(edition: Any, stage_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of one fit of four epochs."""
    run_dir = tmp_path_factory.mktemp('run')
    done = start(fit_arguments(edition, stage_file, run_dir, '--trainer.max_epochs=4', *DYNAMIC))
    assert done.returncode == 0, done.stderr
    (run_dir / 'stderr.txt').write_text(done.stderr)
    return run_dir


def result_of(run_dir: Path) -> Any:
    return json.loads((run_dir / 'result.json').read_text())


def weights_of(run_dir: Path, name: str = 'last.ckpt') -> dict[str, torch.Tensor]:
    """The weights of a checkpoint, by name."""
    saved = torch.load(run_dir / 'checkpoints' / name, weights_only=True)
    weights: dict[str, torch.Tensor] = saved['state_dict']
    return weights


def with_asides(folder: Path) -> str:
    """Return a PYTHONPATH on which the callbacks aside are found."""
    (folder / 'aside.py').write_text(ASIDE)
    return os.pathsep.join([str(folder), str(Path.cwd())])


def test_a_fit_learns_and_reports_what_it_did(finished: Path) -> None:
    result = result_of(finished)
    history = result['details']['history']
    assert len(history) == 4
    # Of training, the losses of two phases do not compare.
    assert history[-1]['val/loss'] < history[0]['val/loss']
    for reading in ('flat', 'lorentz'):
        assert history[-1][f'val/{reading}'] < history[0][f'val/{reading}']
        assert 0 <= history[-1][f'val/{reading}_hit_at_1'] <= 1
    assert result['metrics']['best_val_loss'] == pytest.approx(
        min(epoch['val/loss'] for epoch in history)
    )
    assert result['metrics']['train_loss'] == history[-1]['train/loss']
    assert result['details']['steps'] == 20
    assert result['details']['negatives'] == 20 * 16 * 4
    # Two passes over the codes.
    assert result['details']['codes_encoded'] == 120
    assert result['details']['distinct_codes_encoded'] == 60
    assert result['details']['settings']['model']['hyperbolic_dim'] == 8


def test_each_phase_is_seen_in_the_figures_of_its_epochs(finished: Path) -> None:
    details = result_of(finished)['details']
    history = details['history']
    # The first phase ends with the sixth of twenty steps, the second with the tenth.
    assert [epoch['train/phase'] for epoch in history] == pytest.approx([1.0, 1.8, 3.0, 3.0])
    # Gates are read where an epoch begins: until then all that is mined is mined by distance.
    by_distance = [epoch['train/negatives_by_distance'] for epoch in history]
    by_router = [epoch['train/negatives_by_router'] for epoch in history]
    assert by_distance == pytest.approx([0.0, 0.4, 0.25, 0.25])
    assert by_router == pytest.approx([0.0, 0.0, 0.25, 0.25])
    assert history[1]['train/eliminated_share'] == 0 < history[3]['train/eliminated_share']
    assert history[0]['train/alpha'] > history[1]['train/alpha'] > history[2]['train/alpha'] == 0
    for name in ('gate_entropy', 'router_entropy', 'least_used_expert'):
        assert 0 <= history[3][f'train/{name}'] <= 1.0001
    plan = details['negatives_plan']
    assert [moment['progress'] for moment in plan] == [point / 20 for point in range(21)]
    assert {moment['phase'] for moment in plan} == {1, 2, 3}
    mix = details['curriculum_mix']
    assert mix['requested']['1'] == 0.75
    assert sum(mix['effective'].values()) == pytest.approx(1)


def test_the_files_named_in_the_result_are_those_on_disk(finished: Path) -> None:
    files = result_of(finished)['files']
    assert set(files) == {'checkpoint', 'model'}
    for entry in files.values():
        assert sha256_of(Path(entry['path'])) == entry['sha256']
    names = {path.name for path in (finished / 'checkpoints').iterdir()}
    assert 'last.ckpt' in names
    assert len(names) == 2


def test_the_exported_model_encodes_and_has_the_best_checkpoint_s_weights(finished: Path) -> None:
    embedder = NaicsEmbedder.from_pretrained(finished / 'model')
    assert embedder.encode(['steel glass', 'cotton']).tangent.shape == (2, 8)
    best = result_of(finished)['files']['checkpoint']['path']
    weights = torch.load(best, weights_only=True)['state_dict']
    own = embedder.own_state()
    shared = [name for name in own if f'embedder.{name}' in weights]
    assert len(shared) > 30
    for name in shared:
        torch.testing.assert_close(own[name], weights[f'embedder.{name}'])
    points = CodePoints.load(finished / 'model', 32, 8)
    assert len(points.codes) == 60
    for name, value in points.state_dict().items():
        assert torch.equal(value, weights[f'points.{name}'])


def test_outside_a_terminal_progress_is_lines(finished: Path) -> None:
    said = (finished / 'stderr.txt').read_text()
    assert re.search(r'step 2/20: loss \d', said)
    assert re.search(r'epoch 4: .*val/loss \d', said)
    assert 'new model: placing 60 codes at their documents' in said
    assert 'Traceback' not in said
    assert '%|' not in said


def test_the_next_stage_goes_on_from_the_export(
    edition: Any, stage_file: Path, finished: Path, tmp_path: Path
) -> None:
    arguments = fit_arguments(
        edition, stage_file, tmp_path / 'run', '--model.init_from', finished / 'model'
    )
    arguments += ['--trainer.max_epochs=1', '--model.fusion=moe']
    done = start(arguments)
    assert done.returncode == 0, done.stderr
    assert 'placing' not in done.stderr
    before = result_of(finished)['details']['history'][0]
    after = result_of(tmp_path / 'run')['details']['history'][0]
    assert after['val/loss'] < before['val/loss']
    first, second = (
        CodePoints.load(folder / 'model', 32, 8) for folder in (finished, tmp_path / 'run')
    )
    moved = (second.vectors - first.vectors).norm(dim=1) / first.vectors.norm(dim=1)
    assert 0 < moved.max() < 0.5


def test_the_euclidean_control_trains_as_the_profile_it_is_laid_over(
    edition: Any, stage_file: Path, finished: Path, tmp_path: Path
) -> None:
    flat = ['--config', 'euclidean', '--trainer.max_epochs=1']
    done = start(fit_arguments(edition, stage_file, tmp_path / 'run', *flat))
    assert done.returncode == 0, done.stderr
    details = result_of(tmp_path / 'run')['details']
    assert details['profile'] == 'smoke'
    assert details['settings']['model']['curvature'] == 0
    assert NaicsEmbedder.from_pretrained(tmp_path / 'run' / 'model').curvature == 0
    # A stage goes on from one in the same space only.
    mixed = [*flat, '--model.fusion=moe', '--model.init_from', finished / 'model']
    done = start(fit_arguments(edition, stage_file, tmp_path / 'mixed', *mixed))
    assert done.returncode == 1
    assert 'has curvature = 1.0, but 0.0 is asked for' in done.stderr


def test_a_fit_that_is_killed_and_goes_on_equals_one_that_ran_through(
    edition: Any, stage_file: Path, finished: Path, tmp_path: Path
) -> None:
    run_dir, paths = tmp_path / 'run', with_asides(tmp_path)
    asked = [*DYNAMIC, '--trainer.max_epochs=4', '--trainer.callbacks=aside.CutOff']
    arguments = fit_arguments(edition, stage_file, run_dir, *asked, '--ckpt_path=unfinished')
    done = start(arguments, PYTHONPATH=paths, CUT_OFF_AT='3')
    assert done.returncode == 9, done.stderr
    assert 'placing' in done.stderr
    assert not (run_dir / 'result.json').exists()

    done = start(arguments, PYTHONPATH=paths)
    assert done.returncode == 0, done.stderr
    assert 'placing' not in done.stderr
    resumed, whole = result_of(run_dir), result_of(finished)
    assert resumed['details']['resumed'] is True
    for name in ('steps', 'negatives', 'codes_encoded', 'history', 'curriculum_mix'):
        assert resumed['details'][name] == whole['details'][name], name
    expected, found = weights_of(finished), weights_of(run_dir)
    assert {'points.vectors', 'points.offsets', 'weighing.gates'} < set(expected)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    files = [folder / 'model' / POINTS_FILE for folder in (run_dir, finished)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_two_processes_train_one_model_and_write_once(
    edition: Any, stage_file: Path, tmp_path: Path
) -> None:
    arguments = fit_arguments(edition, stage_file, tmp_path, '--trainer.max_epochs=2', *DYNAMIC)
    listening: set[str] = set()
    with subprocess.Popen(
        command([*arguments, '--export=last', '--trainer.devices=2']),
        env=clean_environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as job:
        watched = threading.Thread(target=listen_addresses, args=(job, listening))
        watched.start()
        _, said = job.communicate(timeout=300)
        watched.join()
    assert job.returncode == 0, said
    result = result_of(tmp_path)
    assert result['details']['processes'] == 2
    assert result['details']['steps'] == 10
    # Both ranks' draws are counted.
    assert result['details']['negatives'] == 2 * 10 * 16 * 4
    assert Path(result['files']['checkpoint']['path']).name == 'last.ckpt'
    assert said.count('epoch 2: ') == 1
    assert NaicsEmbedder.from_pretrained(tmp_path / 'model').encode(['glass']).tangent.shape == (
        1,
        8,
    )
    # The ranks do talk, and nobody outside this machine can join in.
    assert listening
    assert all(ipaddress.ip_address(address).is_loopback for address in listening), listening


def test_one_process_has_the_losses_and_the_weights_of_two_with_the_same_batch(
    edition: Any, stage_file: Path, tmp_path: Path
) -> None:
    paths = with_asides(tmp_path)
    asked = ['--trainer.max_epochs=2', '--data.shards=2', '--trainer.callbacks=aside.NotePoints']
    # All phases, but for what is near a border: which of two codes is the fifth hardest may hang on
    # the last digit.
    asked += ['--model.negatives.strategy=sadc', '--model.negatives.mined=0']
    asked += ['--model.negatives.clusters=2']
    for count in (1, 2):
        run_dir = tmp_path / str(count)
        run_dir.mkdir()
        more = [f'--trainer.callbacks.folder={run_dir}', f'--trainer.devices={count}']
        done = start(fit_arguments(edition, stage_file, run_dir, *asked, *more), PYTHONPATH=paths)
        assert done.returncode == 0, done.stderr
    details = [result_of(tmp_path / str(count))['details'] for count in (1, 2)]
    assert [each['processes'] for each in details] == [1, 2]
    assert [each['steps'] for each in details] == [10, 10]
    for one, two in zip(*(each['history'] for each in details), strict=True):
        assert one == pytest.approx(two, rel=1e-5, abs=1e-5)
    assert details[0]['history'][-1]['val/loss'] < details[0]['history'][0]['val/loss']
    one, two = (weights_of(tmp_path / str(count)) for count in (1, 2))
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-5, atol=1e-5, msg=name)
    ranks = [torch.load(tmp_path / '2' / f'points-{rank}.pt') for rank in (0, 1)]
    for name, value in ranks[0].items():
        assert torch.equal(ranks[1][name], value), name


def test_every_process_ends_with_the_launcher(
    edition: Any, stage_file: Path, tmp_path: Path
) -> None:
    endless = ['--trainer.max_epochs=1000', '--trainer.devices=2', '--trainer.log_every_n_steps=1']
    launcher = subprocess.Popen(['sleep', '600'])
    with subprocess.Popen(
        command(fit_arguments(edition, stage_file, tmp_path, *endless)),
        env={**clean_environment(), LAUNCHER_PID: str(launcher.pid)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as job:
        assert job.stderr is not None
        said = next((line for line in job.stderr if 'step 1/' in line), None)
        ranks = psutil.Process(job.pid).children(recursive=True)
        launcher.kill()
        launcher.wait()
        job.communicate(timeout=120)
    assert said is not None
    assert len(ranks) == 2
    assert job.returncode != 0
    assert [rank for rank in ranks if is_alive(rank)] == []


def listen_addresses(job: subprocess.Popen[str], addresses: set[str]) -> None:
    """Collect the addresses that a job's processes listen on, until it ends."""
    while job.poll() is None:
        with contextlib.suppress(psutil.Error):
            leader = psutil.Process(job.pid)
            for process in (leader, *leader.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    addresses.update(
                        connection.laddr.ip
                        for connection in process.net_connections('inet')
                        if connection.status == psutil.CONN_LISTEN
                    )
        time.sleep(0.2)


@pytest.mark.parametrize(
    ('more', 'sentence'),
    [
        (['--curriculum', '09_stage_odd'], r"There is no stage '09_stage_odd'"),
        (['--data.token_cache', 'gone.safetensors'], r'--data.token_cache gone.* does not exist'),
        (['--model.init_from', 'nowhere'], r'--model.init_from nowhere/config.json does not exist'),
        (['--model.backbone', 'all-MiniLM-L6-v2'], r'token cache was cut for backbone tiny-random'),
        (['--model.lora_r', 'eight'], r'model.lora_r'),
        (['--model.lora', '8'], r'--model.lora'),
        (['--config', 'huge'], r'the profiles are cpu, gpu, smoke'),
        (['--data.phrases', 'gone.parquet'], r'--data.phrases gone.parquet does not exist'),
        (['--data.phrases_per_step', '0'], r'--data.phrases_per_step is 0: it is at least 1'),
        (['--data.other_share', '2'], r'--data.other_share is 2: it is a share'),
        (['--trainer.devices', '-1'], r'--trainer.devices -1 is not a number of devices'),
        (['--data.shards', '3', '--trainer.devices', '2'], r'--data.shards 3 can not be shared'),
        (['--max_steps', '0'], r'max_steps'),
        (['--ckpt_path', 'gone.ckpt'], r'--ckpt_path gone.ckpt does not exist'),
    ],
)
def test_a_wrong_setting_is_one_sentence_and_exit_code_1(
    edition: Any,
    stage_file: Path,
    tmp_path: Path,
    more: list[str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv('LOCAL_WORLD_SIZE', raising=False)

    def refuse(backbone: Any) -> None:
        pytest.fail('a backbone was loaded before the settings were checked')

    monkeypatch.setattr('naics_model.encoder.embedder.load_backbone', refuse)
    arguments = [str(argument) for argument in fit_arguments(edition, stage_file, tmp_path, *more)]
    assert run_command(main, arguments) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert re.search(sentence, lines[0])
    assert not (tmp_path / 'result.json').exists()


def test_shares_that_do_not_sum_to_one_are_refused(edition: Any, tmp_path: Path) -> None:
    wrong = tmp_path / 'wrong.yaml'
    wrong.write_text(
        'name: wrong\npositive_levels: [6]\ndifficulty_buckets: [1]\n'
        'bucket_percentages: {1: 0.5}\nk_negatives: 4\n'
    )
    done = start(fit_arguments(edition, wrong, tmp_path / 'run'))
    assert done.returncode == 1
    assert 'sum to 0.5, not 1' in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_loss_that_is_no_number_ends_the_job_with_its_step(
    edition: Any, stage_file: Path, tmp_path: Path
) -> None:
    done = start(
        fit_arguments(
            edition, stage_file, tmp_path, '--model.learning_rate=1e30', '--model.warmup_share=0'
        )
    )
    assert done.returncode == 1
    assert re.search(r'Error: The loss became (nan|inf) at step 1:', done.stderr)
    assert 'Traceback' not in done.stderr


def test_a_dry_run_says_what_would_be_trained_and_writes_nothing(
    edition: Any, stage_file: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / 'run'
    more = ['--dry-run', '--max-steps=8', '--trainer.devices=2']
    done = start(fit_arguments(edition, stage_file, run_dir, *more))
    assert done.returncode == 0, done.stderr
    said = ' '.join(done.stdout.split())
    precision = fastest_precision('cpu')
    assert f'fit 2 epochs of 4 steps, 2 processes (cpu, {precision})' in said
    assert re.search(r'cost about \d+ seconds, \d\.\d GB for each process', said)
    for words in (
        'stage small',
        'asked for 1: 75 %, 5: 25 %',
        '58 index entries and 69 others; all codes weigh alike as negatives',
        '20 phrases, 6 documents and 16 items of codes, in each of 2 shards',
        'tiny-random',
    ):
        assert words in said
    assert done.stderr == ''
    assert not run_dir.exists()


def test_a_try_is_cut_to_so_many_steps(edition: Any, stage_file: Path, tmp_path: Path) -> None:
    done = start(fit_arguments(edition, stage_file, tmp_path, '--max_steps=3'))
    assert done.returncode == 0, done.stderr
    assert result_of(tmp_path)['details']['steps'] == 3
    assert NaicsEmbedder.from_pretrained(tmp_path / 'model').encode(['glass']).tangent.shape == (
        1,
        8,
    )


def test_help_and_print_config_teach() -> None:
    helped = start(['fit', '--help'])
    assert helped.returncode == 0
    for words in (
        '--model.lora_r',
        '--data.phrases_per_step',
        'peak rate of the adapters',
        '--curriculum',
    ):
        assert words in helped.stdout
    where = ['--curriculum', '01_stage_easy', '--run_dir', 'r']
    inputs = ['--data.relation_index', 'a', '--data.token_cache', 'b', '--data.phrases', 'c']
    shown = start(['fit', '--config', 'cpu', *where, *inputs, '--print_config'])
    assert shown.returncode == 0
    assert 'backbone: all-MiniLM-L6-v2' in shown.stdout
