"""The server stack with real processes: a run over GraphQL, and each service killed once.

One start serves all tests. The run is that of `full_edition` on the sample, cut to the data and the
first stage of training (two steps): the whole graph is `test_whole_graph.py`'s matter.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import pytest

from naics_assets.lib.postgres import find_programs
from naics_model.errors import ConfigurationError
from tests.processes import is_alive

pytestmark = pytest.mark.slow

SECONDS = 600
ROOT = Path(__file__).parents[2]
EDITION = 'sample'
DATA = [
    *('codes_workbook', 'descriptions_workbook', 'index_workbook', 'cross_references_workbook'),
    *('concordance_workbook', 'descriptions', 'concordance', 'activities', 'phrases'),
    *('code_splits', 'distances', 'relations', 'triplets', 'relation_index', 'token_cache'),
]
TRAINED = 'stage_1_easy'
# What each service is known by in its command line.
MARKS = {
    'postgres': '/postgres ',
    'mlflow': ' mlflow server ',
    'code': ' dagster api grpc ',
    'webserver': ' naics_assets.webserver ',
    'daemon': ' dagster._daemon run ',
}
# In one process, for a step's own takes seconds to start.
IN_PROCESS = {'execution': {'config': {'in_process': {}}}}
TWO_STEPS = {'resources': {'jobs': {'config': {'profile': 'smoke', 'max_steps': 2}}}}

OTHER_DATABASE = {'PGPASSWORD': 'of another server', 'PGHOSTADDR': '192.0.2.1'}

Found = TypeVar('Found')


def until(look: Callable[[], Found | None], what: str) -> Found:
    """Ask until there is an answer, also through the errors of a service that is away."""
    deadline = time.monotonic() + SECONDS
    trouble: Exception | None = None
    while time.monotonic() < deadline:
        try:
            if found := look():
                return found
        except (httpx.HTTPError, GraphQLError, psutil.Error) as error:
            trouble = error
        time.sleep(0.2)
    pytest.fail(f'{what}: not within {SECONDS} s; {trouble}')


class GraphQLError(Exception):
    """An answer with errors, as the webserver gives while its database is away."""


class Stack:
    """A running stack, as people and programs see it."""

    def __init__(
        self, supervisor: psutil.Process, ports: dict[str, int], options: list[str]
    ) -> None:
        self.supervisor, self.ports, self.options = supervisor, ports, options

    def pid(self, name: str) -> int | None:
        """Return the process of a service, if it has one just now."""
        for child in self.supervisor.children():
            with suppress(psutil.Error):
                if MARKS[name] in ' '.join(child.cmdline()):
                    return child.pid
        return None

    def has(self, mark: str) -> bool:
        """Return whether the stack has a process with something in its command line."""
        for process in self.supervisor.children(recursive=True):
            with suppress(psutil.Error):
                if mark in ' '.join(process.cmdline()):
                    return True
        return False

    def kill(self, name: str) -> None:
        """Kill a service, and wait until it has another process."""
        first = until(lambda: self.pid(name), f'{name} runs')
        os.kill(first, signal.SIGKILL)
        until(lambda: self.pid(name) not in (None, first), f'{name} is started again')

    def graphql(self, query: str, **variables: Any) -> Any:
        """Ask the webserver."""
        answer = httpx.post(
            f'http://127.0.0.1:{self.ports["port"]}/graphql',
            json={'query': query, 'variables': variables},
            timeout=60,
        ).json()
        if 'errors' in answer:
            raise GraphQLError(answer['errors'])
        return answer['data']

    def mlflow(self, path: str, **question: Any) -> Any:
        """Ask MLflow's REST interface."""
        address = f'http://127.0.0.1:{self.ports["mlflow-port"]}/api/2.0/mlflow/{path}'
        return httpx.post(address, json=question, timeout=60).raise_for_status().json()

    def launch(self, job: str, config: dict[str, Any], assets: list[str] | None = None) -> str:
        """Launch a run of a job, of the edition where it is of assets; return its id."""
        job_of = {
            'repositoryLocationName': 'naics_assets',
            'repositoryName': '__repository__',
            'jobName': job,
        }
        tags = []
        if assets:
            job_of['assetSelection'] = [{'path': [name]} for name in assets]
            tags = [{'key': 'dagster/partition', 'value': EDITION}]
        launched = self.graphql(
            """mutation ($run: ExecutionParams!) {
                launchRun(executionParams: $run) {
                    __typename
                    ... on LaunchRunSuccess { run { runId } }
                    ... on PythonError { message }
                }
            }""",
            run={
                'selector': job_of,
                'runConfigData': config,
                'executionMetadata': {'tags': tags},
            },
        )['launchRun']
        assert launched['__typename'] == 'LaunchRunSuccess', launched
        return launched['run']['runId']

    def run(self, run_id: str) -> Any:
        """Return the status, the steps and the materialisations of a run."""
        return self.graphql(
            """query ($id: ID!) { runOrError(runId: $id) { ... on Run {
                status
                stepStats { stepKey status }
                assetMaterializations { assetKey { path } }
            } } }""",
            id=run_id,
        )['runOrError']

    def await_end(self, run_id: str) -> str:
        """Return the status that a run ends with."""
        ends = ('SUCCESS', 'FAILURE', 'CANCELED')

        def end() -> str | None:
            status = self.run(run_id)['status']
            return status if status in ends else None

        return until(end, f'run {run_id} ends')

    def await_step(self, run_id: str, step: str) -> None:
        """Wait until a step of a run has started."""
        until(
            lambda: any(
                one['stepKey'] == step and one['status'] for one in self.run(run_id)['stepStats']
            ),
            f'step {step} starts',
        )

    def facts(self, run_id: str) -> dict[str, Any]:
        """Return what is known of a run: what it made, from what, its checks and its metrics."""
        nodes = self.graphql(
            """query ($keys: [AssetKeyInput!]!, $editions: [String!]!) {
                assetNodes(assetKeys: $keys) {
                    assetKey { path }
                    dependencyKeys { path }
                    assetMaterializations(partitions: $editions, limit: 1) { runId }
                    assetChecksOrError { ... on AssetChecks { checks {
                        name
                        executionForLatestMaterialization { runId evaluation { success severity } }
                    } } }
                }
            }""",
            keys=[{'path': [name]} for name in [*DATA, TRAINED]],
            editions=[EDITION],
        )['assetNodes']
        (job,) = self.mlflow(
            'runs/search',
            experiment_ids=[self.experiment()],
            filter=f"tags.`dagster/run_id` = '{run_id}' AND tags.`dagster/asset` = '{TRAINED}'",
        )['runs']
        return {
            'status': self.run(run_id)['status'],
            'assets': sorted(nodes, key=lambda node: node['assetKey']['path']),
            'job': job['info'],
            # MLflow lists these in no fixed order.
            'metrics': {one['key']: one['value'] for one in job['data']['metrics']},
            'settings': {one['key']: one['value'] for one in job['data']['params']},
            'made_from': sorted(
                one['dataset']['digest'] for one in job['inputs']['dataset_inputs']
            ),
            'files': self.mlflow_files(job['info']['run_id'])['root_uri'],
        }

    def experiment(self) -> str:
        address = f'http://127.0.0.1:{self.ports["mlflow-port"]}/api/2.0/mlflow/experiments'
        found = httpx.get(f'{address}/get-by-name', params={'experiment_name': 'naics'}, timeout=60)
        return found.raise_for_status().json()['experiment']['experiment_id']

    def mlflow_files(self, run_id: str) -> Any:
        address = f'http://127.0.0.1:{self.ports["mlflow-port"]}/api/2.0/mlflow/artifacts/list'
        return httpx.get(address, params={'run_id': run_id}, timeout=60).raise_for_status().json()

    def ticks(self, sensor: str) -> list[Any]:
        """Return the latest ticks of a sensor, newest first."""
        return self.graphql(
            """query ($sensor: SensorSelector!) { sensorOrError(sensorSelector: $sensor) {
                ... on Sensor { sensorState { ticks(limit: 20) { timestamp status } } }
            } }""",
            sensor={
                'repositoryLocationName': 'naics_assets',
                'repositoryName': '__repository__',
                'sensorName': sensor,
            },
        )['sensorOrError']['sensorState']['ticks']


@pytest.fixture(scope='module')
def data_dir() -> Iterator[Path]:
    """A data folder that PostgreSQL's own account may get to, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(prefix='naics-stack-'))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope='module')
def stack(data_dir: Path) -> Iterator[Stack]:
    try:
        find_programs(None)
    except ConfigurationError as error:
        pytest.skip(str(error))
    ports = {'port': 0, 'mlflow-port': 0, 'code-port': 0, 'postgres-port': 0}
    with (
        socket.socket() as one,
        socket.socket() as two,
        socket.socket() as three,
        socket.socket() as four,
    ):
        for name, probe in zip(ports, (one, two, three, four), strict=True):
            probe.bind(('127.0.0.1', 0))
            ports[name] = probe.getsockname()[1]
    options = [text for name, port in ports.items() for text in (f'--{name}', str(port))]
    process = subprocess.Popen(
        [sys.executable, '-m', 'naics_assets.stack', *options],
        # A person's own PostgreSQL is no matter of the stack.
        env={**os.environ, 'NAICS_DATA_DIR': str(data_dir), **OTHER_DATABASE},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    supervisor = psutil.Process(process.pid)
    everything: list[psutil.Process] = []
    try:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if line == 'Ctrl-C stops all.\n':
                break
        assert said[-1] == 'Ctrl-C stops all.\n', said
        yield Stack(supervisor, ports, options)
        everything = supervisor.children(recursive=True)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SECONDS)
        assert process.returncode == 0
        assert [left for left in everything if is_alive(left)] == []
    finally:
        for left in everything or supervisor.children(recursive=True):
            with suppress(psutil.Error):
                left.kill()
        process.kill()


@pytest.fixture(scope='module')
def finished(stack: Stack) -> str:
    """A run in the midst of whose training PostgreSQL was killed."""
    run_id = stack.launch('full_edition', {**IN_PROCESS, **TWO_STEPS}, [*DATA, TRAINED])
    # The job loads for seconds, in which its step writes nothing. A step that is cut off while it
    # writes an event fails, and so does its run (docker/README.md).
    until(lambda: stack.has(' naics_model.training fit '), 'the job starts')
    stack.kill('postgres')
    assert stack.await_end(run_id) == 'SUCCESS'
    return run_id


def test_a_run_leaves_its_lineage_its_checks_and_its_metrics(stack: Stack, finished: str) -> None:
    facts = stack.facts(finished)
    assets = {node['assetKey']['path'][0]: node for node in facts['assets']}
    assert set(assets) == {*DATA, TRAINED}
    for name, node in assets.items():
        assert [made['runId'] for made in node['assetMaterializations']] == [finished], name
    needed = {key['path'][0] for key in assets[TRAINED]['dependencyKeys']}
    assert {'token_cache', 'relation_index'} <= needed
    checks = [check for node in assets.values() for check in node['assetChecksOrError']['checks']]
    assert len(checks) > 10
    for check in checks:
        execution = check['executionForLatestMaterialization']
        assert execution['runId'] == finished, check['name']
        evaluation = execution['evaluation']
        assert evaluation['success'] or evaluation['severity'] == 'WARN', check['name']
    assert facts['job']['status'] == 'FINISHED'
    assert {'train/loss', 'val/loss'} <= set(facts['metrics'])
    assert facts['settings']
    assert facts['made_from']
    assert facts['files'].startswith('mlflow-artifacts:/')


def test_nothing_is_lost_when_services_are_killed(stack: Stack, finished: str) -> None:
    before = stack.facts(finished)
    for name in ('mlflow', 'webserver', 'daemon'):
        stack.kill(name)
    assert until(lambda: stack.facts(finished), 'all answer again') == before


def test_the_stack_and_a_shell_that_is_told_of_it_clean_its_database(
    stack: Stack, finished: str, data_dir: Path
) -> None:
    before = stack.facts(finished)
    what = {'config': {'older_than_days': 0}}
    cleaning = stack.launch('cleaning', {**IN_PROCESS, 'ops': {'remove_leftovers': what}})
    assert stack.await_end(cleaning) == 'SUCCESS'
    telling = shlex.join([sys.executable, '-m', 'naics_assets.stack', *stack.options])
    words = ['-m', 'naics_assets.cli', 'clean', '--older-than', '0', '--yes']
    done = subprocess.run(
        [
            'bash',
            '-c',
            f'eval "$({telling} --environment)" && {shlex.join([sys.executable, *words])}',
        ],
        env={**os.environ, 'NAICS_DATA_DIR': str(data_dir), **OTHER_DATABASE},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    # The run that cleaned has made nothing, and goes; the one that made all stays, and all of it.
    assert re.search(r'^Dagster runs with their events and logs +1 ', done.stdout, re.MULTILINE)
    assert not stack.run(cleaning)
    assert stack.facts(finished) == before


def test_a_run_whose_code_location_was_killed_is_tried_again(stack: Stack) -> None:
    since = time.time()
    run_id = stack.launch('edition_data', IN_PROCESS, DATA[:9])
    stack.await_step(run_id, 'descriptions')
    stack.kill('code')

    def again() -> str | None:
        found = stack.graphql(
            """query ($of: RunsFilter!) { runsOrError(filter: $of) { ... on Runs {
                results { runId }
            } } }""",
            of={'tags': [{'key': 'dagster/parent_run_id', 'value': run_id}]},
        )['runsOrError']['results']
        return found[0]['runId'] if found else None

    assert stack.await_end(run_id) == 'FAILURE'
    assert stack.await_end(until(again, 'the run is tried again')) == 'SUCCESS'
    # Every service has another process by now; the sensor that looks at failed runs has seen this
    # one.
    until(
        lambda: any(
            tick['status'] == 'SUCCESS' and tick['timestamp'] > since
            for tick in stack.ticks('close_mlflow_runs_of_failures')
        ),
        'a sensor ticks',
    )


def test_the_stack_listens_to_this_machine_only_and_tells_nobody_its_password(
    stack: Stack, data_dir: Path
) -> None:
    family = [stack.supervisor, *stack.supervisor.children(recursive=True)]
    passwords = data_dir / 'stack/passwords'
    assert passwords.stat().st_mode & 0o777 == 0o600
    password = passwords.read_text().strip().rpartition(':')[2]
    listening = set()
    for process in family:
        # Some come and go.
        with suppress(psutil.NoSuchProcess):
            # A socket of both families tells the address in the newer one's notation.
            listening |= {
                connection.laddr.ip.removeprefix('::ffff:')
                for connection in process.net_connections('tcp')
                if connection.status == psutil.CONN_LISTEN
            }
            assert password not in str(process.cmdline())
            assert password not in str(process.environ())
    assert listening == {'127.0.0.1'}
    for log in (data_dir / 'stack/logs').iterdir():
        assert password not in log.read_text('utf-8', errors='replace'), log
