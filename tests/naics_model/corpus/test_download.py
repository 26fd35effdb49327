"""Fetching against a real local server: what comes is checked before it replaces a good file."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import socket
import zipfile
from pathlib import Path

import httpx
import openpyxl
import pytest
import tenacity
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from naics_model.corpus import download, transfer, web
from naics_model.corpus.download import fetch_workbook, source_path
from naics_model.corpus.editions import PACKAGED_WORKBOOKS, Edition, edition
from naics_model.corpus.provenance import Provenance, read_provenance
from naics_model.corpus.workbooks import read_table
from naics_model.errors import ConfigurationError, SourceError
from naics_model.storage.files import sha256_of

INDEX = edition('2022').workbook('index')
FILE = '2022_NAICS_Index_File.xlsx'
CONCORDANCE = '2017_to_2022_NAICS'


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


def workbook_bytes(
    text: str, sheet: str = INDEX.sheet, header: tuple[str, ...] = tuple(INDEX.columns.values())
) -> bytes:
    book = openpyxl.Workbook()
    book.active.title = sheet
    book.active.append(header)
    book.active.append((111110, text))
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


GOOD = workbook_bytes('the first release')
NEWER = workbook_bytes('the errata release')


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, 'RETRY_WAIT', tenacity.wait_none())
    monkeypatch.setenv('no_proxy', '*')


def pointing_to(url: str, sha256: str | None = None) -> Edition:
    wanted = edition('2022')
    index = dataclasses.replace(wanted.workbook('index'), url=url, sha256=sha256)
    return dataclasses.replace(wanted, workbooks={**wanted.workbooks, 'index': index})


@pytest.fixture
def server_edition(httpserver: HTTPServer) -> Edition:
    return pointing_to(httpserver.url_for('/index.xlsx'))


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
    assert read_provenance(path, server_edition.workbook('index')) == provenance
    stored = json.loads((tmp_path / 'source' / f'{FILE}.json').read_text())
    assert stored['sha256'] == provenance.sha256
    assert stored.keys() == vars(provenance).keys() - {'path', 'known'}
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


@pytest.mark.parametrize('tested', ['these', 'other', None])
def test_whether_an_unchanged_workbook_is_known_is_asked_of_this_release(
    httpserver: HTTPServer, tmp_path: Path, tested: str | None
) -> None:
    url = httpserver.url_for('/index.xlsx')
    httpserver.expect_oneshot_request('/index.xlsx').respond_with_data(
        GOOD, headers={'ETag': '"one"'}
    )
    # As fetched by the release before, which was tested with other bytes, or the same.
    before = fetch_workbook(pointing_to(url, None if tested else '0' * 64), 'index', tmp_path)
    digest = {'these': before.sha256, 'other': '1' * 64, None: None}[tested]
    httpserver.expect_oneshot_request('/index.xlsx').respond_with_data(status=304)
    again = fetch_workbook(pointing_to(url, digest), 'index', tmp_path)
    assert again.fetched_at == before.fetched_at
    assert again.known is {'these': True, 'other': False, None: None}[tested]


def test_a_version_that_no_header_can_name_does_not_stop_the_next_run(
    httpserver: HTTPServer, server_edition: Edition, tmp_path: Path
) -> None:
    def answer(request: Request) -> Response:
        assert 'If-None-Match' not in request.headers
        return Response(GOOD, headers={'ETag': '"één"'})

    httpserver.expect_request('/index.xlsx').respond_with_handler(answer)
    assert fetch_workbook(server_edition, 'index', tmp_path).etag is None
    # Nor one that an earlier release wrote down.
    note = tmp_path / f'{FILE}.json'
    note.write_text(note.read_text().replace('"etag": null', '"etag": "één"'), encoding='utf-8')
    assert read_provenance(tmp_path / FILE, INDEX).etag == 'één'
    fetch_workbook(server_edition, 'index', tmp_path)
    httpserver.check_assertions()


def test_a_note_that_is_not_ours_is_replaced(
    httpserver: HTTPServer, server_edition: Edition, tmp_path: Path
) -> None:
    httpserver.expect_request('/index.xlsx').respond_with_data(GOOD)
    (tmp_path / FILE).write_bytes(GOOD)
    (tmp_path / f'{FILE}.json').write_text('{}')
    fetched = fetch_workbook(server_edition, 'index', tmp_path)
    assert read_provenance(fetched.path, server_edition.workbook('index')) == fetched


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
    assert read_provenance(tmp_path / FILE, server_edition.workbook('index')) is None
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


@pytest.mark.parametrize(
    ('target', 'requests', 'reason'),
    [
        ('file:///etc/passwd', 1, "unsupported protocol 'file://'"),
        ('ftp://127.0.0.1/index.xlsx', 1, "unsupported protocol 'ftp://'"),
        ('ws://127.0.0.1/index.xlsx', 1, "unsupported protocol 'ws://'"),
        ('http://xn--/', 1, 'sent on to no address'),
        ('/index.xlsx', 21, 'maximum allowed redirects'),
    ],
)
def test_a_server_that_sends_us_nowhere_is_given_up(
    httpserver: HTTPServer,
    server_edition: Edition,
    tmp_path: Path,
    target: str,
    requests: int,
    reason: str,
) -> None:
    httpserver.expect_request('/index.xlsx').respond_with_data(
        status=302, headers={'Location': target}
    )
    with pytest.raises(SourceError, match=rf'(?i)^Could not fetch .*{reason}.* try again later'):
        fetch_workbook(server_edition, 'index', tmp_path)
    assert len(httpserver.log) == requests
    assert list(tmp_path.iterdir()) == []


def test_an_address_is_shown_and_stored_without_its_password(
    httpserver: HTTPServer, tmp_path: Path
) -> None:
    shown = httpserver.url_for('/index.xlsx')
    wanted = pointing_to(shown.replace('://', '://me:s3cret@'))
    httpserver.expect_oneshot_request('/index.xlsx').respond_with_data(
        GOOD, headers={'ETag': '"one"'}
    )
    lines: list[str] = []
    fetched = fetch_workbook(wanted, 'index', tmp_path, progress=lines.append)
    assert httpserver.log[0][0].authorization.password == 's3cret'
    assert fetched.origin == shown
    # And is the same address the next time.
    httpserver.expect_oneshot_request(
        '/index.xlsx', headers={'If-None-Match': '"one"'}
    ).respond_with_data(status=304)
    assert fetch_workbook(wanted, 'index', tmp_path, progress=lines.append) == fetched
    httpserver.expect_request('/index.xlsx').respond_with_data(status=404)
    with pytest.raises(SourceError, match=f'^Could not fetch {shown} ') as caught:
        fetch_workbook(wanted, 'index', tmp_path, progress=lines.append)
    written = [path.read_text('utf-8', 'replace') for path in tmp_path.iterdir()]
    assert not [text for text in [str(caught.value), *lines, *written] if 's3cret' in text]


LATER = 'try again later'
OUT_OF_DATE = 'its address in naics_model/corpus/editions.toml is out of date; correct it there'


@pytest.mark.parametrize(
    ('status', 'requests', 'remedy'),
    [
        (404, 1, OUT_OF_DATE),
        (410, 1, OUT_OF_DATE),
        (403, 1, LATER),
        (503, download.ATTEMPTS, LATER),
    ],
)
def test_a_lasting_failure_names_url_status_and_way_out(
    httpserver: HTTPServer,
    server_edition: Edition,
    tmp_path: Path,
    status: int,
    requests: int,
    remedy: str,
) -> None:
    httpserver.expect_request('/index.xlsx').respond_with_data(status=status)
    with pytest.raises(SourceError) as caught:
        fetch_workbook(server_edition, 'index', tmp_path)
    assert str(caught.value) == (
        f'Could not fetch {server_edition.workbook("index").url} (HTTP {status}): {remedy}, or set '
        f'NAICS_SOURCE_DIR to a folder laid out as <edition>/<file> (here 2022/{FILE}).'
    )
    assert len(httpserver.log) == requests
    assert list(tmp_path.iterdir()) == []


def test_no_network_says_so_and_keeps_the_old_file(tmp_path: Path) -> None:
    with socket.create_server(('127.0.0.1', 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / FILE).write_bytes(GOOD)
    wanted = pointing_to(f'http://127.0.0.1:{port}/index.xlsx')
    with pytest.raises(SourceError, match=rf':{port}/index\.xlsx \(.+refused.*NAICS_SOURCE_DIR'):
        fetch_workbook(wanted, 'index', tmp_path)
    assert (tmp_path / FILE).read_bytes() == GOOD


def test_a_server_that_accepts_and_says_nothing_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = functools.partial(web.web_client, httpx.Timeout(0.1))
    monkeypatch.setattr(transfer, 'web_client', impatient)
    (tmp_path / FILE).write_bytes(GOOD)
    lines: list[str] = []
    # The system takes the connections; nobody ever answers them.
    with socket.create_server(('127.0.0.1', 0)) as silent:
        wanted = pointing_to(f'http://127.0.0.1:{silent.getsockname()[1]}/index.xlsx')
        with pytest.raises(SourceError, match=r'\(timed out\): try again later, or set NAICS_'):
            fetch_workbook(wanted, 'index', tmp_path, progress=lines.append)
    assert len(lines) == download.ATTEMPTS
    assert (tmp_path / FILE).read_bytes() == GOOD


@pytest.mark.parametrize(
    ('body', 'sentence'),
    [
        (
            b'<!DOCTYPE html><html>Access denied</html>',
            r' is not an \.xlsx workbook: it looks like a web page, perhaps an error page '
            r'of the server or of a proxy; get the published workbook with a browser and put it '
            r'into NAICS_SOURCE_DIR',
        ),
        (
            b'\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1' + bytes(600),
            r' is not an \.xlsx workbook: it looks like an old \.xls; save it as \.xlsx',
        ),
        (GOOD[:-200], r' is a damaged or truncated \.xlsx workbook \(.*\): fetch it again'),
        (b'', r' is not an \.xlsx workbook: the file is empty'),
        (with_part(GOOD, 'xl/workbook.xml', b'<workbook><sheets>'), ' is a damaged .*again'),
        (with_part(GOOD, 'xl/styles.xml', b'<a/>'), ' is no readable .* fetch it again'),
        (
            with_part(
                GOOD,
                'xl/worksheets/sheet1.xml',
                b'<worksheet><sheetData><row><c r="!"/></row></sheetData></worksheet>',
            ),
            ", sheet '2022NAICS', cannot be read .* fetch it again",
        ),
        (encrypted(GOOD), ' is an .* encrypted .*: save it again as .xlsx, without a password'),
        (
            workbook_bytes('renamed', sheet='Sheet1'),
            " has no sheet '2022NAICS': its sheets are 'Sheet1'; if the Census Bureau renamed it, "
            r'change naics_model/corpus/editions\.toml',
        ),
        (
            workbook_bytes('renamed', header=('NAICS27', 'Item')),
            ", sheet '2022NAICS', has no column 'NAICS22', 'INDEX ITEM DESCRIPTION' in row 1: it "
            "has 'NAICS27', 'Item'; if the Census Bureau renamed it, change "
            r'naics_model/corpus/editions\.toml',
        ),
    ],
)
@pytest.mark.parametrize('from_folder', [False, True])
def test_what_is_not_the_workbook_never_replaces_a_good_file(
    httpserver: HTTPServer,
    server_edition: Edition,
    tmp_path: Path,
    body: bytes,
    sentence: str,
    from_folder: bool,
) -> None:
    httpserver.expect_oneshot_request('/index.xlsx').respond_with_data(GOOD)
    before = fetch_workbook(server_edition, 'index', tmp_path / 'out')
    httpserver.expect_request('/index.xlsx').respond_with_data(body)
    source = tmp_path / '2022' / FILE
    source.parent.mkdir()
    source.write_bytes(body)
    origin = str(source) if from_folder else httpserver.url_for('/index.xlsx')
    with pytest.raises(SourceError, match=rf'^{origin}{sentence}.*\.$') as caught:
        fetch_workbook(
            server_edition, 'index', tmp_path / 'out', source_dir=tmp_path if from_folder else None
        )
    assert '\n' not in str(caught.value)
    assert before.path.read_bytes() == GOOD
    assert read_provenance(before.path, server_edition.workbook('index')) == before
    assert len(list((tmp_path / 'out').iterdir())) == 2


def expect_break(server: HTTPServer, content: bytes, etag: str) -> None:
    """Answer the next request with the first half; then the line is cut."""
    headers = {'Content-Length': str(len(content)), 'ETag': etag}
    half = Response(iter([content[: len(content) // 2]]), headers=headers)
    server.expect_oneshot_request('/index.xlsx').respond_with_response(half)


def expect_request(server: HTTPServer, content: bytes, etag: str) -> None:
    """Answer the next request with the whole, or with the range that it asks for."""
    server.expect_oneshot_request('/index.xlsx').respond_with_handler(
        lambda request: Response(content, headers={'ETag': etag}).make_conditional(
            request, accept_ranges=True, complete_length=len(content)
        )
    )


def test_a_broken_download_goes_on_at_the_next_attempt(
    httpserver: HTTPServer, server_edition: Edition, tmp_path: Path
) -> None:
    expect_break(httpserver, GOOD, '"one"')
    expect_request(httpserver, GOOD, '"one"')
    lines: list[str] = []
    provenance = fetch_workbook(server_edition, 'index', tmp_path, progress=lines.append)
    half = len(GOOD) // 2
    assert lines[1:] == [
        'Attempt 1 failed; trying again',
        f'Going on from {half:,} of {len(GOOD):,} bytes',
    ]
    assert provenance.path.read_bytes() == GOOD
    assert provenance.etag == '"one"'
    assert httpserver.log[1][1].headers['Content-Length'] == str(len(GOOD) - half)
    assert {path.name for path in tmp_path.iterdir()} == {FILE, f'{FILE}.json'}


@pytest.mark.parametrize('end_fits', [True, False])
def test_a_download_that_was_given_up_is_gone_on_with_later_and_checked_as_a_whole(
    httpserver: HTTPServer,
    server_edition: Edition,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    end_fits: bool,
) -> None:
    expect_request(httpserver, GOOD, '"one"')
    before = fetch_workbook(server_edition, 'index', tmp_path)
    monkeypatch.setattr(download, 'ATTEMPTS', 1)
    expect_break(httpserver, NEWER, '"two"')
    with pytest.raises(SourceError, match=r'^Could not fetch .* \(peer closed connection'):
        fetch_workbook(server_edition, 'index', tmp_path)
    assert (tmp_path / f'.{FILE}.part').is_file()
    assert read_provenance(before.path, server_edition.workbook('index')) == before

    # A server that changed the file under the same ETag gives an end that does not fit.
    expect_request(httpserver, NEWER if end_fits else bytes(len(NEWER)), '"two"')
    if end_fits:
        assert fetch_workbook(server_edition, 'index', tmp_path).etag == '"two"'
    else:
        with pytest.raises(SourceError, match=r'index\.xlsx is a damaged'):
            fetch_workbook(server_edition, 'index', tmp_path)
    assert before.path.read_bytes() == (NEWER if end_fits else GOOD)
    assert httpserver.log[-1][0].headers['Range'] == f'bytes={len(NEWER) // 2}-'
    assert {path.name for path in tmp_path.iterdir()} == {FILE, f'{FILE}.json'}


def test_what_was_kept_of_a_download_goes_when_the_file_comes_from_a_folder(
    httpserver: HTTPServer,
    server_edition: Edition,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(download, 'ATTEMPTS', 1)
    expect_break(httpserver, GOOD, '"one"')
    with pytest.raises(SourceError, match='Could not fetch'):
        fetch_workbook(server_edition, 'index', tmp_path / 'out')
    assert [path.name for path in (tmp_path / 'out').iterdir()] == [f'.{FILE}.part']
    (tmp_path / '2022').mkdir()
    (tmp_path / '2022' / FILE).write_bytes(GOOD)
    fetch_workbook(server_edition, 'index', tmp_path / 'out', source_dir=tmp_path)
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {FILE, f'{FILE}.json'}


@pytest.mark.parametrize('announced', [True, False])
def test_an_answer_beyond_the_size_limit_is_cut_off(
    httpserver: HTTPServer,
    server_edition: Edition,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    announced: bool,
) -> None:
    monkeypatch.setattr(web, 'SIZE_LIMIT', 1000)
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
    with pytest.raises(SourceError) as caught:
        fetch_workbook(edition('2022'), 'index', tmp_path / 'out', source_dir=tmp_path)
    assert str(caught.value) == (
        f'There is no {tmp_path}/2022/{FILE}: put the index workbook of edition 2022 there, or '
        'unset NAICS_SOURCE_DIR and leave out --source-dir to fetch it from the network.'
    )
    with pytest.raises(SourceError) as caught:
        fetch_workbook(edition('2022'), 'concordance', tmp_path / 'out', source_dir=tmp_path)
    assert str(caught.value) == (
        f'There is no {tmp_path}/2022/{CONCORDANCE}.xlsx or '
        f'{tmp_path}/concordances/{CONCORDANCE}.xlsx or {tmp_path}/concordances/{CONCORDANCE}.csv: '
        'put the concordance workbook of edition 2022 there, or unset NAICS_SOURCE_DIR and leave '
        'out --source-dir to fetch it from the network.'
    )


def test_a_source_that_changes_while_it_is_copied_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / '2022' / FILE
    source.parent.mkdir()
    source.write_bytes(GOOD)
    before = fetch_workbook(edition('2022'), 'index', tmp_path / 'out', source_dir=tmp_path)

    class Reader(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            monkeypatch.undo()
            first = super().read(1000)
            source.with_name('new').write_bytes(NEWER)
            source.with_name('new').replace(source)
            return first + super().read(size)

    monkeypatch.setattr(Path, 'open', lambda path, *args, **kwargs: Reader(path))
    with pytest.raises(SourceError, match=rf'^{source} changed while it was read: wait until'):
        fetch_workbook(edition('2022'), 'index', tmp_path / 'out', source_dir=tmp_path)
    assert before.path.read_bytes() == GOOD
    assert read_provenance(before.path, INDEX) == before
    assert len(list((tmp_path / 'out').iterdir())) == 2


@pytest.fixture
def concordance(tmp_path: Path) -> dict[str, Path]:
    """A concordance in each of the places of a source folder, best first, each of other content."""
    book = edition('2022').workbook('concordance')
    places = {
        'edition': tmp_path / '2022' / book.file,
        'beside': tmp_path / 'concordances' / book.file,
        'csv': tmp_path / 'concordances' / f'{CONCORDANCE}.csv',
    }
    for place, path in places.items():
        path.parent.mkdir(exist_ok=True)
        rows = [('heading',), (), tuple(book.columns.values()), (111110, place, 111110, place)]
        if path.suffix == '.csv':
            lines = [','.join(f'"{cell}"' for cell in row) for row in rows]
            path.write_text('\n'.join(lines), encoding='utf-8')
        else:
            sheet = openpyxl.Workbook()
            sheet.active.title = book.sheet
            for row in rows:
                sheet.active.append(row)
            sheet.save(path)
    return places


def test_a_concordance_is_taken_from_the_first_of_its_places(
    tmp_path: Path, concordance: dict[str, Path]
) -> None:
    wanted, out = edition('2022'), tmp_path / 'out'
    assert source_path(wanted, 'concordance', out) == out / f'{CONCORDANCE}.xlsx'
    for place, source in concordance.items():
        fetched = fetch_workbook(wanted, 'concordance', out, source_dir=tmp_path)
        assert (fetched.origin, fetched.path.name) == (str(source), source.name)
        assert fetched.known is (None if place == 'csv' else False)
        assert source_path(wanted, 'concordance', out) == fetched.path
        table = read_table(fetched.path, wanted.workbook('concordance'))
        assert table.rows() == [('111110', place, '111110', place, 4)]
        # The other form does not stay behind.
        names = {source.name, f'{source.name}.json'}
        assert {path.name for path in out.iterdir()} == names
        source.unlink()


def test_the_workbook_takes_the_place_of_its_csv_copy_and_a_bad_one_does_not(
    tmp_path: Path, concordance: dict[str, Path]
) -> None:
    wanted, out = edition('2022'), tmp_path / 'out'
    good = concordance['edition'].read_bytes()
    for place in ('edition', 'beside'):
        concordance[place].unlink()
    copy = fetch_workbook(wanted, 'concordance', out, source_dir=tmp_path)
    concordance['edition'].write_text('<html>', encoding='utf-8')
    with pytest.raises(SourceError, match='looks like a web page'):
        fetch_workbook(wanted, 'concordance', out, source_dir=tmp_path)
    assert read_provenance(copy.path, wanted.workbook('concordance')) == copy
    concordance['edition'].write_bytes(good)
    book = fetch_workbook(wanted, 'concordance', out, source_dir=tmp_path)
    assert {path.name for path in out.iterdir()} == {book.path.name, f'{book.path.name}.json'}
    assert source_path(wanted, 'concordance', out) == book.path


def test_a_web_page_saved_as_csv_keeps_the_last_good_copy(
    tmp_path: Path, concordance: dict[str, Path]
) -> None:
    out = tmp_path / 'out'
    for place in ('edition', 'beside'):
        concordance[place].unlink()
    before = fetch_workbook(edition('2022'), 'concordance', out, source_dir=tmp_path)
    concordance['csv'].write_text('<!doctype html><html>', encoding='utf-8')
    with pytest.raises(SourceError, match=r'\.csv is no CSV copy .*: it looks like a web page'):
        fetch_workbook(edition('2022'), 'concordance', out, source_dir=tmp_path)
    assert read_provenance(before.path, edition('2022').workbook('concordance')) == before


def test_an_edition_has_its_workbooks_under_their_own_names(tmp_path: Path) -> None:
    sample = edition('sample')
    for name, book in sample.workbooks.items():
        assert source_path(sample, name, tmp_path) == tmp_path / book.file


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


def test_the_concordance_at_hand_is_taken_as_a_csv_copy(source_dir: Path, tmp_path: Path) -> None:
    fetched = fetch_workbook(edition('2022'), 'concordance', tmp_path, source_dir=source_dir)
    assert fetched.known is None
    assert fetched.path == source_path(edition('2022'), 'concordance', tmp_path)
    assert fetched.path.suffix == '.csv'
