"""What training and refinement have in common, on a model of three weights."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from jsonargparse import ArgumentParser
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from naics_model.errors import ConfigurationError, DataError, NaicsError, StorageError
from naics_model.jobs import resume
from naics_model.jobs.checkpoints import (
    LAST,
    TrainableCheckpoint,
    best_checkpoint,
    read_checkpoint,
)
from naics_model.jobs.command import flat
from naics_model.jobs.lightning import (
    EpochReport,
    add_trainer_options,
    check_placement,
    fastest_precision,
    make_trainer,
    require_finite,
    within_steps,
)
from naics_model.jobs.optimiser import linear_between, parameter_groups, warmup_cosine
from naics_model.jobs.reporting import Reporter, open_reporter
from naics_model.jobs.resume import Attempt, require_checkpoint
from naics_model.jobs.seeds import derived_seed
from naics_model.jobs.tracking import choose_logger, tell_checkpoints
from naics_model.storage.files import sha256_of, write_json


class Line(TrainableCheckpoint):
    """y = frozen(x) * slope, learned from one point."""

    def __init__(self, rate: float = 0.1) -> None:
        super().__init__()
        self.frozen = nn.Linear(1, 1).requires_grad_(False)
        nn.init.ones_(self.frozen.weight)
        nn.init.zeros_(self.frozen.bias)
        self.slope = nn.Parameter(torch.zeros(()))
        self.rate = rate

    def _loss(self, x: Tensor) -> Tensor:
        return (self.frozen(x) * self.slope - 1).square().mean()

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss = self._loss(batch)
        self.log('train/loss', loss, on_step=False, on_epoch=True, batch_size=1)
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log('val/loss', self._loss(batch), batch_size=1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([self.slope], lr=self.rate)


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('LOCAL_WORLD_SIZE', 'WORLD_SIZE'):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def reporter(tmp_path: Path) -> Reporter:
    return Reporter(tmp_path / 'result.json', None)


def trainer_settings(*arguments: str) -> Any:
    parser = ArgumentParser(exit_on_error=False)
    add_trainer_options(parser)
    given = ['--trainer.accelerator', 'cpu', '--trainer.log_every_n_steps', '1', *arguments]
    return parser.instantiate(parser.parse_args(given)).trainer


def run(
    model: LightningModule,
    run_dir: Path,
    reporter: Reporter,
    epochs: int,
    *,
    ckpt_path: str | None = None,
    keep_best: int = 1,
    settings: dict[str, Any] | None = None,
    inputs: dict[str, Path | None] | None = None,
) -> tuple[Trainer, EpochReport]:
    """Fit, and leave the mark as a fit that was cut off does."""
    report = EpochReport(reporter, lines=True)
    attempt = Attempt(run_dir, settings or {}, inputs or {})
    trainer = make_trainer(
        trainer_settings('--trainer.max_epochs', str(epochs)),
        run_dir=run_dir,
        logger=choose_logger(reporter, run_dir, {}),
        keep_best=keep_best,
        callbacks=[attempt, report],
    )
    loader = DataLoader(torch.ones(2, 1), batch_size=1)
    trainer.fit(model, loader, loader, ckpt_path=attempt.checkpoint(ckpt_path, reporter))
    return trainer, report


def test_the_job_keeps_the_settings_it_decides_itself(tmp_path: Path) -> None:
    settings = trainer_settings()
    assert 'max_epochs' in settings
    assert 'logger' not in settings
    assert 'default_root_dir' not in settings


def test_a_checkpoint_holds_trainable_weights_only(tmp_path: Path, reporter: Reporter) -> None:
    trainer, _ = run(Line(), tmp_path, reporter, 1)
    path, score = best_checkpoint(trainer)
    assert path.parent == tmp_path / 'checkpoints'
    assert set(torch.load(path, weights_only=True)['state_dict']) == {'slope'}
    assert (tmp_path / 'checkpoints' / 'last.ckpt').is_file()

    again = Line()
    again.load_trainable(path)
    expected = (again.slope.item() - 1) ** 2
    assert score == pytest.approx(expected, abs=1e-6)


def test_only_the_best_are_kept(tmp_path: Path, reporter: Reporter) -> None:
    run(Line(), tmp_path, reporter, 4, keep_best=2)
    names = {path.name for path in (tmp_path / 'checkpoints').glob('*.ckpt')}
    assert len(names) == 3
    assert 'last.ckpt' in names


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path, reporter: Reporter) -> None:
    trainer, _ = run(Line(), tmp_path, reporter, 1)
    other = Line()
    other.bias = nn.Parameter(torch.zeros(1))
    with pytest.raises(ConfigurationError, match=r'1 weights do not match, such as bias'):
        other.load_trainable(best_checkpoint(trainer)[0])


def test_resuming_goes_on_with_weights_and_history(tmp_path: Path, reporter: Reporter) -> None:
    whole = Line()
    _, whole_report = run(whole, tmp_path / 'whole', reporter, 4)

    run(Line(), tmp_path / 'parts', reporter, 2)
    parts = Line()
    trainer, report = run(parts, tmp_path / 'parts', reporter, 4, ckpt_path='last')
    assert trainer.global_step == 8
    assert parts.slope.item() == whole.slope.item()
    assert report.history == whole_report.history
    assert len(report.history) == 4


def test_each_epoch_is_reported_with_training_and_validation(
    tmp_path: Path, reporter: Reporter, capsys: pytest.CaptureFixture[str]
) -> None:
    _, report = run(Line(), tmp_path, reporter, 2)
    assert [set(figures) for figures in report.history] == [{'train/loss', 'val/loss'}] * 2
    lines = capsys.readouterr().err
    assert 'epoch 1: train/loss' in lines
    assert 'step 4/4: loss' in lines


def test_a_fresh_start_removes_another_fit_s_checkpoints(
    tmp_path: Path, reporter: Reporter
) -> None:
    old = tmp_path / 'checkpoints' / 'epoch=9.ckpt'
    old.parent.mkdir()
    old.touch()
    trainer, _ = run(Line(), tmp_path, reporter, 1, ckpt_path='last')
    assert trainer.global_step == 2
    assert not old.exists()


def test_a_named_checkpoint_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'does not exist'):
        require_checkpoint(str(tmp_path / 'gone.ckpt'))
    for ckpt_path in (None, 'last', 'unfinished'):
        require_checkpoint(ckpt_path)


class Evil:
    """What is made of it as it is unpickled: a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('way', ['last', 'unfinished', 'a file', 'the model', 'the tracker'])
def test_a_checkpoint_that_would_run_code_is_refused_unopened(
    way: str, zipped: bool, tmp_path: Path, reporter: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, _ = run(Line(), tmp_path, reporter, 1)
    last, victim = tmp_path / 'checkpoints' / LAST, tmp_path / 'opened'
    torch.save(
        {**torch.load(last, weights_only=True), 'more': Evil(victim)},
        last,
        _use_new_zipfile_serialization=zipped,
    )
    # What would have torch and Lightning open it.
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    monkeypatch.setattr(type(reporter), 'is_heard', True)
    ways: dict[str, Callable[[], Any]] = {
        'last': lambda: run(Line(), tmp_path, reporter, 2, ckpt_path='last'),
        'unfinished': lambda: run(Line(), tmp_path, reporter, 2, ckpt_path='unfinished'),
        'a file': lambda: run(Line(), tmp_path, reporter, 2, ckpt_path=str(last)),
        'the model': lambda: Line().load_trainable(last),
        'the tracker': lambda: tell_checkpoints(trainer, last, None, reporter),
    }
    with pytest.raises(
        DataError, match=rf'^{last} (is no checkpoint of weights|can not be read as a checkpoint)'
    ) as caught:
        ways[way]()
    assert '\n' not in str(caught.value)
    assert 'weights_only' not in str(caught.value)
    assert not victim.exists()
    # The file is what it should be: opened without care it does its work.
    torch.load(last, weights_only=False)
    assert victim.exists()


@pytest.mark.parametrize('content', [b'', b'not a checkpoint', b'PK\x03\x04 and no more'])
def test_what_is_no_checkpoint_is_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / LAST
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf'^{path} (is no|can not be read as a) checkpoint'):
        read_checkpoint(path)
    torch.save([1], path)
    with pytest.raises(DataError, match='is no checkpoint: name one'):
        read_checkpoint(path)


def test_half_a_checkpoint_is_refused_in_a_sentence(tmp_path: Path, reporter: Reporter) -> None:
    run(Line(), tmp_path, reporter, 1)
    last = tmp_path / 'checkpoints' / LAST
    last.write_bytes(last.read_bytes()[:-200])
    with pytest.raises(DataError, match=rf'^{last} can not be read as a checkpoint') as caught:
        run(Line(), tmp_path, reporter, 2, ckpt_path='unfinished')
    assert '\n' not in str(caught.value)


def test_a_disk_that_fills_up_costs_an_epoch_and_the_fit_goes_on(
    small_disk: Any, tmp_path: Path, reporter: Reporter
) -> None:
    class Filling(Line):
        def on_train_start(self) -> None:
            small_disk.fill()

    folder = small_disk.path / 'run'
    run(Line(), folder, reporter, 1)
    kept = {path: path.read_bytes() for path in (folder / 'checkpoints').iterdir()}
    with pytest.raises(StorageError, match=rf'could not be written \({small_disk.word}') as caught:
        run(Filling(), folder, reporter, 3, ckpt_path='unfinished')
    assert '\n' not in str(caught.value)
    assert {path: path.read_bytes() for path in (folder / 'checkpoints').iterdir()} == kept
    small_disk.free()
    _, report = run(Line(), folder, reporter, 3, ckpt_path='unfinished')
    _, whole = run(Line(), tmp_path / 'whole', reporter, 3)
    assert report.history == whole.history


@pytest.mark.parametrize(
    ('settings', 'content', 'other'),
    [
        ({'rate': 0.1, 'size': [2, 3]}, 'codes', None),
        ({'rate': 0.2, 'size': [2, 3]}, 'codes', 'other settings: rate'),
        ({'rate': 0.1}, 'codes', 'other settings: size'),
        ({'rate': 0.1, 'size': [2, 3]}, 'other codes', 'other inputs: index'),
    ],
)
def test_only_the_very_fit_that_was_cut_off_is_gone_on_with(
    settings: dict[str, Any],
    content: str,
    other: str | None,
    tmp_path: Path,
    reporter: Reporter,
    capsys: pytest.CaptureFixture[str],
) -> None:
    index = tmp_path / 'index'
    index.write_text('codes')
    inputs = {'index': index, 'entries': None}
    run(Line(), tmp_path, reporter, 1, settings={'rate': 0.1, 'size': [2, 3]}, inputs=inputs)
    before = (tmp_path / 'checkpoints' / LAST).read_bytes()
    index.write_text(content)
    trainer, report = run(
        Line(), tmp_path, reporter, 2, ckpt_path='unfinished', settings=settings, inputs=inputs
    )
    said = capsys.readouterr().err
    aside = tmp_path / 'checkpoints_cut_off'
    assert len(report.history) == 2
    assert report.history[0]['train/loss'] == pytest.approx(0.82)
    if other is None:
        assert 'going on from' in said
        assert not aside.exists()
    else:
        assert f'the fit that was cut off here had {other}' in said
        # Somebody may want to go on with it.
        assert (aside / LAST).read_bytes() == before
        assert len(list((tmp_path / 'checkpoints').glob('*.ckpt'))) == 2
    assert trainer.global_step == 4


def test_a_fit_cut_off_in_its_first_epoch_and_one_that_ended_start_afresh(
    tmp_path: Path, reporter: Reporter, capsys: pytest.CaptureFixture[str]
) -> None:
    attempt = Attempt(tmp_path, {}, {})
    attempt.setup(Trainer(logger=False, barebones=True), Line(), 'fit')
    assert attempt.checkpoint('unfinished', reporter) is None
    assert 'no epoch was finished' in capsys.readouterr().err
    run(Line(), tmp_path, reporter, 1)
    assert attempt.checkpoint('unfinished', reporter) == tmp_path / 'checkpoints' / LAST
    attempt.finished()
    assert attempt.checkpoint('unfinished', reporter) is None
    assert attempt.checkpoint('last', reporter) == tmp_path / 'checkpoints' / LAST


def test_two_jobs_do_not_train_in_one_folder(
    tmp_path: Path,
    reporter: Reporter,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    attempt = Attempt(tmp_path, {}, {})
    owner = subprocess.Popen(['sleep', '600'])
    process = psutil.Process(owner.pid)
    mark = {'pid': owner.pid, 'host': socket.gethostname(), 'since': process.create_time()}
    write_json(mark, tmp_path / 'checkpoints' / 'unfinished.json')
    monkeypatch.setattr(resume, '_WAIT_SECONDS', 0.1)
    with pytest.raises(ConfigurationError, match=f'Process {owner.pid} is training in'):
        attempt.checkpoint(None, reporter)
    # Nor where it came after this one had looked.
    with pytest.raises(ConfigurationError, match=f'Process {owner.pid} is training in'):
        attempt.setup(Trainer(logger=False, barebones=True), Line(), 'fit')
    # One that is ending is waited for; and another process of the same number is another.
    monkeypatch.setattr(resume, '_WAIT_SECONDS', 60)
    ending = threading.Timer(0.5, owner.kill)
    ending.start()
    assert attempt.checkpoint(None, reporter) is None
    assert f'waiting for process {owner.pid}' in capsys.readouterr().err
    owner.wait()
    here = psutil.Process(os.getppid())
    mark = {'pid': here.pid, 'host': socket.gethostname(), 'since': here.create_time() - 3600}
    write_json(mark, tmp_path / 'checkpoints' / 'unfinished.json')
    assert attempt.checkpoint(None, reporter) is None


class Rising(Line):
    """The further, the worse on what it is validated with."""

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log('val/loss', self.slope + batch.mean() * 0, batch_size=1)


def test_the_last_checkpoint_is_the_last_epoch_s_however_bad(
    tmp_path: Path, reporter: Reporter
) -> None:
    trainer, _ = run(Rising(), tmp_path, reporter, 4)
    last = torch.load(tmp_path / 'checkpoints' / LAST, weights_only=True)
    assert last['global_step'] == trainer.global_step == 8
    best, _ = best_checkpoint(trainer)
    assert torch.load(best, weights_only=True)['global_step'] == 2
    assert {path.name for path in (tmp_path / 'checkpoints').glob('*')} == {
        LAST,
        best.name,
        'unfinished.json',
    }


@pytest.mark.parametrize(
    ('most', 'epochs', 'steps', 'expected'),
    [
        (None, 4, 13, (4, 13)),
        (52, 4, 13, (4, 13)),
        (20, 2, 8, (2, 8)),
        (12, 2, 8, (2, 6)),
        (8, 2, 8, (1, 8)),
        (3, 4, 13, (1, 3)),
        (1, 4, 13, (1, 1)),
        (51, 4, 13, (4, 12)),
        (20, -1, 13, (2, 10)),
        (20, None, 13, (2, 10)),
    ],
)
def test_a_try_has_at_most_so_many_steps(
    most: int | None, epochs: int | None, steps: int, expected: tuple[int, int]
) -> None:
    assert within_steps(most, epochs, steps) == expected


def test_a_fit_without_an_epoch_has_no_best(tmp_path: Path, reporter: Reporter) -> None:
    trainer, _ = run(Line(), tmp_path, reporter, 0)
    with pytest.raises(ConfigurationError, match='without a checkpoint'):
        best_checkpoint(trainer)


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_a_loss_that_is_no_number_stops_the_job_and_names_the_step(value: float) -> None:
    with pytest.raises(NaicsError, match='at step 7'):
        require_finite(torch.tensor(value), 7)
    require_finite(torch.tensor(1.0), 7)


@pytest.mark.parametrize('devices', ['0', '-1', '[0,1]'])
def test_devices_are_a_number(devices: str) -> None:
    with pytest.raises(ConfigurationError, match='is not a number of devices'):
        check_placement(trainer_settings('--trainer.devices', devices))


@pytest.mark.parametrize('devices', ['auto', '1', '2'])
def test_devices_that_are_a_number(devices: str) -> None:
    check_placement(trainer_settings('--trainer.devices', devices))


def test_a_missing_gpu_is_told_before_lightning_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    settings = trainer_settings('--trainer.accelerator', 'gpu')
    with pytest.raises(ConfigurationError, match='no GPU'):
        check_placement(settings)


@pytest.mark.parametrize(
    ('accelerator', 'gpu', 'capabilities', 'precision'),
    [
        ('cpu', False, {'amx_bf16': True}, 'bf16-mixed'),
        ('cpu', True, {'amx_bf16': False, 'avx512_bf16': True}, '32-true'),
        ('auto', True, {}, 'bf16-mixed'),
        # A processor of another make says nothing of AMX.
        ('auto', False, {}, '32-true'),
    ],
)
def test_bfloat16_where_the_hardware_multiplies_it(
    accelerator: str,
    gpu: bool,
    capabilities: dict[str, bool],
    precision: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpu)
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: capabilities)
    assert fastest_precision(accelerator) == precision


@pytest.fixture
def heard(tmp_path: Path, messages: Path) -> Iterator[Reporter]:
    """The reporter of a job that a launcher hears."""
    with open_reporter(tmp_path / 'result.json') as reporter:
        yield reporter


def test_by_hand_figures_go_to_a_file_and_settings_and_checkpoints_nowhere(
    tmp_path: Path, reporter: Reporter
) -> None:
    trainer, _ = run(Line(), tmp_path, reporter, 1)
    tell_checkpoints(trainer, best_checkpoint(trainer)[0], None, reporter)
    assert 'val/loss' in (tmp_path / 'metrics' / 'version_0' / 'metrics.csv').read_text()


def test_settings_and_figures_are_told_to_the_launcher(
    tmp_path: Path, heard: Reporter, told: Callable[[], list[Any]]
) -> None:
    choose_logger(heard, tmp_path, {'model.rank': 8, 'model.init_from': None})
    _, report = run(Line(), tmp_path, heard, 2)
    [settings, *_] = told()
    assert settings['values'] == {'model.rank': '8', 'model.init_from': 'None'}
    # Each room logs of its own.
    figures = [message for message in told() if message['kind'] == 'figures']
    losses = [(f['step'], f['values']['val/loss']) for f in figures if 'val/loss' in f['values']]
    assert losses == [(1, report.history[0]['val/loss']), (3, report.history[1]['val/loss'])]
    assert not (tmp_path / 'metrics').exists()


def test_only_the_rank_that_speaks_logs(
    tmp_path: Path, messages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('RANK', '1')
    with open_reporter(tmp_path / 'result.json') as reporter:
        assert choose_logger(reporter, tmp_path, {'model.rank': 8}) is False
    assert not messages.exists()


def test_a_fit_that_goes_on_tells_its_whole_curve(
    tmp_path: Path, heard: Reporter, told: Callable[[], list[Any]]
) -> None:
    run(Line(), tmp_path, heard, 2)
    before = len(told())
    run(Line(), tmp_path, heard, 4, ckpt_path='last')
    first, second = (
        [(m['step'], m['values']['val/loss']) for m in part if 'val/loss' in m.get('values', ())]
        for part in (told()[:before], told()[before:])
    )
    assert [step for step, _ in first] == [1, 3]
    assert [step for step, _ in second] == [1, 3, 5, 7]
    assert second[:2] == first


def test_kept_checkpoints_are_told_to_the_launcher(
    tmp_path: Path, heard: Reporter, told: Callable[[], list[Any]]
) -> None:
    trainer, _ = run(Line(), tmp_path, heard, 3, keep_best=2)
    best, score = best_checkpoint(trainer)
    tell_checkpoints(trainer, best, tmp_path / 'model', heard)
    second, last = [message for message in told() if message['kind'] == 'checkpoint']
    assert (second['step'], second['exported']) == (4, None)
    del last['time']
    assert last == {
        'kind': 'checkpoint',
        'path': str(best),
        'sha256': sha256_of(best),
        'step': 6,
        'score': score,
        'exported': str(tmp_path / 'model'),
    }


def test_nested_settings_become_dotted_names() -> None:
    assert flat({'a': {'b': 1, 'c': {'d': 2}}, 'e': [3]}) == {'a.b': 1, 'a.c.d': 2, 'e': [3]}


def test_matrices_decay_and_scalars_do_not() -> None:
    named = [('w', nn.Parameter(torch.ones(2, 2))), ('b', nn.Parameter(torch.ones(2)))]
    frozen = nn.Parameter(torch.ones(2, 2), requires_grad=False)
    decayed, plain = parameter_groups([*named, ('f', frozen)], 0.3)
    assert decayed['weight_decay'] == 0.3
    assert plain['weight_decay'] == 0.0
    assert decayed['params'] == [named[0][1]]
    assert plain['params'] == [named[1][1]]


def test_the_learning_rate_climbs_and_falls_to_nothing() -> None:
    shape = [warmup_cosine(step, warmup=4, total=20) for step in range(21)]
    assert shape[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert shape[12] == pytest.approx(0.5)
    assert shape[20] == pytest.approx(0.0)
    assert all(a > b for a, b in pairwise(shape[4:]))


def test_the_learning_rate_moves_on_a_line_from_stage_to_stage() -> None:
    shape = [linear_between(step, warmup=4, total=20, start=0.8, end=0.4) for step in range(21)]
    # A fifth of the line at the first step, and all of it from the fifth on.
    assert shape[0] == pytest.approx(0.8 / 5)
    assert shape[2] == pytest.approx((0.8 - 0.02 * 2) * 3 / 5)
    assert shape[4:] == pytest.approx([0.8 - 0.02 * step for step in range(4, 21)])
    following = linear_between(0, warmup=0, total=20, start=0.4, end=0.0)
    assert following == pytest.approx(shape[20])
    # Of a fit that is no longer than its warmup, too.
    assert 0 < linear_between(0, warmup=0, total=0, start=1.0, end=0.0) <= 1


def test_seeds_differ_by_purpose_and_repeat() -> None:
    seeds = [derived_seed(*words) for words in ((0, 1), (1, 0), (0, 0), (0,), (0, 1, 0))]
    assert len(set(seeds)) == len(seeds)
    assert derived_seed(5, 6) == derived_seed(5, 6)
