from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from naics_model.curriculum.stage import known_stages, load_stage
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
    ('name', 'levels', 'farthest', 'shares'),
    [
        ('01_stage_easy', (6,), 2.0, {1: 0.875, 2: 0.125}),
        ('02_stage_medium', (5, 6), 3.0, {1: 0.50, 2: 0.25, 5: 0.15, 6: 0.10}),
        (
            '03_stage_hard',
            (2, 3, 4, 5, 6),
            None,
            {1: 0.40, 2: 0.20, 3: 0.10, 4: 0.10, 5: 0.10, 6: 0.05, 8: 0.05},
        ),
    ],
)
def test_the_built_in_stages(
    name: str, levels: tuple[int, ...], farthest: float | None, shares: dict[int, float]
) -> None:
    stage = load_stage(name)
    assert stage.name == name
    assert stage.positive_levels == levels
    assert stage.positive_distance_max == farthest
    assert stage.bucket_percentages == shares
    assert stage.k_negatives == 16


def test_a_stage_of_ones_own_is_found_by_path(write: Callable[..., str]) -> None:
    stage = load_stage(write())
    assert stage.name == 'mine'
    assert stage.max_positives is None


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
    add(tmp_path / 'curricula', 'mine', name='01_stage_easy')
    with pytest.raises(ConfigurationError, match='has the name 01_stage_easy in it, but is known'):
        load_stage('mine')


def test_only_plain_yaml_files_are_stages(tmp_path: Path) -> None:
    folder = tmp_path / 'curricula'
    add(folder, 'mine')
    (folder / '._mine.yaml').write_bytes(b'\x00\x05')
    (folder / 'notes.txt').write_text('not a stage')
    (folder / 'old').mkdir()
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


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'bucket_percentages': {1: 0.75, 8: 0.2}}, 'sum to 0.95, not 1'),
        ({'difficulty_buckets': [1, 2, 8]}, 'bucket 2 has no share'),
        ({'difficulty_buckets': [1]}, 'a share for 8, which difficulty_buckets does not list'),
        ({'positive_levels': [1, 6]}, 'positive_levels.0 is 1, but input should be greater'),
        ({'positive_levels': [7]}, 'positive_levels.0 is 7, but input should be less'),
        ({'positive_levels': 6}, 'positive_levels is 6, but input should be a valid list'),
        ({'positive_levels': []}, 'positive_levels is .*list should have at least 1 item'),
        ({'difficulty_buckets': [1, 9]}, 'difficulty_buckets.1 is 9'),
        ({'negatives': 3}, 'negatives is not a key of a stage, which are name, positive_levels'),
        ({'k_negatives': 0}, 'k_negatives is 0'),
        ({'k_negatives': 2.5}, 'k_negatives is 2.5'),
        ({'positive_distance_min': 4.0}, 'positive_distance_min 4 is above'),
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


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / 'mine.yaml'
    path.write_text(yaml.safe_dump({k: v for k, v in GOOD.items() if k != 'k_negatives'}))
    with pytest.raises(ConfigurationError, match='k_negatives is missing'):
        load_stage(str(path))


@pytest.mark.parametrize('content', [b'just words', b'[1, 2', b'', 'name: é'.encode('latin-1')])
def test_a_file_that_holds_no_stage_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / 'mine.yaml'
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r'mine\.yaml'):
        load_stage(str(path))
