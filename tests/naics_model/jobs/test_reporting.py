"""What a job leaves behind, and who may speak."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dagster_pipes import DAGSTER_PIPES_CONTEXT_ENV_VAR

from naics_model.jobs.reporting import JobResult, open_reporter
from naics_model.storage.files import read_json


def test_the_result_names_files_with_digest_and_size(tmp_path: Path) -> None:
    weights = tmp_path / 'weights'
    weights.write_bytes(b'abc')
    path = tmp_path / 'run' / 'result.json'
    with open_reporter(path) as reporter:
        reporter.finish(JobResult({'loss': 1.5}, {'weights': weights}, {'steps': 3}))
    result = read_json(path)
    assert result['metrics'] == {'loss': 1.5}
    assert result['details'] == {'steps': 3}
    assert result['files']['weights'] == {
        'path': str(weights),
        'sha256': hashlib.sha256(b'abc').hexdigest(),
        'bytes': 3,
    }
    assert result['seconds'] >= 0
    assert result['peak_memory_bytes'] > 1_000_000


def test_a_failed_job_leaves_no_result_of_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / 'result.json'
    path.write_text('{}')
    with pytest.raises(KeyError), open_reporter(path):
        raise KeyError('boom')
    assert not path.exists()


def test_without_a_launcher_epochs_are_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_reporter(tmp_path / 'result.json') as reporter:
        reporter.epoch(0, {'train/loss': 0.25})
    assert capsys.readouterr().err == 'epoch 1: train/loss 0.2500\n'


def test_other_ranks_say_and_write_nothing(
    tmp_path: Path,
    messages: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv('RANK', '1')
    path = tmp_path / 'result.json'
    path.write_text('of rank 0')
    with open_reporter(path) as reporter:
        reporter.epoch(0, {'train/loss': 0.25})
        reporter.log('hello')
        reporter.finish(JobResult({}, {}))
    assert path.read_text() == 'of rank 0'
    assert capsys.readouterr().err == ''
    assert not messages.exists()


def test_a_launcher_hears_each_epoch_while_the_job_runs(tmp_path: Path, messages: Path) -> None:
    with open_reporter(tmp_path / 'result.json') as reporter:
        reporter.epoch(2, {'val/loss': 0.5})
        heard = messages.read_text()
    assert '"kind": "epoch"' in heard
    assert '"epoch": 2' in heard
    assert '"val/loss": 0.5' in heard


def test_what_is_told_for_the_tracker_is_for_a_launcher_alone(
    tmp_path: Path, told: Callable[[], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_reporter(tmp_path / 'result.json') as reporter:
        assert reporter.is_heard
        reporter.track('figures', values={'loss': 0.5}, step=3)
    [message] = told()
    assert message.pop('time') > 0
    assert message == {'kind': 'figures', 'values': {'loss': 0.5}, 'step': 3}
    monkeypatch.delenv(DAGSTER_PIPES_CONTEXT_ENV_VAR)
    with open_reporter(tmp_path / 'result.json') as reporter:
        assert not reporter.is_heard
        reporter.track('figures', values={'loss': 0.5}, step=4)
    assert len(told()) == 1
