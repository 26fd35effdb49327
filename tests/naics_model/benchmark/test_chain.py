"""Chains of real processes: order, going on after a stop, and what a failure says."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from dagster_pipes import DAGSTER_PIPES_CONTEXT_ENV_VAR

from naics_model.benchmark.chain import Job, run_chain
from naics_model.errors import DataError
from naics_model.storage.files import read_json

# A job that appends its word to a list, writes its result, and can be told to fail.
PROGRAM = """
import json, os, pathlib, sys
folder, word = pathlib.Path(sys.argv[1]), sys.argv[2]
with (folder / 'said').open('a') as file:
    file.write(word + ' ')
if (folder / f'{word}.fails').exists():
    sys.exit(3)
names = ('DAGSTER_PIPES_CONTEXT', 'NAICS_LAUNCHER_PID', 'KEPT')
(folder / f'{word}.json').write_text(json.dumps({name: os.environ.get(name) for name in names}))
"""


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    (tmp_path / 'said_word.py').write_text(PROGRAM)
    path = os.environ.get('PYTHONPATH')
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(tmp_path), *([path] if path else [])]))
    return [
        Job(word, 'said_word', (str(tmp_path), word), tmp_path / f'{word}.json')
        for word in ('one', 'two', 'three')
    ]


def said(folder: Path) -> list[str]:
    return (folder / 'said').read_text().split()


def run(jobs: list[Job], folder: Path, inputs: object = 'these') -> list[str]:
    lines: list[str] = []
    run_chain(jobs, inputs, folder / 'chain.json', lines.append)
    return lines


def test_jobs_run_in_order_once(jobs: list[Job], tmp_path: Path) -> None:
    first = run(jobs, tmp_path)
    assert [line.partition(': python -m said_word')[1] != '' for line in first] == [True] * 3
    assert run(jobs, tmp_path) == ['one: done before', 'two: done before', 'three: done before']
    assert said(tmp_path) == ['one', 'two', 'three']


def test_a_stopped_chain_goes_on_where_it_was(jobs: list[Job], tmp_path: Path) -> None:
    (tmp_path / 'two.fails').touch()
    with pytest.raises(DataError, match=r'two ended with exit code 3 .* python -m said_word'):
        run(jobs, tmp_path)
    (tmp_path / 'two.fails').unlink()
    run(jobs, tmp_path)
    assert said(tmp_path) == ['one', 'two', 'two', 'three']


def test_other_inputs_or_settings_run_what_follows_again(jobs: list[Job], tmp_path: Path) -> None:
    run(jobs, tmp_path)
    run(jobs, tmp_path, inputs='others')
    assert said(tmp_path) == ['one', 'two', 'three'] * 2
    changed = Job('two', 'said_word', (*jobs[1].arguments, '--more'), jobs[1].result)
    run([jobs[0], changed, jobs[2]], tmp_path, inputs='others')
    assert said(tmp_path)[6:] == ['two', 'three']
    jobs[0].result.unlink()
    run([jobs[0], changed, jobs[2]], tmp_path, inputs='others')
    assert said(tmp_path)[8:] == ['one', 'two', 'three']


def test_what_follows_a_job_that_ran_again_is_never_done_before(
    jobs: list[Job], tmp_path: Path
) -> None:
    run(jobs, tmp_path)
    # The first job is to run again, and the chain is stopped after it.
    jobs[0].result.unlink()
    (tmp_path / 'two.fails').touch()
    with pytest.raises(DataError):
        run(jobs, tmp_path)
    (tmp_path / 'two.fails').unlink()
    assert jobs[2].result.is_file()
    assert [line for line in run(jobs, tmp_path) if line.endswith('done before')] == [
        'one: done before'
    ]


def test_a_job_speaks_to_no_launcher_of_the_whole(
    jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DAGSTER_PIPES_CONTEXT_ENV_VAR, 'whole')
    monkeypatch.setenv('KEPT', 'yes')
    run(jobs[:1], tmp_path)
    found = read_json(tmp_path / 'one.json')
    assert found['KEPT'] == 'yes'
    assert found['DAGSTER_PIPES_CONTEXT'] is None


def test_the_record_is_plain(jobs: list[Job], tmp_path: Path) -> None:
    run(jobs[:1], tmp_path)
    record = json.loads((tmp_path / 'chain.json').read_text())
    assert record['inputs'] == 'these'
    assert list(record['ended']) == ['one']
