"""A password in an address is used and never shown: not in Dagster's store, not in any word."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import dagster as dg
import pytest
from dagster_shared.serdes import serialize_value
from pytest_httpserver import HTTPServer

from naics_assets.definitions import defs
from naics_model.errors import without_passwords

ROOT = Path(__file__).parents[2]
SECRET = 's3cret-p4ss'
# What no file of a repository has a reason to hold.
PATTERNS = {
    'a private key': r'-----BEGIN [A-Z ]*PRIVATE KEY-----',
    'a key of AWS': r'\b(AKIA|ASIA)[A-Z0-9]{16}\b',
    'a token of GitHub': r'\bgh[pousr]_[A-Za-z0-9]{36}\b|\bgithub_pat_\w{60,}',
    'a token of Hugging Face': r'\bhf_[A-Za-z0-9]{30,}\b',
    'a token of Slack': r'\bxox[abprs]-[A-Za-z0-9-]{20,}',
    'a token of PyPI': r'\bpypi-[A-Za-z0-9_-]{50,}',
}


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance of its own, and an environment with the secret still to be set."""
    monkeypatch.setenv('NAICS_DATA_DIR', str(tmp_path / 'data'))
    monkeypatch.setenv('MLFLOW_HTTP_REQUEST_MAX_RETRIES', '0')
    monkeypatch.setenv('no_proxy', '*')
    (tmp_path / 'home').mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / 'home')) as instance:
        yield instance


def run_baselines(instance: dg.DagsterInstance) -> str:
    """Run the first asset that MLflow is told of, as far as it gets; return why it failed."""
    job = dg.define_asset_job('some', selection=dg.AssetSelection.assets('baselines'))
    graph = dg.Definitions.merge(defs(), dg.Definitions(jobs=[job]))
    done = graph.resolve_job_def('some').execute_in_process(
        instance=instance, partition_key='sample', raise_on_error=False
    )
    failure = done.failure_data_for_node('baselines')
    assert failure is not None
    return str(failure.user_failure_data.description)


def assert_nowhere(instance: dg.DagsterInstance, folder: Path, *said: str) -> None:
    """Check that the secret is neither said, nor in a file, nor in what Dagster keeps packed."""
    [record] = instance.get_run_records()
    kept = instance.get_job_snapshot(str(record.dagster_run.job_snapshot_id))
    assert 'tracking_uri' in serialize_value(kept)
    assert SECRET not in serialize_value(kept)
    files = [path for path in folder.rglob('*') if path.is_file()]
    assert any(path.suffix == '.db' and path.stat().st_size > 10_000 for path in files)
    assert [str(path) for path in files if SECRET.encode() in path.read_bytes()] == []
    assert not [words for words in said if SECRET in words]


def test_a_server_that_is_away_is_named_without_its_password(
    graph: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(('127.0.0.1', 0)) as free:
        address = f'http://me:{SECRET}@127.0.0.1:{free.getsockname()[1]}'
    monkeypatch.setenv('MLFLOW_TRACKING_URI', address)
    monkeypatch.setenv('NAICS_MLFLOW_URL', address)
    said = run_baselines(graph)
    assert said.startswith('MLflow opened no run for this step')
    assert_nowhere(graph, tmp_path, said, *capfd.readouterr())


def test_a_server_that_refuses_is_named_without_its_password(
    graph: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    httpserver: HTTPServer,
    capfd: pytest.CaptureFixture[str],
) -> None:
    httpserver.expect_request(re.compile('.*')).respond_with_data('no', status=403)
    address = httpserver.url_for('').rstrip('/').replace('://', f'://me:{SECRET}@')
    monkeypatch.setenv('MLFLOW_TRACKING_URI', address)
    said = run_baselines(graph)
    assert 'API request' in said
    # It was sent all the same.
    assert httpserver.log[0][0].authorization.password == SECRET
    assert_nowhere(graph, tmp_path, said, *capfd.readouterr())


def test_a_server_that_hangs_up_is_named_without_its_password(
    graph: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(('127.0.0.1', 0)) as server:

        def hang_up() -> None:
            with suppress(OSError):
                while True:
                    server.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        port = server.getsockname()[1]
        monkeypatch.setenv('MLFLOW_TRACKING_URI', f'http://me:{SECRET}@127.0.0.1:{port}')
        said = run_baselines(graph)
        server.shutdown(socket.SHUT_RDWR)
    # MLflow's own words have the address as it was given.
    assert f'http://127.0.0.1:{port}/api' in said
    assert_nowhere(graph, tmp_path, said, *capfd.readouterr())


@pytest.mark.parametrize(
    ('text', 'shown'),
    [
        (
            'API request to http://me:pw@h:5000/api failed',
            'API request to http://h:5000/api failed',
        ),
        ('postgresql+psycopg://me:p@w@db/mlflow', 'postgresql+psycopg://db/mlflow'),
        ('postgresql://me:se/c@ret@db:5432/d', 'postgresql://db:5432/d'),
        ("at 'https://token@h'", "at 'https://h'"),
        ('two: s3://k:s@b, s3://k:s@b/c', 'two: s3://b, s3://b/c'),
        ('sqlite:////data/mlflow.db', 'sqlite:////data/mlflow.db'),
        ('http://h/people/me@h', 'http://h/people/me@h'),
        ('write to me@h', 'write to me@h'),
    ],
)
def test_passwords_go_out_of_addresses(text: str, shown: str) -> None:
    assert without_passwords(text) == shown


def test_the_repository_holds_no_secret() -> None:
    listed = subprocess.run(
        ['git', 'ls-files', '-z'], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip('not a checkout of git')
    paths = [ROOT / name for name in listed.stdout.split('\0') if name]
    assert len(paths) > 200
    found = [
        f'{path.relative_to(ROOT)}: {what}'
        for path in paths
        if path.is_file()
        for what, pattern in PATTERNS.items()
        if re.search(pattern, path.read_bytes().decode('utf-8', 'replace'))
    ]
    assert found == []
    assert not [path for path in paths if path.name in ('.env', 'id_rsa') or path.suffix == '.pem']


def test_each_pattern_finds_what_it_is_for() -> None:
    examples = {
        'a private key': '-----BEGIN RSA ' + 'PRIVATE KEY-----',
        'a key of AWS': 'AKIA' + 'A1' * 8,
        'a token of GitHub': 'ghp_' + 'a1' * 18,
        'a token of Hugging Face': 'hf_' + 'aB' * 17,
        'a token of Slack': 'xoxb-' + '12' * 12,
        'a token of PyPI': 'pypi-' + 'Ag' * 40,
    }
    assert examples.keys() == PATTERNS.keys()
    for what, example in examples.items():
        assert re.search(PATTERNS[what], f'key = {example}{os.linesep}'), what
