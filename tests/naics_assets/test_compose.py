"""The containers are the processes that `make stack` starts, shut to the outside."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml
from dagster._core.workspace.config_schema import process_workspace_config

from naics_assets.lib import programs
from naics_assets.lib.programs import Program

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / 'docker'
FILES = ('compose.yaml', 'compose.gpu.yaml')
COMPOSE = yaml.safe_load((DOCKER / 'compose.yaml').read_text('utf-8'))
SERVICES: dict[str, dict[str, Any]] = COMPOSE['services']
# Of the containers' network; compose.yaml publishes what people are to see.
ALL = '0.0.0.0'


def in_the_image(command: Any) -> list[str]:
    """Return a command as it is in the image, where Python is `python`."""
    return ['python' if part == sys.executable else part for part in command]


@pytest.mark.parametrize(
    ('service', 'program'),
    [
        (
            'mlflow',
            programs.mlflow_server(
                ALL,
                5000,
                programs.artifacts(PurePosixPath('/home/naics/artifacts')),
                allowed=['mlflow:5000', '${MLFLOW_ALLOWED_HOSTS:-mlflow}'],
            ),
        ),
        ('code', programs.code_location(ALL, 4000)),
        ('webserver', programs.webserver(ALL, 3000, PurePosixPath('docker/workspace.yaml'))),
        ('daemon', programs.daemon(PurePosixPath('docker/workspace.yaml'))),
    ],
)
def test_a_container_runs_the_command_of_the_native_stack(service: str, program: Program) -> None:
    assert SERVICES[service]['command'] == in_the_image(program.command)
    assert SERVICES[service]['healthcheck']['test'] == ['CMD', *in_the_image(program.check)]


def test_each_service_has_a_check_and_waits_for_that_of_what_it_needs() -> None:
    assert set(SERVICES) == {'postgres', 'mlflow', 'code', 'webserver', 'daemon'}
    started: set[str] = set()
    for name, service in SERVICES.items():
        assert service['healthcheck']['test'], name
        assert service['restart'] == 'unless-stopped', name
        needed = service.get('depends_on', {})
        assert set(needed) <= started, f'{name} stands before what it needs'
        assert {need['condition'] for need in needed.values()} <= {'service_healthy'}
        started.add(name)


def test_what_is_published_is_for_this_machine_only() -> None:
    published = {name: service['ports'] for name, service in SERVICES.items() if 'ports' in service}
    assert set(published) == {'mlflow', 'webserver'}
    for ports in published.values():
        assert all(port.startswith('127.0.0.1:') for port in ports)


def test_no_secret_has_a_value_of_its_own() -> None:
    text = (DOCKER / 'compose.yaml').read_text('utf-8')
    assert re.findall(r'\$\{\w*PASSWORD[^}]*\}', text) == [
        '${POSTGRES_PASSWORD:?set it in docker/.env}'
    ]
    secrets = {
        (name, variable): value
        for name, service in SERVICES.items()
        for variable, value in service['environment'].items()
        if 'PASSWORD' in variable
    }
    assert set(secrets.values()) == {'${POSTGRES_PASSWORD:?set it in docker/.env}'}
    example = (DOCKER / '.env.example').read_text('utf-8').splitlines()
    assert [line for line in example if line and line[0] != '#'] == ['POSTGRES_PASSWORD=']


def test_each_variable_of_the_compose_files_is_in_the_example() -> None:
    asked = {
        name
        for file in FILES
        for name in re.findall(r'\$\{(\w+)', (DOCKER / file).read_text('utf-8'))
    }
    told = re.findall(r'^#?(\w+)=', (DOCKER / '.env.example').read_text('utf-8'), re.MULTILINE)
    assert asked == set(told)


def test_volumes_and_files_are_there() -> None:
    named = set(COMPOSE['volumes'])
    mounts = [mount for service in SERVICES.values() for mount in service.get('volumes', [])]
    for mount in mounts:
        source = re.sub(r'\$\{\w+:-(\w+)\}', r'\1', mount).partition(':')[0]
        assert (DOCKER / source).is_file() if source.startswith('.') else source in named, mount
    for service in SERVICES.values():
        if 'build' in service:
            context = DOCKER / service['build']['context']
            assert (context / service['build']['dockerfile']).is_file()


def test_what_the_image_copies_is_there_and_holds_what_the_containers_name() -> None:
    dockerfile = (DOCKER / 'Dockerfile').read_text('utf-8')
    copied = [
        source
        for line in re.findall(r'^COPY (.+)$', dockerfile, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert all((ROOT / source).exists() for source in copied)
    assert {'docker/dagster.yaml', 'docker/workspace.yaml'} <= set(copied)
    made = re.findall(r'(/home/naics/\w+)', dockerfile)
    for service in SERVICES.values():
        for mount in service.get('volumes', []):
            target = re.sub(r'\$\{[^}]*\}', '', mount).split(':')[1]
            if target.startswith('/home/naics'):
                assert target in made, 'a volume takes its owner from the folder of the image'


def test_the_instance_differs_from_the_local_one_only_in_where_things_are_kept() -> None:
    stack = yaml.safe_load((DOCKER / 'dagster.yaml').read_text('utf-8'))
    local = yaml.safe_load((ROOT / 'dagster_home/dagster.yaml').read_text('utf-8'))
    for place in ('storage', 'compute_logs', 'local_artifact_storage', 'run_launcher'):
        del stack[place]
    # Of code locations that Dagster starts itself, which the stack has none of.
    del local['code_servers']
    assert stack == local


def test_the_code_location_is_where_the_workspace_says(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = SERVICES['daemon']['environment']
    assert environment == SERVICES['webserver']['environment']
    for name in ('NAICS_CODE_HOST', 'NAICS_CODE_PORT'):
        monkeypatch.setenv(name, environment[name])
    workspace = yaml.safe_load((DOCKER / 'workspace.yaml').read_text('utf-8'))
    (location,) = process_workspace_config(workspace).value['load_from']
    assert location['grpc_server'] == {
        'host': 'code',
        'port': 4000,
        'location_name': programs.LOCATION,
    }


def test_the_files_keep_to_the_schema_of_compose() -> None:
    checked = subprocess.run(
        [sys.executable, '-m', 'check_jsonschema', '--builtin-schema', 'vendor.compose-spec']
        + [str(DOCKER / file) for file in FILES],
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout


def test_compose_takes_them() -> None:
    try:
        has = subprocess.run(['docker', 'compose', 'version'], capture_output=True).returncode == 0
    except FileNotFoundError:
        has = False
    if not has:
        pytest.skip('needs the command docker compose')
    files = [part for file in FILES for part in ('--file', str(DOCKER / file))]
    command = ['docker', 'compose', *files, '--env-file', os.devnull, 'config', '--quiet']
    environment = {name: value for name, value in os.environ.items() if name != 'POSTGRES_PASSWORD'}
    refused = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert refused.returncode != 0
    assert 'set it in docker/.env' in refused.stderr
    taken = subprocess.run(
        command, env={**environment, 'POSTGRES_PASSWORD': 'a test'}, capture_output=True, text=True
    )
    assert taken.returncode == 0, taken.stderr
