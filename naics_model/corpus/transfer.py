"""One address to its bytes: limited in size, asked for only if changed, resumed after a break.

What the bytes are and where they go is not decided here.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import httpx

from naics_model.corpus.web import (
    answer_to,
    bytes_of,
    check_size,
    is_packed,
    sendable,
    version_of,
    web_client,
)
from naics_model.errors import SourceError, without_passwords
from naics_model.storage.files import writing

LONGEST = 600.0
"""Seconds for all bytes of an answer: one that comes in drops never breaks the other limit."""
_CONTENT_RANGE = re.compile(r'bytes (\d+)-\d+/(\d+|\*)')


@dataclass(frozen=True)
class Received:
    """Bytes from a server and its two names for their version, each None where it gave none."""

    content: bytes
    etag: str | None
    last_modified: str | None

    @property
    def validator(self) -> str | None:
        """What says that two answers are of the same bytes: a weak ETag does not."""
        strong = self.etag is not None and not self.etag.startswith('W/')
        return self.etag if strong else self.last_modified


def fetch_bytes(
    url: str,
    part: Path,
    *,
    etag: str | None = None,
    last_modified: str | None = None,
    report: Callable[[str], None],
) -> Received | None:
    """Ask once for the bytes at an address.

    When the connection breaks, what has come stays in `part`, if the server named its version. The
    next call with the same `part`, in this process or a later one, asks for the rest (RFC 9110,
    13.1.5 and 14.2). The file is removed as soon as the bytes are whole or can't be gone on with.

    A version that a header can't name again, because it is not plain ASCII, counts as none.

    Args:
        url: the address.
        part: where to keep what came before a break.
        etag, last_modified: the version at hand, to ask only for another one.
        report: takes a line for a person.

    Returns:
        The whole content, or None where the version at hand is still the newest.

    Raises:
        SourceError: there are more bytes than `SIZE_LIMIT`, or they are packed.
        StorageError: what came could not be kept.
        httpx.HTTPError: the line failed, or the server answered with an error status.
    """
    conditions = {}
    etag, last_modified = sendable(etag), sendable(last_modified)
    if etag is not None:
        conditions['If-None-Match'] = etag
    elif last_modified is not None:
        conditions['If-Modified-Since'] = last_modified
    kept = _read_part(part, url)
    rest = {}
    if kept is not None and kept.validator is not None:
        rest = {'Range': f'bytes={len(kept.content)}-', 'If-Range': kept.validator}
    with (
        web_client() as client,
        answer_to(client, 'GET', url, {**conditions, **rest}) as response,
    ):
        if response.status_code == httpx.codes.NOT_MODIFIED and conditions:
            part.unlink(missing_ok=True)
            return None
        if kept is None or not _contradicts(response, kept):
            try:
                return _receive(response, url, part, kept, report)
            except SourceError:
                # The rest would be no better.
                part.unlink(missing_ok=True)
                raise
    # What was kept is of no use: once more, from the start.
    part.unlink(missing_ok=True)
    return fetch_bytes(url, part, etag=etag, last_modified=last_modified, report=report)


def _contradicts(response: httpx.Response, kept: Received) -> bool:
    """Whether this answer to a question for the rest can't be the rest of what was kept."""
    if response.status_code != httpx.codes.PARTIAL_CONTENT:
        return response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE
    start, _ = _content_range(response)
    # A server may heed Range and not If-Range; then only its own words tell that the file changed.
    now = _version(response)
    return (
        start != len(kept.content)
        or is_packed(response)
        or now.etag not in {None, kept.etag}
        or now.last_modified not in {None, kept.last_modified}
    )


def _receive(
    response: httpx.Response,
    url: str,
    part: Path,
    kept: Received | None,
    report: Callable[[str], None],
) -> Received:
    response.raise_for_status()
    if response.status_code == httpx.codes.PARTIAL_CONTENT:
        if kept is None:
            raise httpx.RemoteProtocolError('a part came where the whole was asked for')
        before, whole, keep = kept, _content_range(response)[1], True
        of = '' if whole is None else f' of {whole:,}'
        report(f'Going on from {len(kept.content):,}{of} bytes')
    else:
        before, whole = _version(response), _content_length(response)
        keep = before.validator is not None
        part.unlink(missing_ok=True)
        if keep:
            _begin_part(part, url, before)
    check_size(whole or 0, url)
    # Collected here and not read back: another process may be writing the same part. Unbuffered, so
    # that a killed process leaves what has come.
    content = bytearray(before.content)
    deadline = time.monotonic() + LONGEST
    with writing(part), part.open('ab', buffering=0) if keep else nullcontext() as file:
        for chunk in bytes_of(response, url, len(content)):
            content += chunk
            if file is not None:
                file.write(chunk)
            if time.monotonic() > deadline:
                raise httpx.ReadTimeout(f'not whole after {LONGEST:.0f} seconds')
    if whole is not None and len(content) != whole:
        if len(content) > whole:
            part.unlink(missing_ok=True)
        raise httpx.RemoteProtocolError(f'{len(content):,} of {whole:,} bytes came')
    part.unlink(missing_ok=True)
    return Received(bytes(content), before.etag, before.last_modified)


def _version(response: httpx.Response) -> Received:
    return Received(b'', *version_of(response))


def _content_length(response: httpx.Response) -> int | None:
    length = response.headers.get('Content-Length')
    return None if length is None else int(length)


def _content_range(response: httpx.Response) -> tuple[int | None, int | None]:
    """Return the first byte of a partial answer, and the size of the whole, where it says so."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get('Content-Range', ''))
    if match is None:
        return None, None
    start, whole = match.groups()
    return int(start), None if whole == '*' else int(whole)


def _begin_part(part: Path, url: str, version: Received) -> None:
    """Begin a part with a line of what it is a part of; the bytes follow in the same file.

    So they can never be taken for those of another version.
    """
    head = {
        'url': without_passwords(url),
        'etag': version.etag,
        'last_modified': version.last_modified,
    }
    with writing(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(json.dumps(head).encode() + b'\n')


def _read_part(part: Path, url: str) -> Received | None:
    """Return what was kept of this address; None where it is nothing, or can't be gone on with."""
    if not part.is_file():
        return None
    line, _, content = part.read_bytes().partition(b'\n')
    try:
        head = json.loads(line)
    except (ValueError, RecursionError):
        # The process was killed while it wrote this very line, or the file is not ours.
        return None
    if not content or not isinstance(head, dict) or head.get('url') != without_passwords(url):
        return None
    kept = Received(content, sendable(head.get('etag')), sendable(head.get('last_modified')))
    return None if kept.validator is None else kept
