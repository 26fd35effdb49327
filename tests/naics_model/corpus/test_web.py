"""Redirects are followed without reading them, and tell no password to another server."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from naics_model.corpus.web import answer_to, bytes_of, web_client

MET = {'If-None-Match': '"one"', 'Range': 'bytes=600-', 'If-Range': '"one"'}


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('no_proxy', '*')


@pytest.fixture
def other() -> Iterator[HTTPServer]:
    """A server of another origin."""
    with HTTPServer() as server:
        yield server


def send_on(server: HTTPServer, path: str, target: str, status: int = 302) -> None:
    server.expect_request(path).respond_with_data(status=status, headers={'Location': target})


def asked(url: str, method: str = 'GET') -> httpx.Response:
    with web_client() as client, answer_to(client, method, url, MET) as response:
        return response


@pytest.mark.parametrize('status', [301, 302, 303, 307, 308])
@pytest.mark.parametrize('method', ['GET', 'HEAD'])
def test_a_redirect_is_followed_with_the_same_question(
    httpserver: HTTPServer, method: str, status: int
) -> None:
    send_on(httpserver, '/a', '/b?c=d', status)
    httpserver.expect_request('/b', query_string='c=d').respond_with_data('here')
    assert asked(httpserver.url_for('/a'), method).status_code == 200
    for request, _ in httpserver.log:
        assert request.method == method
        assert {name: request.headers[name] for name in MET} == MET
        assert request.headers['Accept-Encoding'] == 'identity'


@pytest.mark.parametrize(
    'headers',
    [
        pytest.param({'Content-Length': '1000'}, id='broken'),
        pytest.param({'Content-Encoding': 'gzip'}, id='not what it says'),
    ],
)
def test_the_body_of_a_redirect_is_not_read(
    httpserver: HTTPServer, headers: dict[str, str]
) -> None:
    # Whoever read it would find out that it can't be read to its end.
    body = Response(iter([b'x' * 600]), 302, {'Location': '/b', **headers})
    httpserver.expect_request('/a').respond_with_response(body)
    httpserver.expect_request('/b').respond_with_data('here')
    url = httpserver.url_for('/a')
    with web_client() as client, answer_to(client, 'GET', url) as response:
        assert b''.join(bytes_of(response, url)) == b'here'


def test_twenty_redirects_are_followed_and_no_more(httpserver: HTTPServer) -> None:
    def next_one(request: Request) -> Response:
        number = int(request.path[1:])
        return Response('', 302, {'Location': f'/{number + 1}'}) if number < 21 else Response('')

    for number in range(1, 22):
        httpserver.expect_request(f'/{number}').respond_with_handler(next_one)
    assert asked(httpserver.url_for('/1')).status_code == 200
    assert len(httpserver.log) == 21
    send_on(httpserver, '/start', '/1')
    with pytest.raises(httpx.TooManyRedirects):
        asked(httpserver.url_for('/start'))


def authorizations(server: HTTPServer) -> list[str | None]:
    return [request.headers.get('Authorization') for request, _ in server.log]


def test_a_password_stays_with_its_own_server(httpserver: HTTPServer, other: HTTPServer) -> None:
    send_on(httpserver, '/a', '/b')
    send_on(httpserver, '/b', other.url_for('/c'))
    send_on(other, '/c', httpserver.url_for('/d'))
    httpserver.expect_request('/d').respond_with_data('here')
    last = asked(httpserver.url_for('/a').replace('://', '://me:s3cret@'))
    assert last.status_code == 200
    first, second, back = authorizations(httpserver)
    assert first is not None
    assert first == second
    assert back is None
    assert authorizations(other) == [None]
    assert last.url == httpserver.url_for('/d')


def test_a_password_that_a_redirect_names_is_not_used(
    httpserver: HTTPServer, other: HTTPServer
) -> None:
    send_on(httpserver, '/a', other.url_for('/b').replace('://', '://me:s3cret@'))
    other.expect_request('/b').respond_with_data('here')
    assert asked(httpserver.url_for('/a')).status_code == 200
    assert authorizations(other) == [None]
