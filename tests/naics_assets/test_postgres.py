"""PostgreSQL is found, in the version that made the databases, and what is missing is told."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from naics_assets import stack
from naics_assets.lib import postgres
from naics_assets.lib.postgres import Cluster, find_programs
from naics_model.errors import ConfigurationError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Debian's folder of versions, still empty, and none in PATH."""
    monkeypatch.setattr(postgres, '_FOLDERS', tmp_path)
    monkeypatch.setenv('PATH', str(tmp_path))
    return tmp_path


def install(folder: Path, version: str) -> Path:
    """Put programs there that know their version."""
    programs = folder / version.partition('.')[0] / 'bin'
    programs.mkdir(parents=True)
    for name in ('initdb', 'postgres', 'pg_isready'):
        program = programs / name
        program.write_text(f'#!/bin/sh\necho "{name} (PostgreSQL) {version} (Debian)"\n')
        program.chmod(0o755)
    return programs


def test_a_machine_without_postgresql_is_told_what_to_install(debian: Path) -> None:
    with pytest.raises(ConfigurationError, match='apt-get install postgresql'):
        find_programs(None)


def test_databases_go_on_with_the_version_that_made_them(debian: Path) -> None:
    old, new = install(debian, '9.6'), install(debian, '15.18')
    newest = install(debian, '17.2')
    assert old.is_dir()
    assert find_programs(None) == newest
    assert find_programs('15') == new
    with pytest.raises(ConfigurationError, match='by PostgreSQL 13, and this machine has 17 and'):
        find_programs('13')


def test_the_one_in_path_comes_first(debian: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(debian, '17.2')
    own = install(debian / 'own', '16.1')
    monkeypatch.setenv('PATH', str(own))
    assert find_programs(None) == own


def test_a_shell_s_variables_of_another_server_do_not_hold(tmp_path: Path) -> None:
    """Otherwise its password would go before the file's, and its address with ours."""
    try:
        find_programs(None)
    except ConfigurationError as error:
        pytest.skip(str(error))
    of_another = {'PGPASSWORD': 'another', 'PGSERVICE': 'another', 'PGHOSTADDR': '192.0.2.1'}
    telling = shlex.join([sys.executable, '-m', 'naics_assets.stack', '--environment'])
    told = subprocess.run(
        ['bash', '-c', f'eval "$({telling})" && env'],
        env={**os.environ, **of_another, 'NAICS_DATA_DIR': str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    left = [line for line in told.stdout.splitlines() if line.startswith('PG')]
    assert left == [f'PGPASSFILE={tmp_path / "stack" / "passwords"}']


@pytest.mark.skipif(os.geteuid() != 0, reason='only root runs PostgreSQL as another account')
def test_a_folder_that_the_account_cannot_enter_is_named_and_nothing_is_left(
    tmp_path: Path,
) -> None:
    try:
        find_programs(None)
    except ConfigurationError as error:
        pytest.skip(str(error))
    closed = tmp_path / 'closed'
    closed.mkdir(0o700)
    cluster = Cluster(closed / 'stack' / 'postgres', closed / 'stack' / 'passwords', 5433)
    script = ROOT / 'docker/databases.sql'
    with pytest.raises(ConfigurationError, match=f'may not enter the folders above {closed}'):
        cluster.create(script)
    assert not cluster.folder.exists()
    assert not cluster.passwords.exists()


def test_a_stack_that_can_not_be_told_of_says_why(
    debian: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data_dir = tmp_path / 'our data'
    monkeypatch.setenv('NAICS_DATA_DIR', str(data_dir))
    monkeypatch.setenv('DAGSTER_HOME', str(tmp_path))
    monkeypatch.setenv('MLFLOW_TRACKING_URI', 'sqlite:///it.db')
    monkeypatch.setattr('sys.argv', ['stack', '--environment', '--mlflow-port', '5001'])
    assert stack.main() == 1
    assert capsys.readouterr().err.startswith('Error: PostgreSQL was found neither ')
    install(debian, '15.18')
    assert stack.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"export DAGSTER_HOME='{data_dir}/stack/dagster_home'" in lines
    assert 'export MLFLOW_TRACKING_URI=http://127.0.0.1:5001' in lines
    assert not (data_dir / 'stack').exists()


def test_env_file_says_nothing_of_what_the_stack_decides(
    debian: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install(debian, '15.18')
    told = ['NAICS_DATA_DIR=data', 'NAICS_PROFILE=cpu', 'DAGSTER_HOME=home', 'PGPASSWORD=another']
    (tmp_path / '.env').write_text('\n'.join(told))
    monkeypatch.chdir(tmp_path)
    for name in ('NAICS_DATA_DIR', 'DAGSTER_HOME', 'MLFLOW_TRACKING_URI', 'NAICS_PROFILE'):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv('PGPASSWORD', 'ours')
    monkeypatch.setattr('sys.argv', ['stack', '--environment'])
    assert stack.main() == 1
    assert capsys.readouterr().err.startswith('Error: .env sets DAGSTER_HOME, PGPASSWORD, and ')
    (tmp_path / '.env').write_text('\n'.join(told[:2]))
    assert stack.main() == 0
