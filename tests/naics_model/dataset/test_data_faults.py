"""What befalls `naics data`: a disk that is full, and two commands at once in one folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from naics_model.cli import main
from naics_model.dataset.steps import steps_of
from naics_model.encoder.backbones import MINILM
from naics_model.errors import StorageError
from naics_model.storage.files import sha256_of
from naics_model.storage.layout import EditionFolder

ROOT = Path(__file__).parents[3]
PATIENCE = 240


def run(*arguments: str | Path) -> int:
    """The exit code of the command, run in this process."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as ended:
        return int(ended.code or 0)


def quiet(line: str) -> None:
    """Nobody watches."""


def contents(folder: Path) -> dict[Path, str]:
    return {path: sha256_of(path) for path in folder.rglob('*') if path.is_file()}


def test_on_a_full_disk_every_step_says_so_and_the_last_good_file_stays(small_disk: Any) -> None:
    folder = EditionFolder(small_disk.path / 'data', 'sample')
    steps = steps_of(folder, None, MINILM)
    versions = {step.name: step.run(quiet).version for step in steps}
    before = contents(folder.path)
    assert len(before) > len(steps)
    for step in steps:
        with small_disk.full():
            with pytest.raises(StorageError) as caught:
                step.run(quiet)
            assert contents(folder.path) == before, step.name
        said = str(caught.value)
        assert said.startswith(f'{folder.path}/')
        assert f'could not be written ({small_disk.word}' in said
        assert '\n' not in said
    # Nothing that was left over stands in the way.
    assert {step.name: step.run(quiet).version for step in steps} == versions
    assert set(contents(folder.path)) == set(before)


def test_on_a_full_disk_the_command_ends_in_a_sentence_and_succeeds_later(
    small_disk: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    data = small_disk.path / 'data'
    command = ['data', '--edition', 'sample', '--through', 'descriptions', '--data-dir', str(data)]
    with small_disk.full():
        assert run(*command) == 1
        said = capsys.readouterr().err
    assert said.startswith(f'Error: {data}/sample/source/')
    assert f'({small_disk.word}): free space or permissions there' in said
    assert said.count('\n') == 1
    assert run(*command) == 0


def test_two_commands_at_once_make_the_edition_that_one_makes(tmp_path: Path) -> None:
    command = [sys.executable, '-m', 'naics_model.cli', 'data', '--edition', 'sample']
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    running = [
        subprocess.Popen(
            [*command, '--data-dir', str(tmp_path / 'both')],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    for process in running:
        said, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, said
    alone = {
        step.name: step.run(quiet)
        for step in steps_of(EditionFolder(tmp_path / 'alone', 'sample'), None, MINILM)
    }
    both = contents(tmp_path / 'both')
    assert {path.relative_to(tmp_path / 'both') for path in both} == {
        path.relative_to(tmp_path / 'alone') for path in contents(tmp_path / 'alone')
    }
    for name, made in alone.items():
        # Triplets are in no promised order; what they are a function of is compared below.
        if name != 'triplets':
            path = tmp_path / 'both' / made.path.relative_to(tmp_path / 'alone')
            assert both[path] == made.version, name
    assert run('data', 'validate', '--data-dir', tmp_path / 'both') == 0
