"""What a person reads of a run: paths and failures as they are, whatever brackets are in them."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from naics_assets import materialize
from naics_assets.lib.asset import EDITIONS
from naics_assets.lib.summary import print_summary
from naics_model.evaluation.guide import SUMMARY
from naics_model.storage.files import write_json
from naics_model.storage.layout import EditionFolder

ROOT = Path(__file__).parents[2]
ODD = 'da[old]ta [/y] :warning:'


class Jobs(dg.ConfigurableResource):
    profile: str
    max_steps: int


@dg.asset(partitions_def=EDITIONS)
def wrong(jobs: Jobs) -> None:
    raise dg.Failure(f'{ODD} is damaged: fetch it again.')


def test_a_run_that_fails_names_its_log_and_the_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    graph = dg.Definitions(
        assets=[wrong],
        jobs=[dg.define_asset_job(materialize.JOB, [wrong])],
        resources={'jobs': Jobs.configure_at_launch()},
    )
    monkeypatch.setattr(materialize, 'defs', lambda: graph)
    monkeypatch.setenv('NAICS_DATA_DIR', str(tmp_path / ODD))
    with dg.instance_for_test():
        assert materialize.materialise('sample', 'smoke') == 1
    said = capfd.readouterr().out
    assert f'everything it says is in {tmp_path}/{ODD}/sample/run.log\n' in said
    assert f'\nwrong: {ODD} is damaged: fetch it again.\n' in said


def test_a_run_that_succeeds_says_where_things_are(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = EditionFolder(tmp_path / ODD, 'sample')
    metrics = {f'text/{SUMMARY[0].key}': 0.25}
    write_json({'metrics': metrics}, folder.evaluation / 'result.json')
    released = {'embeddings': 'text', 'why': 'The others do not pass.'}
    write_json(released, folder.release / 'release.json')
    with materialize.output_to(tmp_path / 'run.log') as console:
        print_summary(console, folder, folder.path / 'model', 'smoke', '2 min')
    said = capfd.readouterr().out
    assert '0.25' in said
    assert 'Released: text embeddings. The others do not pass.\n' in said
    assert f'release     {folder.release}\n' in said
    assert f'all files   {folder.path}\n' in said


@pytest.mark.parametrize(
    ('words', 'asked'),
    [
        ('demo', ('sample', 'smoke', 0)),
        ('edition EDITION=2022 PROFILE=cpu', ('2022', 'cpu', 0)),
        ('edition', ('2022', 'smoke', 0)),
    ],
)
def test_the_makefile_starts_what_it_says(
    words: str, asked: tuple[str, str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.run(
        ['make', '-n', '-C', ROOT, *words.split()], capture_output=True, text=True, check=True
    )
    [line] = [line for line in done.stdout.splitlines() if 'naics_assets.materialize' in line]
    started: list[tuple[object, ...]] = []
    monkeypatch.setattr(sys, 'argv', shlex.split(line)[2:])
    monkeypatch.setattr(materialize, 'materialise', lambda *words: started.append(words) or 0)
    for name in ('NAICS_PROFILE', 'NAICS_MAX_STEPS', 'MAKEFLAGS', 'MAKELEVEL'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('NAICS_DATA_DIR', str(tmp_path))
    assert materialize.main() == 0
    assert started == [asked]
