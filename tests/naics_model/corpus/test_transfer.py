"""What came before a break is not sent again, and never mixed with bytes of another version."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from naics_model.corpus import transfer, web
from naics_model.corpus.transfer import Received, fetch_bytes
from naics_model.errors import SourceError, StorageError

BODY = bytes(range(250)) * 4
OTHER = BODY[::-1]
MONDAY = 'Mon, 07 Feb 2022 15:00:00 GMT'
TUESDAY = 'Tue, 08 Feb 2022 15:00:00 GMT'
Handler = Callable[[Request], Response]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('no_proxy', '*')


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / 'source' / '.index.xlsx.part'


def answer(body: bytes, status: int = 200, **headers: str | int) -> Handler:
    """These bytes, whatever is asked and whatever the headers promise; then the line is cut."""
    fields = {name.replace('_', '-'): str(value) for name, value in headers.items()}
    return lambda request: Response(iter([body]), status, fields)


def broken(body: bytes = BODY, **headers: str | int) -> Handler:
    """The first 600 of 1,000 bytes."""
    return answer(body[:600], Content_Length=len(body), **headers)


def rest(body: bytes = BODY[600:], **headers: str | int) -> Handler:
    fields = {'Content_Range': 'bytes 600-999/1000', 'ETag': '"one"', **headers}
    return answer(body, 206, Content_Length=len(body), **fields)


def by_the_book(body: bytes, **headers: str) -> Handler:
    """What Werkzeug makes of the request's conditions and range."""
    fields = {name.replace('_', '-'): value for name, value in headers.items()}
    return lambda request: Response(body, headers=fields).make_conditional(
        request, accept_ranges=True, complete_length=len(body)
    )


class Talk:
    """One request after another to a server that answers as it is told to."""

    def __init__(self, server: HTTPServer, part: Path) -> None:
        self.server = server
        self.part = part
        self.url = server.url_for('/index.xlsx')
        self.lines: list[str] = []

    def ask(self, *handlers: Handler, **version: str) -> Received | None:
        for handler in handlers:
            self.server.expect_ordered_request('/index.xlsx').respond_with_handler(handler)
        return fetch_bytes(self.url, self.part, report=self.lines.append, **version)

    def breaks(self, *handlers: Handler) -> None:
        with pytest.raises(httpx.TransportError):
            self.ask(*handlers)

    def asked(self, header: str) -> list[str | None]:
        return [request.headers.get(header) for request, _ in self.server.log]


@pytest.fixture
def talk(httpserver: HTTPServer, part: Path) -> Talk:
    return Talk(httpserver, part)


@pytest.mark.parametrize(
    ('headers', 'validator'),
    [
        ({'ETag': '"one"'}, '"one"'),
        ({'ETag': '"one"', 'Last_Modified': MONDAY}, '"one"'),
        ({'ETag': 'W/"one"', 'Last_Modified': MONDAY}, MONDAY),
        ({'Last_Modified': MONDAY}, MONDAY),
    ],
)
def test_only_the_missing_bytes_are_sent_the_second_time(
    talk: Talk, headers: dict[str, str], validator: str
) -> None:
    talk.breaks(broken(**headers))
    received = talk.ask(by_the_book(BODY, **headers))
    assert received == Received(BODY, headers.get('ETag'), headers.get('Last_Modified'))
    assert talk.asked('Range') == [None, 'bytes=600-']
    assert talk.asked('If-Range') == [None, validator]
    assert talk.asked('Accept-Encoding') == ['identity', 'identity']
    sent = talk.server.log[1][1]
    assert (sent.status_code, sent.headers['Content-Length']) == (206, '400')
    assert talk.lines == ['Going on from 600 of 1,000 bytes']
    assert list(talk.part.parent.iterdir()) == []


def test_a_second_and_a_third_break_lose_nothing_either(talk: Talk) -> None:
    talk.breaks(broken(ETag='"one"', Last_Modified=MONDAY))
    cut = answer(
        BODY[600:700], 206, Content_Range='bytes 600-999/1000', Content_Length=400, ETag='"one"'
    )
    talk.breaks(cut)
    # A server may send less than was asked for, and need not say how long the whole is.
    talk.breaks(answer(BODY[700:800], 206, Content_Range='bytes 700-799/1000', Content_Length=100))
    last = answer(BODY[800:], 206, Content_Range='bytes 800-999/*', Content_Length=200)
    assert talk.ask(last) == Received(BODY, '"one"', MONDAY)
    assert talk.asked('Range') == [None, 'bytes=600-', 'bytes=700-', 'bytes=800-']
    assert talk.lines == [
        'Going on from 600 of 1,000 bytes',
        'Going on from 700 of 1,000 bytes',
        'Going on from 800 bytes',
    ]
    assert not talk.part.exists()


def test_a_killed_process_leaves_what_had_come(talk: Talk) -> None:
    talk.server.expect_ordered_request('/index.xlsx').respond_with_handler(broken(ETag='"one"'))
    script = (
        'import os, signal, sys; from pathlib import Path\n'
        'import httpx; from naics_model.corpus.transfer import fetch_bytes\n'
        'raw = httpx.Response.iter_raw\n'
        'def killed_after_the_first(response):\n'
        '    yield next(raw(response))\n'
        '    os.kill(os.getpid(), signal.SIGKILL)\n'
        'httpx.Response.iter_raw = killed_after_the_first\n'
        'fetch_bytes(sys.argv[1], Path(sys.argv[2]), report=print)\n'
    )
    root = Path(__file__).parents[3]
    ended = subprocess.run(
        [sys.executable, '-c', script, talk.url, str(talk.part)],
        env={**os.environ, 'PYTHONPATH': str(root)},
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    assert talk.ask(by_the_book(BODY, ETag='"one"')) == Received(BODY, '"one"', None)
    assert talk.asked('Range') == [None, 'bytes=600-']


@pytest.mark.parametrize('headers', [{}, {'ETag': 'W/"one"'}])
def test_without_a_version_nothing_is_kept(talk: Talk, headers: dict[str, str]) -> None:
    talk.breaks(broken(**headers))
    assert not talk.part.exists()
    received = talk.ask(by_the_book(BODY))
    assert received is not None
    assert received.content == BODY
    assert talk.asked('Range') == [None, None]


@pytest.mark.parametrize('coding', ['gzip, gzip', 'br', 'identity, GZIP', 'x' * 9_999])
def test_packed_bytes_are_refused_and_nothing_is_kept(talk: Talk, coding: str) -> None:
    # Unpacked, they would be a thousand times as many, each time; and within the limit here.
    body = gzip.compress(gzip.compress(bytes(2**20)))
    talk.breaks(broken(ETag='"one"'))
    packed = answer(body, ETag='"two"', Content_Encoding=coding)
    with pytest.raises(SourceError, match=rf"^{talk.url} answers with packed .*'{coding[:40]}'\)"):
        talk.ask(packed)
    assert not talk.part.exists()
    received = talk.ask(by_the_book(BODY, Content_Encoding='Identity'))
    assert received is not None
    assert received.content == BODY
    assert talk.asked('Range') == [None, 'bytes=600-', None]


def test_an_error_that_is_packed_is_told_by_its_status(talk: Talk) -> None:
    with pytest.raises(httpx.HTTPStatusError, match='503'):
        talk.ask(answer(gzip.compress(b'later'), 503, Content_Encoding='gzip'))


@pytest.mark.parametrize(
    'handler',
    [
        pytest.param(by_the_book(OTHER, ETag='"two"'), id='changed'),
        pytest.param(answer(OTHER, ETag='"one"', Content_Length=1000), id='ignores ranges'),
        pytest.param(answer(OTHER), id='knows neither ranges nor versions'),
    ],
)
def test_a_whole_answer_replaces_what_was_kept(talk: Talk, handler: Handler) -> None:
    talk.breaks(broken(ETag='"one"'))
    received = talk.ask(handler)
    assert received is not None
    assert received.content == OTHER
    assert len(talk.server.log) == 2
    assert talk.lines == []
    assert not talk.part.exists()


def test_a_whole_answer_that_breaks_replaces_what_was_kept_too(talk: Talk) -> None:
    talk.breaks(broken(ETag='"one"'))
    talk.breaks(broken(OTHER))
    assert not talk.part.exists()


@pytest.mark.parametrize(
    'handler',
    [
        pytest.param(answer(b'', 416, Content_Range='bytes */600'), id='nothing after it'),
        pytest.param(rest(Content_Range='bytes 0-399/1000'), id='from elsewhere'),
        pytest.param(rest(Content_Range='items 600-999/1000'), id='not of bytes'),
        pytest.param(rest(Content_Range=''), id='from nowhere'),
        pytest.param(rest(ETag='"two"'), id='of another version'),
        pytest.param(rest(Last_Modified=TUESDAY), id='of another day'),
        pytest.param(rest(Content_Encoding='gzip'), id='packed'),
    ],
)
def test_a_rest_that_does_not_fit_is_dropped_and_the_whole_asked_for(
    talk: Talk, handler: Handler
) -> None:
    talk.breaks(broken(ETag='"one"', Last_Modified=MONDAY))
    received = talk.ask(handler, by_the_book(OTHER, ETag='"two"'))
    assert received == Received(OTHER, '"two"', None)
    assert talk.asked('Range') == [None, 'bytes=600-', None]
    assert not talk.part.exists()


def test_more_than_the_rest_is_not_kept(talk: Talk) -> None:
    talk.breaks(broken(ETag='"one"'))
    with pytest.raises(httpx.RemoteProtocolError, match=r'^1,600 of 1,000 bytes came$'):
        talk.ask(rest(BODY))
    assert not talk.part.exists()


def test_a_rest_that_nobody_asked_for_is_refused(talk: Talk) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match='a part came where the whole was asked'):
        talk.ask(rest())
    # Nor is it asked for where what was kept is of no version.
    talk.part.parent.mkdir(exist_ok=True)
    talk.part.write_bytes(f'{{"url": "{talk.url}"}}\n'.encode() + BODY[:600])
    with pytest.raises(httpx.RemoteProtocolError, match='a part came where the whole was asked'):
        talk.ask(rest())
    assert talk.asked('Range') == [None, None]


def test_trouble_of_the_server_keeps_what_had_come(talk: Talk) -> None:
    talk.breaks(broken(ETag='"one"'))
    with pytest.raises(httpx.HTTPStatusError):
        talk.ask(answer(b'', 503))
    assert talk.ask(rest()) == Received(BODY, '"one"', None)


def test_what_was_kept_of_another_address_is_not_gone_on_with(talk: Talk) -> None:
    talk.breaks(broken(ETag='"one"'))
    talk.part.write_bytes(talk.part.read_bytes().replace(b'index.xlsx', b'other.xlsx'))
    assert talk.ask(by_the_book(BODY, ETag='"one"')) == Received(BODY, '"one"', None)
    assert talk.asked('Range') == [None, None]


OURS = '{"url": "URL", "etag": "\\"one\\"", "last_modified": null}'
UNSENDABLE = '{"url": "URL", "etag": "\\"één\\"", "last_modified": "Mon\\n"}'


@pytest.mark.parametrize(
    ('head', 'content'),
    [
        pytest.param('', b'', id='empty'),
        pytest.param('{"url": "http', b'', id='killed while it wrote the head'),
        pytest.param(f'{OURS}\n', b'', id='killed before the first bytes'),
        pytest.param('123\n', BODY[:600], id='a number'),
        pytest.param(f'[{OURS}]\n', BODY[:600], id='a list'),
        pytest.param('{}\n', BODY[:600], id='nothing in it'),
        pytest.param('{"url": "URL"}\n', BODY[:600], id='of no version'),
        pytest.param('{"url": "URL", "etag": 1}\n', BODY[:600], id='of a wrong type'),
        pytest.param(f'{UNSENDABLE}\n', BODY[:600], id='of a version that no header can name'),
        pytest.param('[' * 100_000 + '\n', BODY[:600], id='nested without end'),
    ],
)
def test_a_part_that_is_not_ours_or_empty_is_nothing_to_go_on_from(
    talk: Talk, head: str, content: bytes
) -> None:
    talk.part.parent.mkdir()
    talk.part.write_bytes(head.replace('URL', talk.url).encode() + content)
    assert talk.ask(by_the_book(BODY)) == Received(BODY, None, None)
    assert talk.asked('Range') == [None]
    assert not talk.part.exists()


@pytest.mark.parametrize(
    ('version', 'condition'),
    [
        ({'etag': '"one"', 'last_modified': MONDAY}, 'If-None-Match'),
        ({'last_modified': MONDAY}, 'If-Modified-Since'),
    ],
)
def test_where_the_version_at_hand_is_the_newest_again_what_was_kept_of_another_goes(
    talk: Talk, version: dict[str, str], condition: str
) -> None:
    headers = {'ETag': '"one"', 'Last_Modified': MONDAY}
    talk.breaks(broken(ETag='"two"', Last_Modified=TUESDAY))
    assert talk.ask(by_the_book(BODY, **headers), **version) is None
    assert talk.asked(condition) == [None, *list(version.values())[:1]]
    assert talk.asked('If-Range') == [None, '"two"']
    assert not talk.part.exists()


def test_the_rest_of_another_version_is_gone_on_with(talk: Talk) -> None:
    talk.breaks(broken(OTHER, ETag='"two"'))
    received = talk.ask(by_the_book(OTHER, ETag='"two"'), etag='"one"')
    assert received == Received(OTHER, '"two"', None)
    assert talk.asked('Range') == [None, 'bytes=600-']


@pytest.mark.parametrize(
    'handler',
    [
        # Announced: refused before anything comes.
        pytest.param(answer(b'', Content_Length=1000), id='whole announced'),
        pytest.param(
            answer(b'', 206, Content_Range='bytes 600-999/1000', Content_Length=400),
            id='rest announced',
        ),
        pytest.param(answer(BODY), id='whole met'),
        pytest.param(rest(Content_Range='bytes 600-999/*'), id='rest met'),
    ],
)
def test_the_size_limit_is_that_of_the_whole(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, handler: Handler
) -> None:
    monkeypatch.setattr(web, 'SIZE_LIMIT', 999)
    talk.breaks(answer(BODY[:600], ETag='"one"', Content_Length=999))
    with pytest.raises(SourceError, match=rf'^{talk.url} is larger than .* check its URL in '):
        talk.ask(handler)
    assert not talk.part.exists()


UTF8_ETAG = '"één"'.encode().decode('latin-1')


def test_a_version_that_no_header_can_name_is_none(talk: Talk) -> None:
    # Werkzeug sends a header as latin-1; a tag in UTF-8 comes as its bytes.
    assert talk.ask(by_the_book(BODY, ETag=UTF8_ETAG)) == Received(BODY, None, None)
    assert talk.ask(by_the_book(BODY, ETag=UTF8_ETAG, Last_Modified=MONDAY)) == Received(
        BODY, None, MONDAY
    )
    talk.breaks(broken(ETag=UTF8_ETAG))
    assert not talk.part.exists()


@pytest.mark.parametrize('etag', ['"één"', '"one\n"', ' "one"', ''])
def test_a_version_at_hand_that_no_header_can_name_is_not_asked_for(talk: Talk, etag: str) -> None:
    assert talk.ask(by_the_book(BODY), etag=etag) == Received(BODY, None, None)
    unchanged = by_the_book(BODY, Last_Modified=MONDAY)
    assert talk.ask(unchanged, etag=etag, last_modified=MONDAY) is None
    assert talk.asked('If-None-Match') == [None, None]
    assert talk.asked('If-Modified-Since') == [None, MONDAY]


def test_an_answer_in_drops_is_given_up_and_what_came_is_kept(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, 'LONGEST', -1.0)
    with pytest.raises(httpx.ReadTimeout, match='not whole after'):
        talk.ask(broken(ETag='"one"'))
    monkeypatch.undo()
    assert talk.ask(by_the_book(BODY, ETag='"one"')) == Received(BODY, '"one"', None)
    assert talk.asked('Range') == [None, 'bytes=600-']


def test_a_full_disk_is_told_and_the_next_download_is_whole(
    small_disk: Any, httpserver: HTTPServer
) -> None:
    body = BODY * 100
    talk = Talk(httpserver, small_disk.path / '.index.xlsx.part')
    handler = by_the_book(body, ETag='"one"')
    with small_disk.full(), pytest.raises(StorageError, match=rf'\({small_disk.word}'):
        talk.ask(handler)
    assert talk.ask(handler) == Received(body, '"one"', None)
    assert list(small_disk.path.iterdir()) == []
