"""What `naics doctor` finds of the machine, and what it says to do."""

from __future__ import annotations

import importlib.metadata
import shutil
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from naics_model.cli import main
from naics_model.corpus import editions
from naics_model.corpus.editions import PACKAGED_EDITIONS
from naics_model.encoder import backbones
from naics_model.storage.layout import EditionFolder
from naics_model.upkeep import health
from naics_model.upkeep.health import Finding

ROOT = Path(__file__).parents[3]


def test_this_installation_is_within_its_ranges() -> None:
    assert health.check_python().state == 'ok'
    found = list(health.check_packages(ROOT / 'constraints.txt'))
    assert not [each for each in found if each.state == 'problem']


def test_packages_against_ranges_and_tested_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ['torch>=2.13,<3', 'a_package>=1,<2', 'b>=3', 'gone', "dev>=9; extra == 'dev'"]
    there = {'torch': '2.13.0+cpu', 'a_package': '1.5', 'b': '2.9', 'dagster': '1', 'mlflow': '3'}

    def version(name: str) -> str:
        if name not in there:
            raise importlib.metadata.PackageNotFoundError(name)
        return there[name]

    monkeypatch.setattr(health.metadata, 'requires', lambda _: asked)
    monkeypatch.setattr(health.metadata, 'version', version)
    pins = tmp_path / 'constraints.txt'
    pins.write_text('# tested\ntorch==2.13.0\na-package==1.4  # why\nb==3.1\n')
    remedy = 'pip install -c constraints.txt -e .'
    assert list(health.check_packages(pins)) == [
        Finding('a_package', 'warning', '1.5; tested is 1.4', remedy),
        Finding('b', 'problem', '2.9, but it has to be >=3', remedy),
        Finding('gone', 'problem', 'not installed', remedy),
    ]
    del asked[1:4]
    [fine] = health.check_packages(pins)
    assert fine.state == 'ok'
    assert fine.said == '1 as tested: torch 2.13.0+cpu, dagster 1, mlflow 3'
    [untold] = health.check_packages(tmp_path / 'none.txt')
    assert 'none.txt to compare' in untold.said


@pytest.mark.parametrize(
    ('gigabytes', 'disk', 'memory'),
    [(20, 'ok', 'ok'), (4, 'warning', 'warning'), (0.5, 'problem', 'problem')],
)
def test_room_on_disk_and_in_memory(
    gigabytes: float, disk: str, memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    amount = gigabytes * health.GIGABYTE
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: SimpleNamespace(free=amount))
    monkeypatch.setattr(psutil, 'virtual_memory', lambda: SimpleNamespace(available=amount))
    found = health.check_disk(tmp_path / 'not' / 'there' / 'yet')
    assert found.state == disk
    assert found.said == f'{gigabytes:.1f} GB free at {tmp_path}'
    assert bool(found.remedy) == (disk != 'ok')
    assert health.check_memory().state == memory


def test_an_encoder_of_other_bytes_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    backbones.resolve_backbone.cache_clear()
    assert health.check_encoder().state == 'ok'
    backbones.resolve_backbone.cache_clear()
    monkeypatch.setattr(backbones, '_MINILM_DIGEST', '0' * 64)
    found = health.check_encoder()
    backbones.resolve_backbone.cache_clear()
    assert found.state == 'problem'
    assert found.said.endswith('expected 000000000000…)')
    assert found.remedy == 'delete it and install or fetch it again'


def test_workbooks_in_a_folder_of_one_s_own(tmp_path: Path) -> None:
    assert health.check_source_dir(None).state == 'ok'
    assert health.check_source_dir(tmp_path).state == 'problem'
    assert health.check_source_dir(tmp_path / 'none').state == 'problem'
    folder = tmp_path / '2017'
    folder.mkdir()
    books = list(editions.edition('2017').workbooks.values())
    for book in books[1:]:
        (folder / book.file).touch()
    found = health.check_source_dir(tmp_path)
    assert (found.state, found.said) == ('warning', f'{tmp_path} lacks 2017/{books[0].file}')
    (folder / books[0].file).touch()
    assert health.check_source_dir(tmp_path).state == 'ok'


def test_a_file_of_editions_that_is_behind_this_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = PACKAGED_EDITIONS.read_text(encoding='utf-8')
    own = tmp_path / 'own.toml'
    own.write_text(text[: text.index('[2022]')], encoding='utf-8')
    monkeypatch.setenv('NAICS_EDITIONS_FILE', str(own))
    found = health.check_editions()
    assert found.state == 'warning'
    assert found.said.startswith(f'{own} (NAICS_EDITIONS_FILE) lacks 2022')
    monkeypatch.delenv('NAICS_EDITIONS_FILE')
    assert health.check_editions().state == 'ok'


def test_what_is_there_of_each_edition(tmp_path: Path) -> None:
    folder = EditionFolder(tmp_path, 'sample')
    options = ['--data-dir', str(tmp_path)]
    with pytest.raises(SystemExit):
        main(['data', '-e', 'sample', '--through', 'descriptions', *options])
    found = {each.what: each for each in health.check_data(tmp_path)}
    assert list(found) == [f'data of {name}' for name in editions.load_editions()]
    assert found['data of 2017'].said == 'nothing yet'
    assert found['data of sample'].state == 'warning'
    assert found['data of sample'].said.startswith('lacks activities, phrases, code_splits, ')
    assert found['data of sample'].remedy == 'naics data --edition sample'
    for name in (
        *('activities', 'phrases', 'code_splits', 'concordance', 'distances'),
        *('relations', 'triplets'),
    ):
        folder.file(name).parent.mkdir(parents=True, exist_ok=True)
        folder.file(name).touch()
    for path in (folder.relation_index, folder.token_cache):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    [complete, *_] = health.check_data(tmp_path)
    assert (complete.state, complete.said) == ('ok', '10 tables')
    folder.release.mkdir()
    (folder.release / 'release.json').write_text('{')
    [damaged, *_] = health.check_data(tmp_path)
    assert damaged.state == 'problem'
    assert damaged.remedy == 'delete it and run its step again'
