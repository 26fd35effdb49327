"""`python -m naics_assets.webserver`: Dagster's webserver, which heeds its own pages alone.

Dagster asks nobody who they are. So a page of anybody's, open in a browser on this machine, could
launch runs here: by a form or a picture that is sent to this address, or under a name of its own
that leads to it. Such requests are refused; programs that are no browser are let in as before.
"""

from __future__ import annotations

import os
import sys
from urllib.parse import parse_qs, urlsplit

from dagster_webserver import app
from dagster_webserver.cli import main
from dagster_webserver.webserver import DagsterWebserver
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

THIS_MACHINE = ('127.0.0.1', 'localhost', '::1')


class OwnPagesOnly:
    """Refuses what a page of somebody else's makes a browser send.

    Args:
        app: what is behind.
        shown_at: the address that people see, where it is another than the one it serves.
    """

    def __init__(self, app: ASGIApp, shown_at: str) -> None:
        self._app = app
        self._shown_at = _place(shown_at)
        self._names = {*THIS_MACHINE, _name(self._shown_at)} - {None}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope['type'] in ('http', 'websocket') else None
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope['type'] == 'websocket':
            await WebSocketClose(1008)(scope, receive, send)
        else:
            await PlainTextResponse(refusal, 403)(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host, origin = headers.get('host', ''), headers.get('origin')
        # A foreign page may have its own name lead to this machine, and asks under that name.
        if _name(host) not in self._names:
            return f'{host} is no name of this server (NAICS_DAGSTER_URL gives it one).\n'
        # Browsers say which page sends a form. Another port is another server's page.
        if origin is not None and _place(origin) not in {host, self._shown_at} - {''}:
            return f'Pages of {origin} may not ask this server.\n'
        # They do not say it of a picture, and Dagster takes mutations there.
        asked = parse_qs(scope['query_string'].decode('latin-1'))
        if scope['type'] == 'http' and scope['method'] != 'POST' and 'query' in asked:
            return 'GraphQL is asked by POST here.\n'
        return None


class Webserver(DagsterWebserver):
    """Dagster's, with the guard before it."""

    def build_middleware(self) -> list[Middleware]:
        shown_at = os.environ.get('NAICS_DAGSTER_URL', '')
        return [Middleware(OwnPagesOnly, shown_at), *super().build_middleware()]


def _place(address: str) -> str:
    try:
        return urlsplit(address).netloc.rpartition('@')[2]
    except ValueError:
        return ''


def _name(host: str) -> str | None:
    try:
        return urlsplit(f'//{host}').hostname
    except ValueError:
        return None


if __name__ == '__main__':
    # Its command line makes the server of this name.
    app.DagsterWebserver = Webserver  # type: ignore[misc]
    sys.exit(main())
