from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from naics_model.corpus.editions import load_editions
from naics_model.corpus.options import latest_edition, options_of


def test_the_default_edition_is_the_newest() -> None:
    assert latest_edition() == max(name for name in load_editions() if name.isdigit())


def test_options_name_the_folder_only_where_it_is_not_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('NAICS_DATA_DIR', raising=False)
    assert options_of('2017', Path('data')) == '--edition 2017'
    assert options_of('2017', tmp_path / 'data') == '--edition 2017'
    assert options_of('2017', Path('mine')) == '--edition 2017 --data-dir mine'
    monkeypatch.setenv('NAICS_DATA_DIR', 'mine')
    assert options_of('2017', Path('mine')) == '--edition 2017'
    assert options_of('2017', Path('data')) == '--edition 2017 --data-dir data'


def test_options_can_be_pasted_into_a_shell() -> None:
    folder = "/my data/it's; rm $HOME"
    assert shlex.split(options_of('sample', Path(folder)))[-1] == folder
