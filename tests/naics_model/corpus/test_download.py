"""Fetching against a real local server: what comes is checked before it replaces a good file."""

from __future__ import annotations

import dataclasses
import io
import json
import socket
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import openpyxl
import pytest
import tenacity
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from naics_model.corpus import download
from naics_model.corpus.download import Provenance, fetch_workbook, read_provenance
from naics_model.corpus.editions import PACKAGED_WORKBOOKS, Edition, edition
from naics_model.errors import ConfigurationError, SourceError
from naics_model.storage.files import sha256_of

FILE = '2022_NAICS_Index_File.xlsx'


def with_part(content: bytes, part: str, text: bytes) -> bytes:
    """The same archive, whole in itself, with other bytes in one of its parts."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(changed, 'w') as new:
        for name in old.namelist():
            new.writestr(name, text if name == part else old.read(name))
    return changed.getvalue()


def encrypted(content: bytes) -> bytes:
    """The same archive with its first part marked as encrypted."""
    at = content.index(b'PK\x01\x02') + 8
    return content[:at] + bytes([content[at] | 1]) + content[at + 1 :]


def workbook_bytes(text: str) -> bytes:
    book = openpyxl.Workbook()
    book.active.append([text])
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


GOOD = workbook_bytes('the first release')
NEWER = workbook_bytes('the errata release')


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, 'RETRY_WAIT', tenacity.wait_none())
    for name in (
        'http_proxy',
        'https_proxy',
        'all_proxy',
        'HTTP_PROXY',
        'HTTPS_PROXY',
        'ALL_PROXY',
    ):
        monkeypatch.delenv(name, raising=False)


def pointing_to(url: str, sha256: str | None = None) -> Edition:
    wanted = edition('2022')
    index = dataclasses.replace(wanted.workbook('index'), url=url, sha256=sha256)
    return dataclasses.replace(wanted, workbooks={**wanted.workbooks, 'index': index})


@pytest.fixture
def server_edition(httpserver: HTTPServer) -> Edition:
    return pointing_to(httpserver.url_for('/index.xlsx'))


@pytest.fixture
def raw_server() -> Iterator[Callable[[bytes], str]]:
    """A server below HTTP: it answers one request after another with the very bytes given."""
    listening = socket.create_server(('127.0.0.1', 0))
    threads: list[threading.Thread] = []

    def serve(answer: bytes) -> str:
        def answer_all() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        threads.append(threading.Thread(target=answer_all, daemon=True))
        threads[-1].start()
        return f'http://127.0.0.1:{listening.getsockname()[1]}/index.xlsx'

    yield serve
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    for thread in threads:
        thread.join()


def test_a_download_writes_the_bytes_and_where_they_came_from(
    httpserver: HTTPServer, server_edition: Edition, tmp_path: Path
) -> None:
    headers = {'ETag': '"one"', 'Last-Modified': 'Fri, 04 Feb 2022 15:00:00 GMT'}
    httpserver.expect_oneshot_request('/index.xlsx').respond_with_data(GOOD, headers=headers)
    lines: list[str] = []
    provenance = fetch_workbook(server_edition, 'index', tmp_path / 'source', progress=lines.append)
    path = tmp_path / 'source' / FILE
    assert path.read_bytes() == GOOD
    assert provenance == Provenance(
        path=path,
        origin=httpserver.url_for('/index.xlsx'),
        etag='"one"',
        last_modified='Fri, 04 Feb 2022 15:00:00 GMT',
        sha256=sha256_of(path),
        bytes=len(GOOD),
        fetched_at=provenance.fetched_at,
        known=None,
    )
    assert read_provenance(path) == provenance
    stored = json.loads((tmp_path / 'source' / f'{FILE}.json').read_text())
    assert stored['sha256'] == provenance.sha256
    assert 'path' not in stored
    assert lines == [f'Fetching {provenance.origin}']


@pytest.mark.parametrize('expected', [True, False])
def test_it_says_whether_the_bytes_are_the_ones_it_was_tested_with(
    httpserver: HTTPServer, tmp_path: Path, expected: bool
) -> None:
    httpserver.expect_request('/index.xlsx').respond_with_data(GOOD)
    (tmp_path / 'good').write_bytes(GOOD)
    digest = sha256_of(tmp_path / 'good') if expected else '0' * 64
    wanted = pointing_to(httpserver.url_for('/index.xlsx'), digest)
    assert fetch_workbook(wanted, 'index', tmp_path).known is expected


@pytest.mark.parametrize(
    ('validator', 'value', 'condition'),
    [
        ('ETag', '"one"', 'If-None-Match'),
        ('Last-Modified', 'Fri, 04 Feb 2022 15:00:00 GMT', 'If-Modified-Since'),
    ],
)
def test_an_unchanged_workbook_is_asked_for_by_its_validator_and_kept(
    httpserver: HTTPServer,
    server_edition: Edition,
    tmp_path: Path,
    validator: str,
    value: str,
    condition: str,
) -> None:
    httpserver.expect_oneshot_request('/index.xlsx').respond_with_data(
        GOOD, headers={validator: value}
    )
    first = fetch_workbook(server_edition, 'index', tmp_path)
    httpserver.expect_oneshot_request('/index.xlsx', headers={condition: value}).respond_with_data(
        status=304
    )
    lines: list[str] = []
    assert fetch_workbook(server_edition, 'index', tmp_path, progress=lines.append) == first
    assert lines[-1] == f'Not changed since {first.fetched_at}'
    assert (tmp_path / FILE).read_bytes() == GOOD


def test_a_changed_workbook_replaces_the_old_one(
    httpserver: HTTPServer, server_edition: Edition, tmp_path: Path
) -> None:
    httpserver.expect_oneshot_request('/index.xlsx').respond_with_data(
        GOOD, headers={'ETag': '"one"'}
    )
    fetch_workbook(server_edition, 'index', tmp_path)
    httpserver.expect_oneshot_request('/index.xlsx').respond_with_data(
        NEWER, headers={'ETag': '"two"'}
    )
    assert fetch_workbook(server_edition, 'index', tmp_path).etag == '"two"'
    assert (tmp_path / FILE).read_bytes() == NEWER


def test_a_file_that_was_changed_by_hand_is_fetched_whole_again(
    httpserver: HTTPServer, server_edition: Edition, tmp_path: Path
) -> None:
    def answer(request: Request) -> Response:
        assert 'If-None-Match' not in request.headers
        return Response(GOOD, headers={'ETag': '"one"'})

    httpserver.expect_request('/index.xlsx').respond_with_handler(answer)
    fetch_workbook(server_edition, 'index', tmp_path)
    (tmp_path / FILE).write_bytes(b'edited')
    assert read_provenance(tmp_path / FILE) is None
    fetch_workbook(server_edition, 'index', tmp_path)
    httpserver.check_assertions()
    assert (tmp_path / FILE).read_bytes() == GOOD


@pytest.mark.parametrize('status', [500, 503, 429])
def test_a_passing_failure_is_tried_again(
    httpserver: HTTPServer, server_edition: Edition, tmp_path: Path, status: int
) -> None:
    for _ in range(2):
        httpserver.expect_ordered_request('/index.xlsx').respond_with_data(status=status)
    httpserver.expect_ordered_request('/index.xlsx').respond_with_data(GOOD)
    lines: list[str] = []
    fetch_workbook(server_edition, 'index', tmp_path, progress=lines.append)
    assert lines[1:] == ['Attempt 1 failed; trying again', 'Attempt 2 failed; trying again']
    assert (tmp_path / FILE).read_bytes() == GOOD


@pytest.mark.parametrize(('status', 'requests'), [(404, 1), (403, 1), (503, download.ATTEMPTS)])
def test_a_lasting_failure_names_url_status_and_way_out(
    httpserver: HTTPServer, server_edition: Edition, tmp_path: Path, status: int, requests: int
) -> None:
    httpserver.expect_request('/index.xlsx').respond_with_data(status=status)
    expected = (
        rf'Could not fetch http://.*/index\.xlsx: HTTP {status}\. Try again later, or set '
        rf'NAICS_SOURCE_DIR to a folder laid out as <edition>/<file> \(here 2022/{FILE}\)\.'
    )
    with pytest.raises(SourceError, match=expected):
        fetch_workbook(server_edition, 'index', tmp_path)
    assert len(httpserver.log) == requests
    assert list(tmp_path.iterdir()) == []


def test_no_network_says_so_and_keeps_the_old_file(tmp_path: Path) -> None:
    with socket.create_server(('127.0.0.1', 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / FILE).write_bytes(GOOD)
    wanted = pointing_to(f'http://127.0.0.1:{port}/index.xlsx')
    with pytest.raises(SourceError, match=rf':{port}/index\.xlsx: .+refused.* NAICS_SOURCE_DIR'):
        fetch_workbook(wanted, 'index', tmp_path)
    assert (tmp_path / FILE).read_bytes() == GOOD


@pytest.mark.parametrize(
    ('body', 'sentence'),
    [
        (b'<!DOCTYPE html><html>Access denied</html>', 'looks like an HTML page'),
        (GOOD[:-200], 'damaged or truncated'),
        (b'', 'the file is empty'),
        (with_part(GOOD, 'xl/workbook.xml', b'<workbook><sheets>'), 'no readable'),
        (encrypted(GOOD), 'encrypted'),
    ],
)
def test_an_answer_that_is_no_workbook_never_replaces_a_good_file(
    httpserver: HTTPServer, server_edition: Edition, tmp_path: Path, body: bytes, sentence: str
) -> None:
    httpserver.expect_oneshot_request('/index.xlsx').respond_with_data(GOOD)
    before = fetch_workbook(server_edition, 'index', tmp_path)
    httpserver.expect_request('/index.xlsx').respond_with_data(body)
    with pytest.raises(SourceError, match=rf'^http://.*/index\.xlsx is .*{sentence}'):
        fetch_workbook(server_edition, 'index', tmp_path)
    assert (tmp_path / FILE).read_bytes() == GOOD
    assert read_provenance(tmp_path / FILE) == before
    assert len(list(tmp_path.iterdir())) == 2


def test_fewer_bytes_than_announced_are_a_failure_of_the_line(
    raw_server: Callable[[bytes], str], tmp_path: Path
) -> None:
    head = f'HTTP/1.1 200 OK\r\nContent-Length: {len(GOOD)}\r\nConnection: close\r\n\r\n'
    wanted = pointing_to(raw_server(head.encode() + GOOD[:1000]))
    lines: list[str] = []
    with pytest.raises(SourceError, match='Could not fetch'):
        fetch_workbook(wanted, 'index', tmp_path, progress=lines.append)
    assert len(lines) == download.ATTEMPTS
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('announced', [True, False])
def test_an_answer_beyond_the_size_limit_is_cut_off(
    httpserver: HTTPServer,
    server_edition: Edition,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    announced: bool,
) -> None:
    monkeypatch.setattr(download, 'SIZE_LIMIT', 1000)
    body = GOOD if announced else (GOOD[i : i + 100] for i in range(0, len(GOOD), 100))
    httpserver.expect_request('/index.xlsx').respond_with_handler(lambda request: Response(body))
    with pytest.raises(SourceError, match=r'is larger than .* check its URL'):
        fetch_workbook(server_edition, 'index', tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_source_folder_is_read_in_place_of_the_network(tmp_path: Path) -> None:
    source = tmp_path / 'mine' / '2022' / FILE
    source.parent.mkdir(parents=True)
    source.write_bytes(GOOD)
    source.chmod(0o444)
    wanted = pointing_to('http://127.0.0.1:9/unreachable.xlsx')
    provenance = fetch_workbook(wanted, 'index', tmp_path / 'out', source_dir=tmp_path / 'mine')
    assert provenance.origin == str(source)
    assert provenance.etag is None
    assert provenance.path.read_bytes() == GOOD
    # A second run replaces it, though the source cannot be written to.
    fetch_workbook(wanted, 'index', tmp_path / 'out', source_dir=tmp_path / 'mine')


def test_a_source_folder_without_the_file_says_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=rf'2022/{FILE} does not exist: put the index workbook'):
        fetch_workbook(edition('2022'), 'index', tmp_path / 'out', source_dir=tmp_path)


def test_a_web_page_saved_as_xlsx_in_the_source_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / '2022').mkdir()
    (tmp_path / '2022' / FILE).write_text('<html><body>Not found</body></html>')
    with pytest.raises(SourceError, match='looks like an HTML page'):
        fetch_workbook(edition('2022'), 'index', tmp_path / 'out', source_dir=tmp_path)
    assert list((tmp_path / 'out').iterdir()) == []


def test_the_bundled_edition_needs_neither_network_nor_source_folder(tmp_path: Path) -> None:
    sample = edition('sample')
    for name, book in sample.workbooks.items():
        provenance = fetch_workbook(sample, name, tmp_path, source_dir=tmp_path / 'nowhere')
        assert provenance.origin == 'packaged'
        assert sha256_of(provenance.path) == sha256_of(PACKAGED_WORKBOOKS / book.file)


def test_an_unknown_workbook_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no workbook 'prices'"):
        fetch_workbook(edition('2022'), 'prices', tmp_path)


def test_the_workbooks_at_hand_are_the_ones_this_release_was_tested_with(
    source_dir: Path, tmp_path: Path
) -> None:
    for name in ('codes', 'descriptions', 'index', 'cross_references'):
        assert fetch_workbook(edition('2022'), name, tmp_path, source_dir=source_dir).known
    known = {
        name: fetch_workbook(edition('2017'), name, tmp_path, source_dir=source_dir).known
        for name in ('codes', 'descriptions', 'index', 'cross_references')
    }
    assert known == {'codes': None, 'descriptions': True, 'index': True, 'cross_references': None}
