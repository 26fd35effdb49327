"""`naics doctor` of the services, and the words that `naics_assets.cli` adds."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from naics_assets.cli import main
from naics_assets.upkeep import cli, health
from naics_model.upkeep.health import Finding

ROOT = Path(__file__).parents[2]


def test_who_listens_at_a_port(httpserver: HTTPServer) -> None:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        free = probe.getsockname()[1]
    asked = ('/health', 'OK', 'MLFLOW_PORT')
    assert health.check_port('MLflow', free, *asked).said == 'free for MLflow'
    httpserver.expect_ordered_request('/health').respond_with_data('OK')
    httpserver.expect_ordered_request('/health').respond_with_data('Something else')
    assert health.check_port('MLflow', httpserver.port, *asked).said == 'MLflow answers'
    found = health.check_port('MLflow', httpserver.port, *asked)
    assert (found.state, found.said) == ('warning', 'in use, and not by MLflow')
    assert f'make dev MLFLOW_PORT={httpserver.port + 1}' in found.remedy


def test_dagster_s_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / 'home'
    monkeypatch.setenv('DAGSTER_HOME', str(home))
    assert health.check_instance().state == 'problem'
    home.mkdir()
    assert health.check_instance().state == 'warning'
    settings = home / 'dagster.yaml'
    settings.write_text((ROOT / 'dagster_home' / 'dagster.yaml').read_text())
    found = health.check_instance()
    assert (found.state, found.said) == ('ok', f'0 runs, in {home} (SqliteRunStorage)')
    # A database that is a folder can not be opened.
    settings.write_text('storage:\n  sqlite:\n    base_dir: /proc/none\n')
    assert health.check_instance().state == 'problem'


def test_a_stack_that_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('DAGSTER_HOME', str(tmp_path / 'home'))
    assert list(health.check_stack(tmp_path)) == []
    home = tmp_path / 'stack' / 'dagster_home'
    home.mkdir(parents=True)
    [found] = health.check_stack(tmp_path)
    assert (found.state, found.what) == ('warning', 'stack')
    monkeypatch.setenv('DAGSTER_HOME', str(home))
    assert list(health.check_stack(tmp_path)) == []


def test_mlflow_s_database_or_server(tmp_path: Path) -> None:
    none = health.check_tracker(f'sqlite:///{tmp_path / "mlflow.db"}', 'naics')
    assert none.state == 'ok'
    assert list(tmp_path.iterdir()) == []
    away = health.check_tracker('http://me:secret@127.0.0.1:9', 'naics')
    assert away.state == 'problem'
    assert away.said.startswith('http://127.0.0.1:9 does not answer (')
    assert 'secret' not in away.said


@pytest.mark.parametrize(('state', 'code'), [('ok', 0), ('warning', 0), ('problem', 1)])
def test_a_line_for_each_thing_and_1_for_a_problem(
    state: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ('NAICS_DATA_DIR', 'DAGSTER_HOME', 'MLFLOW_TRACKING_URI'):
        monkeypatch.setenv(name, str(tmp_path))
    finding = Finding('disk', state, '[1] GB', '' if state == 'ok' else 'make room')
    monkeypatch.setattr(cli, '_findings', lambda: iter([finding]))
    with pytest.raises(SystemExit) as ended:
        main(['doctor'])
    assert ended.value.code == code
    said = capsys.readouterr().out
    assert said.startswith(f'{state:<9}disk             [1] GB\n')
    assert ('make room' in said) == (state != 'ok')


def test_all_of_it_in_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / 'home'
    home.mkdir()
    for name in ('NAICS_SOURCE_DIR', 'NAICS_DATA_DIR', 'MLFLOW_TRACKING_URI'):
        monkeypatch.setenv(name, '')  # so that what the command sets is taken back
        monkeypatch.delenv(name)
    monkeypatch.setenv('DAGSTER_HOME', str(home))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(['doctor'])
    lines = capsys.readouterr().out.splitlines()
    states = {line.split()[0] for line in lines if line and not line.startswith(' ')}
    assert ended.value.code == ('problem' in states)
    said = '\n'.join(lines)
    for what in ('Python', 'GPUs', 'encoder', 'data of 2022', 'port 3000', 'Dagster', 'MLflow'):
        assert f' {what} ' in said
    # Looking leaves nothing behind.
    assert list(tmp_path.iterdir()) == [home]


def test_the_other_words_start_without_dagster() -> None:
    loaded = "[m for m in ('dagster', 'mlflow') if m in sys.modules]"
    program = f'import sys, naics_assets.cli; print({loaded})'
    done = subprocess.run(
        [sys.executable, '-c', program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == '[]'
