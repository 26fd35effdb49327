"""What docs/clusters.md has operators run on several machines, with this machine in their place."""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from torch.distributed.run import parse_args

from naics_model.jobs.command import parse
from naics_model.storage.layout import EditionFolder
from naics_model.training.cli import PROFILES, build_parser
from naics_model.training.stages import STAGES
from tests.forked import run_module

DOCUMENT = (Path(__file__).parents[3] / 'docs' / 'clusters.md').read_text(encoding='utf-8')
TINY = [
    '--model.backbone=tiny-random',
    '--model.hyperbolic_dim=8',
    '--data.phrases_per_step=20',
    '--data.documents_per_step=6',
    '--data.items_per_step=16',
    '--data.steps_per_epoch=3',
    '--data.val_phrases=20',
    '--trainer.max_epochs=2',
]
# As Slurm's own: a process on each node, with the node's number; all end when one fails. What it is
# not told to know it refuses.
SRUN = """
import argparse, os, subprocess

parser = argparse.ArgumentParser(prog='srun', allow_abbrev=False)
for option in ('nodes', 'ntasks-per-node', 'cpus-per-task', 'cpu-bind', 'kill-on-bad-exit'):
    parser.add_argument(f'--{option}', required=True)
parser.add_argument('--quit-on-interrupt', action='store_true')
parser.add_argument('command', nargs=argparse.REMAINDER)
asked = parser.parse_args()
assert asked.ntasks_per_node == '1', asked
tasks = {}
for node in map(str, range(int(asked.nodes))):
    environment = {**os.environ, 'SLURM_NODEID': node, 'SLURM_PROCID': node}
    task = subprocess.Popen(asked.command, env=environment)
    tasks[task.pid] = task
worst = 0
while tasks:
    pid, status = os.wait()
    if pid in tasks:
        tasks.pop(pid).returncode = code = os.waitstatus_to_exitcode(status)
        worst = worst or code
        if code and asked.kill_on_bad_exit == '1':
            for task in tasks.values():
                task.terminate()
raise SystemExit(worst)
"""
SCONTROL = """
import sys

assert sys.argv[1:] == ['show', 'hostnames', 'node[1-2]'], sys.argv
print('127.0.0.1\\n127.0.0.1')
"""
# In the place of the asset graph: what its step does with NAICS_LAUNCH.
MATERIALIZE = """
import os, shlex, sys

assert sys.argv[1:4] == ['-m', 'naics_assets.materialize', '--edition'], sys.argv
command = [*shlex.split(os.environ['NAICS_LAUNCH']), *{job!r}]
os.execvp(command[0], command)
"""
TORCHRUN = """
from torch.distributed.run import main

main()
"""


def block(language: str, mark: str) -> str:
    """Return the one fenced block of a language in which a mark stands, each command a line."""
    blocks = re.findall(rf'^```{language}\n(.*?)^```$', DOCUMENT, re.MULTILINE | re.DOTALL)
    [found] = [text for text in blocks if mark in text]
    return str(found).replace('\\\n', '')


def write_command(path: Path, program: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!{sys.executable}\n{program}')
    path.chmod(0o755)


def job_with_a_free_port() -> int:
    """Return a job's number of which the script's port is free here."""
    while True:
        number = random.randrange(1000)
        with socket.socket() as probe:
            if probe.connect_ex(('127.0.0.1', 29500 + number)) != 0:
                return number


def run_script(folder: Path, job: list[str]) -> tuple[int, str]:
    """Run the document's batch script in an allocation of two nodes, with this job for the graph's.

    Returns:
        The exit code, and what was said on the error channel.
    """
    write_command(folder / 'bin' / 'srun', SRUN)
    write_command(folder / 'bin' / 'scontrol', SCONTROL)
    write_command(folder / '.venv' / 'bin' / 'torchrun', TORCHRUN)
    write_command(folder / '.venv' / 'bin' / 'python', MATERIALIZE.format(job=job))
    (folder / 'naics.sbatch').write_text(block('bash', '#SBATCH'))
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(('MLFLOW', 'DAGSTER', 'NAICS', 'SLURM'))
    }
    loopback = next(
        name
        for name, addresses in psutil.net_if_addrs().items()
        if any(address.address == '127.0.0.1' for address in addresses)
    )
    with subprocess.Popen(
        ['bash', 'naics.sbatch'],
        cwd=folder,
        env={
            **inherited,
            'PATH': os.pathsep.join([str(folder / 'bin'), os.environ['PATH']]),
            'CUDA_VISIBLE_DEVICES': '',
            'GLOO_SOCKET_IFNAME': loopback,
            'OMP_NUM_THREADS': '1',
            'SLURM_CPUS_PER_TASK': '1',
            'SLURM_GPUS_ON_NODE': '1',
            'SLURM_JOB_ID': str(job_with_a_free_port()),
            'SLURM_JOB_NODELIST': 'node[1-2]',
            'SLURM_JOB_NUM_NODES': '2',
        },
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as script:
        try:
            _, said = script.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            # torchrun passes it on to its ranks.
            os.killpg(script.pid, signal.SIGTERM)
            raise
    return script.returncode, said


def fit(edition: Any, stage_file: Path, run_dir: Path) -> list[str]:
    inputs = ['--data.relation_index', edition.relation_index]
    inputs += ['--data.token_cache', edition.token_cache]
    inputs += ['--data.phrases', edition.phrases]
    where = ['--curriculum', stage_file, '--run_dir', run_dir]
    return [
        'naics_model.training',
        *map(str, ['fit', '--config', 'smoke', *inputs, *where, *TINY]),
    ]


def test_the_batch_script_trains_one_model_on_all_nodes(
    edition: Any, stage_file: Path, tmp_path: Path
) -> None:
    code, said = run_script(tmp_path, fit(edition, stage_file, tmp_path / 'run'))
    assert code == 0, said
    result = json.loads((tmp_path / 'run' / 'result.json').read_text())
    assert result['details']['processes'] == 2
    assert result['details']['steps'] == 6
    # The two are as good as one process, with the same batch.
    alone_dir = tmp_path / 'alone'
    module, *words = fit(edition, stage_file, alone_dir)
    environment = {'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}
    done = run_module(module, [*words, '--data.shards=2'], {**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    alone = json.loads((alone_dir / 'result.json').read_text())
    for here, there in zip(result['details']['history'], alone['details']['history'], strict=True):
        assert here == pytest.approx(there, rel=1e-5, abs=1e-6)
    assert said.count('epoch 2: ') == 1
    assert (tmp_path / 'run' / 'model' / 'model.safetensors').is_file()


def test_the_command_for_each_machine_is_understood() -> None:
    words = shlex.split(block('sh', '--rdzv-endpoint=node1:29500'))
    assert words.pop(0) == '.venv/bin/torchrun'
    launch = parse_args(words)
    assert (launch.nnodes, launch.nproc_per_node, launch.rdzv_backend) == ('2', '4', 'c10d')
    assert (launch.module, launch.training_script) == (True, 'naics_model.training')
    command, *arguments = launch.training_script_args
    assert command == 'fit'
    config = parse(build_parser(), arguments, PROFILES)
    edition = EditionFolder(Path('data'), '2022')
    stage = edition.stage('stage_1_easy')
    assert (config.run_dir, config.curriculum) == (stage, STAGES['stage_1_easy'])
    assert config.data.relation_index == edition.relation_index
    assert config.data.token_cache == edition.token_cache
    assert config.data.phrases == edition.phrases


@pytest.mark.parametrize('wrong', ['--rdzv-backnd=c10d', '--nodes=2'])
def test_torchrun_would_refuse_a_misspelt_option(wrong: str) -> None:
    with pytest.raises(SystemExit):
        parse_args([wrong, '-m', 'naics_model.training'])
