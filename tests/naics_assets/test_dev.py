"""`make dev` as a process: its servers answer on this machine, and nothing listens beyond it."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import httpx
import psutil
import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 240

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.create_server(('127.0.0.1', 0)) as free:
        return int(free.getsockname()[1])


def environment_of(folder: Path, tracking_uri: str) -> dict[str, str]:
    home = folder / 'home'
    home.mkdir()
    return {
        **os.environ,
        'PYTHONPATH': str(ROOT),
        'NAICS_DATA_DIR': str(folder / 'data'),
        'DAGSTER_HOME': str(home),
        'MLFLOW_TRACKING_URI': tracking_uri,
        'no_proxy': '*',
    }


def answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except (URLError, OSError):
        return False


def test_beside_a_server_no_tracker_is_started_and_its_address_is_shown(tmp_path: Path) -> None:
    # Nobody is there: that is the runs' matter.
    environment = environment_of(tmp_path, 'http://somebody:s3cret@127.0.0.1:9')
    # Also where the port of `make dev`'s own MLflow is that server's.
    with socket.create_server(('127.0.0.1', 0)) as taken:
        mlflow_port = taken.getsockname()[1]
        where = ['--port', str(free_port()), '--mlflow-port', str(mlflow_port)]
        dev = subprocess.Popen(
            [sys.executable, '-m', 'naics_assets.dev', *where],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        process, started = psutil.Process(dev.pid), list[psutil.Process]()
        try:
            assert dev.stdout is not None
            said = []
            for line in dev.stdout:
                said.append(line)
                if line == 'Ctrl-C stops all.\n':
                    break
            assert 'MLflow   http://127.0.0.1:9\n' in said
            started = process.children(recursive=True)
            assert started
            assert not [one for one in started if 'mlflow server' in ' '.join(one.cmdline())]
            dev.send_signal(signal.SIGINT)
            rest, _ = dev.communicate(timeout=PATIENCE)
            assert dev.returncode == 0
            assert 's3cret' not in ''.join([*said, rest])
        finally:
            for each in started:
                if each.is_running():
                    each.kill()
            dev.kill()


def test_both_servers_answer_and_nothing_listens_beyond_this_machine(tmp_path: Path) -> None:
    ports = free_port(), free_port()
    # As a password in an address would be.
    environment = environment_of(tmp_path, f'sqlite:///{tmp_path / "s3cret.db"}')
    log = tmp_path / 'log'
    where = ['--port', str(ports[0]), '--mlflow-port', str(ports[1])]
    with log.open('wb') as output:
        dev = subprocess.Popen(
            [sys.executable, '-m', 'naics_assets.dev', *where],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    process, known = psutil.Process(dev.pid), set[psutil.Process]()
    addresses: set[tuple[str, int]] = set()
    shown: set[str] = set()

    def look() -> None:
        known.update([process, *process.children(recursive=True)])
        for each in known:
            try:
                shown.add(' '.join(each.cmdline()))
                addresses.update(
                    (found.laddr.ip, found.laddr.port)
                    for found in each.net_connections(kind='inet')
                    if found.status == psutil.CONN_LISTEN
                )
            except psutil.Error:
                continue

    try:
        wanted = [f'http://127.0.0.1:{ports[0]}/server_info', f'http://127.0.0.1:{ports[1]}/health']
        deadline = time.monotonic() + PATIENCE
        while wanted:
            assert dev.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            look()
            wanted = [url for url in wanted if not answers(url)]
            time.sleep(0.5)
        look()
        assert set(ports) <= {port for _, port in addresses}
        beyond = [ip for ip, _ in addresses if not ipaddress.ip_address(ip).is_loopback]
        assert beyond == [], addresses
        # Every user of a machine can read the command lines of all.
        assert any('mlflow server' in words for words in shown)
        assert not [words for words in shown if 's3cret' in words]
        # Nor does a page of somebody else's get to Dagster through a browser on this machine.
        graphql = f'http://127.0.0.1:{ports[0]}/graphql'
        question = {'query': '{ version }'}
        assert httpx.post(graphql, json=question).json()['data']['version']
        assert httpx.get(graphql, params=question).status_code == 403
        for headers in ({'host': 'evil.example'}, {'origin': 'http://evil.example'}):
            assert httpx.post(graphql, json=question, headers=headers).status_code == 403
        os.killpg(dev.pid, signal.SIGINT)
        assert dev.wait(PATIENCE) == 0, log.read_text()
    finally:
        for each in known:
            if each.is_running():
                each.kill()
        dev.wait()
