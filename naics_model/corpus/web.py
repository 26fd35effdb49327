"""One question to a web server, and nothing of the answer that was not asked for.

What the bytes are, and what becomes of them, is not decided here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager

import httpx

from naics_model.corpus.editions import shown_editions_file
from naics_model.errors import SourceError, without_passwords

SIZE_LIMIT = 50 * 2**20
"""Bytes; the largest workbook has half a million."""
TIMEOUT = httpx.Timeout(30, connect=10)
# identity: a workbook is a zip, so that packing gains nothing, and a range of packed bytes would be
# no range of the file.
_HEADERS = {'User-Agent': 'naics-lorentz', 'Accept-Encoding': 'identity'}
# What a header can send back as it came: printable ASCII without blanks around it.
_SENDABLE = re.compile(r'[!-~](?:[ -~]*[!-~])?')


def web_client(timeout: httpx.Timeout = TIMEOUT) -> httpx.Client:
    """Return a client for `answer_to`, which asks for bytes as they are, not packed."""
    return httpx.Client(timeout=timeout, headers=_HEADERS)


@contextmanager
def answer_to(
    client: httpx.Client, method: str, url: str, headers: Mapping[str, str] | None = None
) -> Iterator[httpx.Response]:
    """Ask, and yield the answer at the end of all redirects, with its body unread.

    httpx would follow them as well, but it reads the body of each to its end, however large.

    Args:
        client: asks.
        method: HEAD or GET.
        url: the address; a name and a password in it are for its own origin alone.
        headers: of the question, beside those of the client.

    Raises:
        httpx.HTTPError: the line failed, or redirects have no end or lead to no HTTP.
    """
    request = client.build_request(method, url, headers=headers)
    auth: httpx.Auth | None = None
    for _ in range(client.max_redirects + 1):
        with closing(_send(client, request, auth)) as response:
            if response.next_request is None:
                yield response
                return
            request = response.next_request
        if request.url.scheme not in ('http', 'https'):
            raise httpx.UnsupportedProtocol(
                f"sent on to the unsupported protocol '{request.url.scheme}://'", request=request
            )
        # httpx has kept the header with the password for the same origin, and taken it out for any
        # other. This keeps it from making a new one of what stands in the address of the redirect.
        auth = httpx.Auth()
    raise httpx.TooManyRedirects('Exceeded maximum allowed redirects.', request=request)


def _send(client: httpx.Client, request: httpx.Request, auth: httpx.Auth | None) -> httpx.Response:
    try:
        return client.send(request, auth=auth, stream=True)
    except UnicodeError as error:
        # `http://xn--/`: httpx lets the error of its library of names through.
        raise httpx.UnsupportedProtocol(
            f'sent on to no address ({error})', request=request
        ) from None


def bytes_of(response: httpx.Response, url: str, before: int = 0) -> Iterator[bytes]:
    """Yield the body of an answer as it comes. It is never unpacked: two kilobytes, packed twice,
    can be gigabytes.

    Args:
        response: from `answer_to`.
        url: what was asked, for the message.
        before: how many bytes of the whole there are already.

    Raises:
        SourceError: it is packed, or there are more bytes than `SIZE_LIMIT`.
        httpx.HTTPError: the line failed.
    """
    if is_packed(response):
        raise SourceError(
            f'{without_passwords(url)} answers with packed bytes (Content-Encoding: '
            f'{response.headers["Content-Encoding"][:40]!r}), though it was asked for the '
            'file as it is: get the workbook with a browser and put it into NAICS_SOURCE_DIR.'
        )
    for chunk in response.iter_raw():
        before += len(chunk)
        check_size(before, url)
        yield chunk


def version_of(response: httpx.Response) -> tuple[str | None, str | None]:
    """Return the two names that a server gives the version of an answer's bytes.

    Returns:
        ETag and Last-Modified, each None where there is none that a header can send back.
    """
    headers = response.headers
    return sendable(headers.get('ETag')), sendable(headers.get('Last-Modified'))


def check_size(size: int, url: str) -> None:
    """Refuse more bytes than a workbook has.

    Raises:
        SourceError: there are more than `SIZE_LIMIT`.
    """
    if size > SIZE_LIMIT:
        raise SourceError(
            f'{without_passwords(url)} is larger than {SIZE_LIMIT // 2**20} MiB, so it is no NAICS '
            f'workbook: check its URL in {shown_editions_file()}.'
        )


def sendable(validator: object) -> str | None:
    """Return the name of a version, or None where it is none that a header can send back."""
    return validator if isinstance(validator, str) and _SENDABLE.fullmatch(validator) else None


def is_packed(response: httpx.Response) -> bool:
    """Whether an answer has other bytes than those of the file, though it was asked for these."""
    codings = response.headers.get('Content-Encoding', '').split(',')
    return any(coding.strip().lower() not in ('', 'identity') for coding in codings)
