"""Writing so that good data is never lost, reading no half-written file, and naming content."""

from __future__ import annotations

import glob
import hashlib
import io
import json
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from naics_model.errors import DataError, StorageError

_ABANDONED_SECONDS = 24 * 3600
_PARTIAL = re.compile(r'\..*\.[0-9a-f]{8}\.partial(\..*)?')


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tell in a sentence when the block cannot write.

    Args:
        path: the file that it writes, for the message.

    Raises:
        StorageError: the disk is full, the folder may not be written to, or is none.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error).partition('\n')[0]
        raise StorageError(
            f'{path} could not be written ({reason}): free space or permissions there, or choose '
            'another data folder (NAICS_DATA_DIR).'
        ) from error


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it over `path` if the block raises nothing.

    A reader sees the old file or the whole new one, never a part; a killed process leaves the old
    file as it was.

    Args:
        path: the file to be written. Its folder is made where missing.

    Raises:
        StorageError: it could not be written; `path` is as it was.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        yield from _replacing(path)


def is_partial(name: str) -> bool:
    """Return whether a file is one that `atomic_write` writes to, by its name."""
    return _PARTIAL.fullmatch(name) is not None


def _replacing(path: Path) -> Iterator[Path]:
    # What a killed process left behind; a younger one may still be at work.
    for left in path.parent.glob(f'.{glob.escape(path.stem)}.*.partial{path.suffix}'):
        if time.time() - left.stat().st_mtime > _ABANDONED_SECONDS:
            left.unlink(missing_ok=True)
    # The suffix stays last: writers such as DuckDB and matplotlib choose the format by it.
    temporary = path.with_name(f'.{path.stem}.{secrets.token_hex(4)}.partial{path.suffix}')
    try:
        yield temporary
        # fsync before the rename: otherwise a power cut can leave an empty file under the good
        # name.
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def digests(paths: Iterable[Path]) -> dict[str, str]:
    """Return the sha256 of files by their names without the ending."""
    return {path.stem: sha256_of(path) for path in paths}


def read_steady(path: Path) -> bytes:
    """Return the bytes of a file that another program may be writing at the same time.

    Raises:
        DataError: the file was written to, replaced or removed while it was read.
    """
    with path.open('rb') as file:
        before = os.fstat(file.fileno())
        content = file.read()
    try:
        # Of the path, not of the open file: one that was replaced stays as it was while open.
        changed = _state(path.stat()) != _state(before)
    except FileNotFoundError:
        changed = True
    if changed:
        raise DataError(
            f'{path} changed while it was read: wait until the program that writes it is done, or '
            'close it there, then run again.'
        )
    return content


def _state(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def sha256_of(path: Path) -> str:
    """Return the sha256 hex digest of a file's bytes."""
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def write_bytes(data: bytes | memoryview, path: Path) -> None:
    """Write bytes atomically, readable by those whom the umask allows.

    For formats whose own writers make files that only their owner can read, as safetensors' do.
    """
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def write_parquet(frame: pl.DataFrame, path: Path) -> None:
    """Write a frame atomically as zstd Parquet; equal frames give equal bytes."""
    # Through memory, because polars' own word for a full disk may be "transport error".
    content = io.BytesIO()
    frame.write_parquet(content, compression='zstd')
    write_bytes(content.getbuffer(), path)


def read_parquet(path: Path) -> pl.DataFrame:
    """Read a Parquet file of an edition.

    Raises:
        DataError: the file is missing (the step before it has not run), or damaged.
    """
    if not path.is_file():
        raise DataError(f'{path} does not exist: run the step that writes it first.')
    try:
        return pl.read_parquet(path, glob=False)
    except pl.exceptions.PolarsError as error:
        reason = str(error).partition('\n')[0]
        raise DataError(
            f'{path} is damaged ({reason}): run the step that writes it again.'
        ) from None


def scan_parquet(path: Path) -> pl.LazyFrame:
    """Scan a Parquet file by its name, in which [brackets], * and ? are no pattern."""
    return pl.scan_parquet(path, glob=False)


def write_json(value: Any, path: Path) -> None:
    """Write a JSON file atomically, keys in their given order, two-space indent."""
    with atomic_write(path) as temporary:
        temporary.write_text(
            json.dumps(value, indent=2, ensure_ascii=False) + '\n', encoding='utf-8'
        )


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        raise DataError(f'{path} does not exist: run the step that writes it first.') from None
    except ValueError as error:
        raise DataError(
            f'{path} is not JSON ({error}): delete it and run its step again.'
        ) from None
