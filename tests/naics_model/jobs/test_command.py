"""Profiles by name, and mistakes told in one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from jsonargparse import ArgumentParser

from naics_model.errors import ConfigurationError, DataError
from naics_model.jobs.command import (
    parse,
    profile_name,
    profile_path,
    require_file,
    resolve_profiles,
    run_command,
)


@dataclass(frozen=True)
class Model:
    rank: int = 8
    rate: float = 0.1


@pytest.fixture
def profiles(tmp_path: Path) -> Path:
    (tmp_path / 'quick.yaml').write_text('model:\n  rank: 2\n  rate: 0.5\n')
    (tmp_path / 'slow.yaml').write_text('model:\n  rank: 64\n')
    (tmp_path / 'overlays').mkdir()
    (tmp_path / 'overlays' / 'careful.yaml').write_text('model:\n  rate: 0.01\n')
    return tmp_path


@pytest.fixture
def parser() -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument('--config', action='config')
    parser.add_class_arguments(Model, 'model')
    return parser


def test_a_profile_is_found_by_name_and_a_file_by_path(profiles: Path) -> None:
    assert profile_path('quick', profiles) == profiles / 'quick.yaml'
    assert profile_path(str(profiles / 'slow.yaml'), Path('nowhere')) == profiles / 'slow.yaml'


def test_an_unknown_profile_is_answered_with_the_known_ones(profiles: Path) -> None:
    with pytest.raises(ConfigurationError, match=r'--config qiuck .* the profiles are quick, slow'):
        profile_path('qiuck', profiles)


@pytest.mark.parametrize('form', [['--config', 'quick'], ['--config=quick'], ['-c', 'quick']])
def test_profiles_come_first_whatever_their_form(profiles: Path, form: list[str]) -> None:
    arguments = resolve_profiles(['--model.rank', '5', *form], profiles)
    assert arguments == ['--config', str(profiles / 'quick.yaml'), '--model.rank', '5']


def test_an_option_beats_the_profile_on_either_side_of_it(
    profiles: Path, parser: ArgumentParser
) -> None:
    for arguments in (
        ['--model.rank', '5', '--config', 'quick'],
        ['--config', 'quick', '--model.rank', '5'],
    ):
        config = parse(parser, arguments, profiles)
        assert (config.model.rank, config.model.rate) == (5, 0.5)


def test_of_two_profiles_the_later_wins(profiles: Path, parser: ArgumentParser) -> None:
    config = parse(parser, ['--config', 'quick', '--config', 'slow'], profiles)
    assert (config.model.rank, config.model.rate) == (64, 0.5)


@pytest.mark.parametrize('names', [('quick', 'careful'), ('careful', 'quick')])
def test_an_overlay_beats_the_profile_wherever_it_stands(
    profiles: Path, parser: ArgumentParser, names: tuple[str, str]
) -> None:
    arguments = [part for name in names for part in ('--config', name)]
    config = parse(parser, arguments, profiles)
    assert (config.model.rank, config.model.rate) == (2, 0.01)
    assert profile_name(config) == 'quick'
    config = parse(parser, [*arguments, '--model.rate', '0.2'], profiles)
    assert config.model.rate == 0.2


def test_an_overlay_is_no_profile(profiles: Path, parser: ArgumentParser) -> None:
    with pytest.raises(ConfigurationError, match=r'careful is neither .* are quick, slow\.$'):
        profile_path('careful', profiles)
    assert profile_name(parse(parser, ['--config', 'careful'], profiles)) is None
    assert profile_name(parse(parser, [], profiles)) is None


@pytest.mark.parametrize(
    ('arguments', 'named'),
    [
        (['--model.rank', 'many'], 'model.rank'),
        (['--model.rnak', '3'], 'model.rnak'),
        (['--config', 'quick', 'stray'], 'stray'),
    ],
)
def test_a_wrong_option_is_one_sentence_that_names_it(
    profiles: Path, parser: ArgumentParser, arguments: list[str], named: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(parser, arguments, profiles)
    assert named in str(caught.value)
    assert '\n' not in str(caught.value)


def test_a_wrong_key_in_a_file_is_named(profiles: Path, parser: ArgumentParser) -> None:
    (profiles / 'typo.yaml').write_text('model:\n  rnak: 3\n')
    with pytest.raises(ConfigurationError, match='rnak'):
        parse(parser, ['--config', 'typo'], profiles)


def test_a_missing_file_is_named_with_its_setting(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'--embeddings .*gone\.parquet does not exist'):
        require_file(tmp_path / 'gone.parquet', '--embeddings')


def test_a_person_s_mistake_is_exit_code_1_and_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def command(arguments: object) -> None:
        raise ConfigurationError('The temperature is cold.')

    assert run_command(command, []) == 1
    assert capsys.readouterr().err == 'Error: The temperature is cold.\n'
    assert run_command(lambda arguments: None, []) == 0


def test_a_programming_error_keeps_its_traceback() -> None:
    def command(arguments: object) -> None:
        raise KeyError('x')

    with pytest.raises(KeyError):
        run_command(command, [])
