"""PostgreSQL is found, in the version that made the databases, and what is missing is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from naics_assets.lib import postgres
from naics_assets.lib.postgres import Cluster, find_programs
from naics_model.errors import ConfigurationError


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
    script = Path(__file__).parents[2] / 'docker/databases.sql'
    with pytest.raises(ConfigurationError, match=f'may not enter the folders above {closed}'):
        cluster.create(script)
    assert not cluster.folder.exists()
    assert not cluster.passwords.exists()
