"""The documents: the site builds, what they name is there, and every command they show runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md')), ROOT / 'docker' / 'README.md']
SHOWN_IN = (ROOT / 'README.md', ROOT / 'docs' / 'quickstart.md')
BLOCK = re.compile(r'^```\n(.*?)^```', re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r'(?:[A-Z_]+=\S+ )*(?:make|\.venv/bin/\S+) .*')

# What takes longer than a test should is tried elsewhere, or cut short: the command that a reader
# types -> what is run in its place, by a shell in a folder with the data of the sample edition.
CUT_SHORT = {
    '.venv/bin/naics data --edition 2022': (
        '.venv/bin/naics data --edition 2022 --through relations'
    ),
    '.venv/bin/naics curriculum check 03_stage_hard --edition 2022': (
        '.venv/bin/naics curriculum check 03_stage_hard --edition sample'
    ),
    '.venv/bin/naics evaluate data/2022/release/embeddings.parquet --edition 2022': (
        '.venv/bin/naics evaluate data/sample/release/embeddings.parquet --edition sample'
    ),
}
TRIED_ELSEWHERE = {
    'make demo': 'tests/naics_assets/test_whole_graph.py',
    'make test': '.ci/run',
    'make dev': 'tests/naics_assets/test_dev.py',
    'make edition EDITION=2022 PROFILE=cpu': 'tests/naics_assets/test_materialize.py',
    'NAICS_SOURCE_DIR=/path/to/workbooks make edition EDITION=2022 PROFILE=cpu': (
        'tests/naics_assets/test_materialize.py'
    ),
    '.venv/bin/python -m naics_model.benchmark --edition sample --protocol heldout_codes': (
        'tests/naics_model/benchmark/test_benchmark.py'
    ),
}


def commands() -> list[str]:
    """Return the commands that README and quickstart show, each once, without its remark."""
    blocks = (block for page in SHOWN_IN for block in BLOCK.findall(page.read_text()))
    lines = (line for block in blocks for line in block.splitlines())
    shown = (line.partition('  #')[0].strip() for line in lines if COMMAND.fullmatch(line.strip()))
    return list(dict.fromkeys(re.sub(r'\s+# .*', '', line) for line in shown))


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reader's folder: the data of the sample edition, and a table of embeddings of its codes."""
    folder = tmp_path_factory.mktemp('reader')
    run('.venv/bin/naics data --edition sample', folder)
    codes = pl.read_parquet(folder / 'data' / 'sample' / 'corpus' / 'descriptions.parquet')['code']
    release = folder / 'data' / 'sample' / 'release'
    release.mkdir()
    vectors = [[float(digit) for digit in code.ljust(6, '0')] for code in codes]
    table = pl.DataFrame({'code': codes, 'embedding': vectors})
    table.write_parquet(release / 'embeddings.parquet')
    return folder


def run(command: str, folder: Path) -> str:
    python = Path(sys.executable).parent
    done = subprocess.run(
        command.replace('.venv/bin', shlex.quote(str(python))),
        shell=True,
        cwd=folder,
        env={**os.environ, 'NAICS_DATA_DIR': str(folder / 'data')},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f'{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}'
    return done.stdout


def test_what_is_cut_short_or_tried_elsewhere_is_shown() -> None:
    assert set(CUT_SHORT) | set(TRIED_ELSEWHERE) <= set(commands())
    for place in TRIED_ELSEWHERE.values():
        assert (ROOT / place).is_file(), place


@pytest.mark.parametrize(
    'command', [command for command in commands() if command not in TRIED_ELSEWHERE]
)
def test_a_shown_command_runs(command: str, folder: Path, request: pytest.FixtureRequest) -> None:
    if re.search(r'edition 20\d\d', CUT_SHORT.get(command, command)):
        request.getfixturevalue('source_dir')
    run(CUT_SHORT.get(command, command), folder)


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    sphinx = [sys.executable, '-m', 'sphinx', '-W', '--keep-going', '-q', '-b', 'html']
    done = subprocess.run(
        [*sphinx, '-d', tmp_path / 'trees', ROOT / 'docs', tmp_path / 'site'],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for page in (ROOT / 'docs').glob('*.md'):
        assert (tmp_path / 'site' / f'{page.stem}.html').is_file()


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_that_a_page_names_are_there(page: Path) -> None:
    named = re.findall(r'`((?:docs|tests|benchmarks|naics_\w+|docker)/[\w./-]+)`', page.read_text())
    # What a person makes, and git leaves out.
    missing = [name for name in named if not (ROOT / name).exists() and name != 'docker/.env']
    assert missing == []
