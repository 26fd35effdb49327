from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from naics_model.curriculum.stage import BUILT_IN, known_stages, load_stage
from naics_model.errors import ConfigurationError

GOOD = {
    'name': 'mine',
    'positive_levels': [5, 6],
    'positive_distance_max': 3.0,
    'difficulty_buckets': [1, 8],
    'bucket_percentages': {1: 0.75, 8: 0.25},
    'k_negatives': 4,
}


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the environment nor a folder of stages decides what these tests do."""
    monkeypatch.delenv('NAICS_CURRICULUM_DIR', raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def save(**changes: object) -> str:
        path = tmp_path / 'mine.yaml'
        path.write_text(yaml.safe_dump(GOOD | changes))
        return str(path)

    return save


def add(folder: Path, file: str, **changes: object) -> Path:
    """Save a stage under a name, which is also the name in it if no other is given."""
    folder.mkdir(exist_ok=True)
    path = folder / f'{file}.yaml'
    path.write_text(yaml.safe_dump(GOOD | {'name': file} | changes))
    return path


@pytest.mark.parametrize(
    ('name', 'levels', 'farthest', 'shares', 'rates'),
    [
        ('01_stage_easy', (6,), 2.0, {1: 0.875, 2: 0.125}, (1.0, 0.67)),
        ('02_stage_medium', (5, 6), 3.0, {1: 0.50, 2: 0.25, 5: 0.15, 6: 0.10}, (0.67, 0.33)),
        (
            '03_stage_hard',
            (2, 3, 4, 5, 6),
            None,
            {1: 0.40, 2: 0.20, 3: 0.10, 4: 0.10, 5: 0.10, 6: 0.05, 8: 0.05},
            (0.33, 0.0),
        ),
    ],
)
def test_the_built_in_stages(
    name: str,
    levels: tuple[int, ...],
    farthest: float | None,
    shares: dict[int, float],
    rates: tuple[float, float],
) -> None:
    stage = load_stage(name)
    assert stage.name == name
    assert stage.positive_levels == levels
    assert stage.positive_distance_max == farthest
    assert stage.bucket_percentages == shares
    assert stage.k_negatives == 16
    # Where one stage ends, the next goes on.
    assert (stage.rate_start, stage.rate_end) == rates


def test_a_stage_of_ones_own_is_found_by_path(write: Callable[..., str]) -> None:
    stage = load_stage(write())
    assert stage.name == 'mine'
    assert stage.max_positives is None
    assert (stage.rate_start, stage.rate_end) == (1.0, 0.0)


@pytest.mark.parametrize('configured', [True, False])
def test_a_stage_of_ones_own_is_found_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configured: bool
) -> None:
    if configured:
        monkeypatch.setenv('NAICS_CURRICULUM_DIR', str(tmp_path / 'stages'))
    own = add(tmp_path / ('stages' if configured else 'curricula'), 'mine')
    assert load_stage('mine').bucket_percentages == {1: 0.75, 8: 0.25}
    known = known_stages()
    assert list(known) == ['01_stage_easy', '02_stage_medium', '03_stage_hard', 'mine']
    assert known['mine'].absolute() == own
    assert load_stage('02_stage_medium').name == '02_stage_medium'


def test_a_file_cannot_take_the_name_of_a_built_in_stage(tmp_path: Path) -> None:
    add(tmp_path / 'curricula', '01_stage_easy')
    add(tmp_path / 'curricula', 'mine')
    for name in ('01_stage_easy', 'mine', 'unknown'):
        with pytest.raises(ConfigurationError) as caught:
            load_stage(name)
        assert str(caught.value) == (
            'curricula/01_stage_easy.yaml takes the name of the built-in stage 01_stage_easy: '
            'rename the file, and the name in it.'
        )


def test_the_name_of_the_file_and_the_name_in_it_are_one(tmp_path: Path) -> None:
    add(tmp_path / 'curricula', 'mine', name='yours')
    with pytest.raises(ConfigurationError, match='has the name yours in it, but is known as mine'):
        load_stage('mine')


def test_no_file_anywhere_takes_the_name_of_a_built_in_stage(tmp_path: Path) -> None:
    sentence = r'mine\.yaml takes the name of the built-in stage 01_stage_easy: give it another'
    for folder, asked in (('elsewhere', 'elsewhere/mine.yaml'), ('curricula', 'mine')):
        add(tmp_path / folder, 'mine', name='01_stage_easy')
        with pytest.raises(ConfigurationError, match=sentence):
            load_stage(asked)


def test_a_built_in_stage_is_found_by_path_too(tmp_path: Path) -> None:
    path = BUILT_IN / '01_stage_easy.yaml'
    assert load_stage(str(path)) == load_stage('01_stage_easy')
    (tmp_path / 'linked').symlink_to(BUILT_IN)
    assert load_stage('linked/01_stage_easy.yaml') == load_stage('01_stage_easy')


def test_only_plain_yaml_files_are_stages(tmp_path: Path) -> None:
    folder = tmp_path / 'curricula'
    add(folder, 'mine')
    (folder / '._mine.yaml').write_bytes(b'\x00\x05')
    (folder / 'notes.txt').write_text('not a stage')
    (folder / 'old').mkdir()
    (folder / 'old.yaml').mkdir()
    (folder / 'gone.yaml').symlink_to('nowhere.yaml')
    (folder / 'short.yml').write_text(yaml.safe_dump(GOOD | {'name': 'short'}))
    assert [name for name in known_stages() if not name.startswith('0')] == ['mine']


def test_an_unknown_stage_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError,
        match=r'ones are 01_stage_easy, 02_stage_medium, 03_stage_hard, and the folder curricula '
        'does not exist; a path that ends in .yaml',
    ):
        load_stage('04_stage')
    (tmp_path / 'curricula').mkdir()
    with pytest.raises(ConfigurationError, match='the folder curricula has none; a path'):
        load_stage('04_stage')
    add(tmp_path / 'curricula', 'mine')
    with pytest.raises(ConfigurationError, match='the folder curricula has mine; a path'):
        load_stage('04_stage')
    with pytest.raises(ConfigurationError, match=r'no stage file nowhere\.yaml: .* has mine\.$'):
        load_stage('nowhere.yaml')


def test_one_ending_of_the_file_alone_is_known(tmp_path: Path) -> None:
    own = tmp_path / 'curricula'
    own.mkdir()
    for path in (Path('mine.yml'), Path('curricula/short.yml')):
        path.write_text(yaml.safe_dump(GOOD | {'name': path.stem}))
    for asked, file in (
        ('mine.yml', 'mine.yml'),
        ('curricula/short.yml', 'curricula/short.yml'),
        ('short', 'curricula/short.yml'),
    ):
        with pytest.raises(ConfigurationError) as caught:
            load_stage(asked)
        renamed = Path(file).with_suffix('.yaml').name
        assert str(caught.value) == (
            f'{file} does not end in .yaml, as the file of a stage must: rename it to {renamed}.'
        )
    with pytest.raises(ConfigurationError, match=r"no stage 'no\.yml': .* that ends in \.yaml"):
        load_stage('no.yml')


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'bucket_percentages': {1: 0.75, 8: 0.2}}, 'sum to 0.95, not 1'),
        ({'difficulty_buckets': [1, 2, 8]}, 'bucket 2 has no share'),
        ({'difficulty_buckets': [1]}, 'a share for 8, which difficulty_buckets does not list'),
        ({'positive_levels': [1, 6]}, 'positive_levels.0 is 1, but input should be greater'),
        ({'positive_levels': [7]}, 'positive_levels.0 is 7, but input should be less'),
        ({'positive_levels': 6}, 'positive_levels is 6, but input should be a valid list'),
        ({'positive_levels': []}, 'positive_levels is empty, but must have at least one value'),
        ({'difficulty_buckets': []}, 'difficulty_buckets is empty, but must have at least one'),
        ({'positive_levels': [5, 5]}, r'wrong: positive_levels has 5 more than once\.'),
        ({'difficulty_buckets': [8, 1, 8, 1]}, r'wrong: difficulty_buckets has 1, 8 more than'),
        ({'positive_distance_max': math.nan}, 'distance_max is nan, but must be a finite number'),
        ({'positive_distance_min': -math.inf}, 'distance_min is -inf, but must be a finite'),
        ({'bucket_percentages': {1: math.nan, 8: 0.25}}, 'percentages.1 is nan, but must be a fin'),
        ({'difficulty_buckets': [1, 9]}, 'difficulty_buckets.1 is 9'),
        ({'negatives': 3}, 'negatives is not a key of a stage, which are name, positive_levels'),
        ({'k_negatives': 0}, 'k_negatives is 0'),
        ({'rate_start': 1.5}, 'rate_start is 1.5, but .* less than or equal to 1'),
        ({'k_negatives': 2.5}, 'k_negatives is 2.5'),
        ({'k_negatives': 65_536}, 'k_negatives is 65536, but .* less than or equal to 65535'),
        ({'max_positives': 10**30}, 'max_positives is 1000.*, but .* equal to 65535'),
        ({'positive_distance_min': 4.0}, 'positive_distance_min 4 is above'),
        ({'positive_distance_min': True}, 'positive_distance_min is True, but .* a valid number'),
        ({'positive_distance_max': '3.0'}, "positive_distance_max is '3.0', but .* valid number"),
        ({'bucket_percentages': {1: True, 8: 0.0}}, 'percentages.1 is True, but .* valid number'),
        ({'bucket_percentages': {1: '0.5', 8: 0.5}}, "percentages.1 is '0.5', but .* number"),
        ({'bucket_percentages': {1: 0.75, 8: 0.249_99}}, 'sum to 0.99999, not 1'),
        *(
            ({'name': name}, 'but must be of letters from a to z, digits, _, . and -, and not')
            for name in ('', '   ', '../../evil', 'a\nb', 'mine\n', '..', '-mine', '.mine', 'größe')
        ),
    ],
)
def test_a_wrong_setting_is_one_clear_sentence(
    write: Callable[..., str], changes: dict[str, object], message: str
) -> None:
    path = write(**changes)
    with pytest.raises(ConfigurationError, match=message) as caught:
        load_stage(path)
    assert path in str(caught.value)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    'changes',
    [
        {'name': '2_my.Stage-b'},
        {'positive_distance_min': 3.0},
        {'positive_distance_max': 3},
        {'bucket_percentages': {1: 1, 8: 0}},
        # Thirds, written to seven digits.
        {
            'difficulty_buckets': [1, 2, 8],
            'bucket_percentages': {1: 0.3333333, 2: 0.3333333, 8: 0.3333333},
        },
        {'k_negatives': 65_535},
    ],
)
def test_what_is_just_right(write: Callable[..., str], changes: dict[str, object]) -> None:
    stage = load_stage(write(**changes)).model_dump()
    assert {key: stage[key] for key in changes} == {
        key: tuple(value) if isinstance(value, list) else value for key, value in changes.items()
    }


@pytest.mark.parametrize(
    ('more', 'key'),
    [
        ('k_negatives: 5', 'k_negatives'),
        ('"name": mine', 'name'),
        ('max_positives: {1: 2, 0x1: 3}', '0x1'),
    ],
)
def test_a_key_that_stands_twice_is_refused(write: Callable[..., str], more: str, key: str) -> None:
    path = Path(write())
    path.write_text(f'{path.read_text()}{more}\n')
    with pytest.raises(ConfigurationError) as caught:
        load_stage(str(path))
    assert str(caught.value) == f'{path} has the key {key} twice: keep one of them.'


def test_a_share_that_stands_twice_is_refused(write: Callable[..., str]) -> None:
    path = Path(write())
    path.write_text(path.read_text().replace('  8: 0.25\n', '  8: 0.05\n  8: 0.25\n'))
    with pytest.raises(ConfigurationError, match='has the key 8 twice'):
        load_stage(str(path))


def test_a_merged_mapping_is_no_repetition(write: Callable[..., str]) -> None:
    path = Path(write())
    plain = path.read_text()
    shares = 'bucket_percentages:\n  <<: {1: 0.5, 8: 0.25}\n  <<: {1: 0.6}\n  1: 0.75\n'
    path.write_text(plain.replace('bucket_percentages:\n  1: 0.75\n  8: 0.25\n', shares))
    assert path.read_text() != plain
    assert load_stage(str(path)).bucket_percentages == {1: 0.75, 8: 0.25}


def test_a_file_that_cannot_be_read_is_told(
    write: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write()

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(Path, 'read_text', refuse)
    with pytest.raises(ConfigurationError) as caught:
        load_stage(path)
    assert str(caught.value) == f'{path} cannot be read: Permission denied.'


def test_a_file_that_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'mine.yaml'
    path.write_text('[' * 100_000)
    with pytest.raises(ConfigurationError, match=r'mine\.yaml is nested too deep'):
        load_stage(str(path))


def test_a_key_that_is_no_text_is_no_key(tmp_path: Path) -> None:
    path = tmp_path / 'mine.yaml'
    path.write_text(yaml.safe_dump(GOOD | {7: 8}))
    with pytest.raises(ConfigurationError, match=r'wrong: 7 is not a key of a stage, which are'):
        load_stage(str(path))


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / 'mine.yaml'
    path.write_text(yaml.safe_dump({k: v for k, v in GOOD.items() if k != 'k_negatives'}))
    with pytest.raises(ConfigurationError, match='k_negatives is missing'):
        load_stage(str(path))


@pytest.mark.parametrize(
    'content',
    [b'just words', b'[1, 2', b'', 'name: é'.encode('latin-1'), b'name: 2022-99-99', b'[a]: 1'],
)
def test_a_file_that_holds_no_stage_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / 'mine.yaml'
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r'mine\.yaml'):
        load_stage(str(path))
