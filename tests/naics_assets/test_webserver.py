"""Who may ask Dagster's webserver: its own pages, and programs; not the pages of others."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from naics_assets.webserver import OwnPagesOnly

SHOWN_AT = 'https://naics.example'


async def answer(request: Request) -> PlainTextResponse:
    return PlainTextResponse('answered')


async def talk(socket: WebSocket) -> None:
    await socket.accept()
    await socket.close()


def client(shown_at: str = '') -> TestClient:
    routes = [
        Route('/graphql', answer, methods=['GET', 'POST']),
        WebSocketRoute('/graphql', talk),
    ]
    return TestClient(OwnPagesOnly(Starlette(routes=routes), shown_at))


@pytest.mark.parametrize(
    ('method', 'headers', 'shown_at'),
    [
        # A program: no browser sends no origin with a form.
        ('POST', {'host': '127.0.0.1:3000'}, ''),
        ('GET', {'host': 'localhost'}, ''),
        ('GET', {'host': '[::1]:3000'}, ''),
        ('POST', {'host': '127.0.0.1:3000', 'origin': 'http://127.0.0.1:3000'}, ''),
        # Through a tunnel from another port.
        ('POST', {'host': 'localhost:8080', 'origin': 'http://localhost:8080'}, ''),
        # Behind a proxy that passes the browser's name on, and one that does not.
        ('POST', {'host': 'naics.example', 'origin': SHOWN_AT}, SHOWN_AT),
        ('POST', {'host': '127.0.0.1:3000', 'origin': SHOWN_AT}, SHOWN_AT),
        ('GET', {'host': 'naics.example'}, 'https://me:s3cret@naics.example/'),
    ],
)
def test_own_pages_and_programs_are_answered(
    method: str, headers: dict[str, str], shown_at: str
) -> None:
    answered = client(shown_at).request(method, '/graphql', headers=headers)
    assert (answered.status_code, answered.text) == (200, 'answered')


@pytest.mark.parametrize(
    ('method', 'path', 'headers', 'sentence'),
    [
        ('POST', '', {'host': 'evil.example'}, 'evil.example is no name of this server'),
        ('POST', '', {'host': '127.0.0.1.evil.example:3000'}, 'is no name of this server'),
        ('GET', '', {'host': 'evil@127.0.0.1.example'}, 'is no name of this server'),
        ('GET', '', {'host': '[::1'}, 'is no name of this server'),
        ('GET', '', {'host': ''}, 'is no name of this server'),
        ('POST', '', {'origin': 'https://evil.example'}, 'Pages of https://evil.example may not'),
        ('POST', '', {'origin': 'null'}, 'Pages of null may not'),
        ('POST', '', {'origin': 'http://[::1'}, 'may not ask this server'),
        ('POST', '', {'origin': 'http://127.0.0.1:8000'}, 'may not ask this server'),
        ('GET', '?query=mutation{launchRun}', {}, 'GraphQL is asked by POST here.'),
        ('HEAD', '?a=1&query=mutation', {}, ''),
        ('GET', '?%71uery=mutation', {}, 'GraphQL is asked by POST here.'),
    ],
)
def test_what_a_foreign_page_can_send_is_refused(
    method: str, path: str, headers: dict[str, str], sentence: str
) -> None:
    asked = {'host': '127.0.0.1:3000', **headers}
    answered = client().request(method, f'/graphql{path}', headers=asked)
    assert answered.status_code == 403
    assert sentence in answered.text


def test_a_foreign_page_can_open_no_socket_either() -> None:
    own = {'host': '127.0.0.1:3000', 'origin': 'http://127.0.0.1:3000'}
    with client().websocket_connect('/graphql', headers=own):
        pass
    with (
        pytest.raises(WebSocketDisconnect) as closed,
        client().websocket_connect('/graphql', headers={**own, 'origin': 'http://evil.example'}),
    ):
        pass
    assert closed.value.code == 1008
