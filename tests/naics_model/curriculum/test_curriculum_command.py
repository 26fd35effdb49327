"""`naics curriculum` as people run it, on the bundled edition."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from naics_model.curriculum.cli import app
from naics_model.curriculum.stage import load_stage
from naics_model.curriculum.supply import advice, stage_supply, verdict
from naics_model.curriculum.terminal import bar, positives
from naics_model.dataset.steps import steps_of
from naics_model.encoder.backbones import MINILM
from naics_model.errors import ConfigurationError, DataError
from naics_model.storage.layout import EditionFolder
from naics_model.triplets.hardness import HARDNESS
from naics_model.triplets.relation_index import RelationIndex

STAGE = {
    'name': 'mine',
    'positive_levels': [5, 6],
    'positive_distance_min': 4.0,
    'positive_distance_max': 6.0,
    'max_positives': 4,
    'difficulty_buckets': [1, 7],
    'bucket_percentages': {1: 0.25, 7: 0.75},
    'k_negatives': 8,
}


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('data')
    for step in steps_of(EditionFolder(root, 'sample'), None, MINILM):
        step.run(lambda line: None)
        if step.name == 'relation_index':
            break
    return root


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the environment nor a folder of stages decides what these tests do."""
    for name in ('NAICS_CURRICULUM_DIR', 'NAICS_DATA_DIR', 'COLUMNS', 'FORCE_COLOR'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / 'curricula').mkdir()
    path = tmp_path / 'curricula' / 'mine.yaml'
    path.write_text(yaml.safe_dump(STAGE))
    return path


def said_by(*arguments: str | Path, charset: str = 'utf-8') -> str:
    """What a successful command prints."""
    done = CliRunner(charset=charset).invoke(app, [str(argument) for argument in arguments])
    assert done.exception is None, done.exception
    assert done.exit_code == 0
    return done.output


def refused(*arguments: str | Path) -> Exception:
    """The error of a command that fails: `naics` prints it and returns 1."""
    error = CliRunner().invoke(app, [str(argument) for argument in arguments]).exception
    assert isinstance(error, Exception)
    return error


def test_list_names_each_stage_with_what_it_asks_for(mine: Path) -> None:
    said = said_by('list')
    assert '01_stage_easy  built in\n' in said
    assert 'level 6, at most 2.0 apart' in said
    assert 'all levels, at any distance' in said
    assert '16 of an item, by hardness 1: 50%, 2: 25%, 5: 15%, 6: 10%' in said
    assert 'mine  curricula/mine.yaml\n' in said
    assert 'levels 5, 6, 4.0 to 6.0 apart, at most 4 of an anchor' in said
    assert '8 of an item, by hardness 1: 25%, 7: 75%' in said


def test_a_wrong_file_does_not_hide_the_others(mine: Path) -> None:
    mine.with_name('half.yaml').write_text(yaml.safe_dump(STAGE | {'k_negatives': 0.5}))
    said = said_by('list')
    assert 'Stage curricula/half.yaml is wrong: k_negatives is 0.5' in said
    assert 'levels 5, 6, 4.0 to 6.0 apart' in said


def test_brackets_in_the_name_of_a_file_are_shown(mine: Path) -> None:
    mine.with_name('[red]x.yaml').write_text(yaml.safe_dump(STAGE))
    said = said_by('list')
    assert '[red]x  curricula/[red]x.yaml\n  curricula/[red]x.yaml has the name mine in it' in said


def test_brackets_in_a_path_are_shown(data: Path, mine: Path, tmp_path: Path) -> None:
    index = tmp_path / '[old] :warning: [' / 'y].safetensors'
    index.parent.mkdir()
    shutil.copy(EditionFolder(data, 'sample').relation_index, index)
    said = said_by('check', 'mine', '-e', 'sample', '--relation-index', index, '--items', 10)
    assert said.startswith(f'mine, {index}\n')


def test_fewer_items_than_asked_for_are_told(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ('check', '01_stage_easy', '-e', 'sample', '--data-dir', data, '--items', 100)
    assert 'The mix, in 100 items drawn with seed 0\n' in said_by(*arguments)
    monkeypatch.setattr('naics_model.curriculum.supply._COMPARISONS', 70 * 16**2)
    assert (
        'The mix, in 70 items drawn with seed 0 (not 100, as each has so many negatives)\n'
        in said_by(*arguments)
    )


def test_check_says_what_the_supply_is(data: Path) -> None:
    said = said_by('check', '02_stage_medium', '-e', 'sample', '--data-dir', data, '--items', 2000)
    index = RelationIndex.load(EditionFolder(data, 'sample').relation_index)
    supply = stage_supply(index, load_stage('02_stage_medium'), items=2000, seed=0)
    assert '02_stage_medium, edition sample' in said
    assert f'{supply.pairs:,} pairs of {supply.anchors:,} anchors' in said
    assert f'{supply.too_few:,} pairs with fewer than 16 negatives' in said
    assert f'as over {supply.effective_pairs:,.0f} equally likely pairs' in said
    assert verdict(supply) in said
    lines = said.splitlines()
    for bucket in supply.buckets:
        label = f'{bucket.hardness} {HARDNESS[bucket.hardness]}'
        mix, pairs = (line.removeprefix(label).split() for line in lines if line.startswith(label))
        assert mix[:3] == [
            f'{share:.1%}' for share in (bucket.requested, bucket.expected, bucket.drawn)
        ]
        assert mix[3] == f'{100 * bucket.gap:+.1f}'
        assert pairs[0] == str(bucket.quota)
        assert pairs[-1] == f'{bucket.pairs_with_none:,}'
        if bucket.quota:
            some = supply.pairs - bucket.pairs_with_none - bucket.pairs_with_quota
            assert pairs[1:3] == [f'{bucket.pairs_with_quota:,}', f'{some:,}']


def test_a_mix_that_does_not_come_is_told_and_no_failure(data: Path, mine: Path) -> None:
    index = EditionFolder(data, 'sample').relation_index
    said = said_by('check', 'mine', '--relation-index', index, '--items', '100', '--seed', '3')
    supply = stage_supply(RelationIndex.load(index), load_stage('mine'), items=100, seed=3)
    assert verdict(supply).startswith('This mix does not come as asked: hardness 7 gets')
    assert f'{verdict(supply)}\n{advice(supply)}\n' in said
    assert str(index) in said
    assert 'in 100 items drawn with seed 3' in said
    assert (
        said_by('check', mine, '--relation-index', index, '--items', '100', '--seed', '3') == said
    )


def test_a_narrow_window_without_unicode_loses_no_number(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ('check', '03_stage_hard', '-e', 'sample', '--data-dir', data, '--items', 100)
    wide = said_by(*arguments)
    monkeypatch.setenv('COLUMNS', '30')
    narrow = said_by(*arguments, charset='ascii')
    assert narrow.isascii()
    assert not wide.isascii()
    assert [line.split()[:5] for line in narrow.splitlines()] == [
        line.split()[:5] for line in wide.splitlines()
    ]


def test_the_data_folder_may_come_from_the_environment(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('NAICS_DATA_DIR', str(data))
    assert 'Every bucket comes within' in said_by('check', '01_stage_easy', '-e', 'sample')


def test_a_missing_index_says_how_to_build_it(tmp_path: Path) -> None:
    error = refused('check', '01_stage_easy')
    assert isinstance(error, DataError)
    assert str(error) == (
        'There is no relation index data/2022/triplets/relation_index.safetensors: build it with '
        'naics data --edition 2022 --through relation_index.'
    )
    other = refused('check', '01_stage_easy', '-e', 'sample', '--data-dir', tmp_path)
    assert str(other).endswith(
        f'naics data --edition sample --data-dir {tmp_path} --through relation_index.'
    )
    gone = refused('check', '01_stage_easy', '--relation-index', tmp_path / 'gone')
    assert f'There is no relation index {tmp_path / "gone"}' in str(gone)


def test_a_mistaken_request_gets_one_sentence(data: Path, mine: Path) -> None:
    where = ('-e', 'sample', '--data-dir', data)
    mine.with_name('wide.yaml').write_text(yaml.safe_dump(STAGE | {'k_negatives': 500}))
    for arguments, words in (
        (('check', '09_stage'), "There is no stage '09_stage': the built-in ones are 01_stage"),
        (('check', '01_stage_easy', '-e', '1987'), "There is no edition '1987'"),
        (('check', mine.with_name('wide.yaml'), *where), 'asks for 500 negatives of an item'),
    ):
        error = refused(*arguments)
        assert isinstance(error, ConfigurationError)
        assert words in str(error)
        assert '\n' not in str(error)


def test_no_items_are_no_check() -> None:
    done = CliRunner().invoke(app, ['check', '01_stage_easy', '--items', '0'])
    assert done.exit_code == 2


def test_help_teaches() -> None:
    said = said_by('--help')
    for word in ('list', 'check', 'NAICS_CURRICULUM_DIR', 'naics curriculum check 03_stage_hard'):
        assert word in said
    said = said_by('check', '--help')
    for word in ('--edition', '--data-dir', '--relation-index', '--items', '--seed', 'STAGE'):
        assert word in said


def test_bars_are_as_long_as_the_share() -> None:
    assert [bar(share, plain=False) for share in (0, 0.05, 0.4125, 1)] == [
        '',
        '▌',
        '████▏',
        '█' * 10,
    ]
    assert [bar(share, plain=True) for share in (0, 0.04, 0.4, 1)] == ['', '', '####', '#' * 10]


def test_positives_in_words() -> None:
    easy = load_stage('01_stage_easy')
    far = easy.model_copy(update={'positive_distance_min': 4.0, 'positive_distance_max': None})
    assert positives(far) == 'level 6, at least 4.0 apart'
