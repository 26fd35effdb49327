"""What several test rooms share: the folder of real workbooks, a web server in place of the Census
Bureau's, and a disk that can be full.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from naics_model.corpus.editions import PACKAGED_WORKBOOKS, Edition, edition
from naics_model.corpus.provenance import Provenance, write_provenance

# Before torch is loaded: the tensors of tests are so small that a second thread only costs.
os.environ.setdefault('OMP_NUM_THREADS', '1')


@pytest.fixture(scope='session')
def source_dir() -> Path:
    """The folder of real Census workbooks, laid out as `<edition>/<file>`."""
    folder = os.environ.get('NAICS_SOURCE_DIR')
    if not folder:
        pytest.skip(
            'needs the real Census workbooks: '
            'set NAICS_SOURCE_DIR to a folder laid out as <edition>/<file>'
        )
    path = Path(folder).absolute()
    if not (path / '2022').is_dir():
        pytest.skip(
            f'needs the real Census workbooks: NAICS_SOURCE_DIR={folder} has no folder 2022'
        )
    return path


class SmallDisk:
    """A folder on a disk that is full while it is asked to be.

    Attributes:
        path: the folder.
        word: how the system tells that it is full.
    """

    def __init__(self, path: Path, word: str) -> None:
        self.path = path
        self.word = word

    def fill(self) -> None:
        raise NotImplementedError

    def free(self) -> None:
        raise NotImplementedError

    @contextmanager
    def full(self) -> Iterator[None]:
        self.fill()
        try:
            yield
        finally:
            self.free()


class Tmpfs(SmallDisk):
    """A disk of a few megabytes, in memory."""

    def fill(self) -> None:
        with (self.path / 'filler').open('wb', buffering=0) as file:
            for size in (2**20, 2**12):
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError:
                    pass

    def free(self) -> None:
        (self.path / 'filler').unlink(missing_ok=True)


class Limited(SmallDisk):
    """As on a full disk, no file of this process can grow past 2,000 bytes. For whoever may not
    mount.
    """

    def __init__(self, path: Path, word: str) -> None:
        super().__init__(path, word)
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, self._limits[1]))

    def free(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)


@pytest.fixture(params=['tmpfs', 'limited'])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk that can be filled, and freed; as a real one where this user may mount it."""
    path = tmp_path / 'disk'
    path.mkdir()
    if request.param == 'limited':
        disk: SmallDisk = Limited(path, 'File too large')
        yield disk
        disk.free()
        return
    options = ['mount', '-t', 'tmpfs', '-o', 'size=48m', 'tmpfs', str(path)]
    if os.getuid() or subprocess.run(options, capture_output=True).returncode:
        pytest.skip('needs the right to mount a tmpfs; the same runs with a limit of file sizes')
    yield Tmpfs(path, 'No space left on device')
    subprocess.run(['umount', '--lazy', str(path)], check=True)


class CensusSite:
    """A web server with the workbooks of the bundled edition, under the names of others.

    Attributes:
        files: path -> bytes, with their ETag.
        broken: path -> the status that it answers with instead.
        asked: method and path of each request so far.
    """

    def __init__(self, server: HTTPServer) -> None:
        self.server = server
        self.files: dict[str, tuple[bytes, str | None]] = {}
        self.broken: dict[str, int] = {}
        self.asked: list[str] = []
        server.expect_request(re.compile('.*')).respond_with_handler(self._answer)

    def edition(self, name: str) -> Edition:
        """Publish an edition, and return it."""
        sample = edition('sample')
        books = {}
        for kind, book in sample.workbooks.items():
            path = f'/{name}/{kind}.xlsx'
            self.publish(path, (PACKAGED_WORKBOOKS / book.file).read_bytes())
            books[kind] = dataclasses.replace(book, url=self.server.url_for(path))
        return dataclasses.replace(sample, name=name, packaged=False, workbooks=books)

    def publish(self, path: str, content: bytes, etag: str | None = '"first"') -> None:
        self.files[path] = (content, etag)

    def fetched(self, edition: Edition, folder: Path) -> Path:
        """Fill a source folder as `fetch_workbook` does, without opening what is fetched."""
        folder.mkdir(parents=True)
        for kind, book in edition.workbooks.items():
            content, etag = self.files[f'/{edition.name}/{kind}.xlsx']
            path = folder / book.file
            path.write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            when = '2026-11-26T12:00:00+00:00'
            write_provenance(
                Provenance(path, book.url or '', etag, None, digest, len(content), when, None)
            )
        return folder

    def _answer(self, request: Request) -> Response:
        self.asked.append(f'{request.method} {request.path}')
        if request.path in self.broken:
            return Response('out of order', status=self.broken[request.path])
        if request.path not in self.files:
            return Response('not here', status=404)
        content, etag = self.files[request.path]
        return Response(content, headers={'ETag': etag} if etag else {})


@pytest.fixture
def census(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> CensusSite:
    """The site, which no proxy stands before."""
    monkeypatch.setenv('no_proxy', '*')
    return CensusSite(httpserver)
