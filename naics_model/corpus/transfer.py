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

from naics_model.corpus.editions import shown_editions_file
from naics_model.errors import SourceError, without_passwords
from naics_model.storage.files import writing

SIZE_LIMIT = 50 * 2**20
"""Bytes; the largest workbook has half a million."""
TIMEOUT = httpx.Timeout(30, connect=10)
LONGEST = 600.0
"""Seconds for all bytes of an answer: one that comes in drops never breaks the other limit."""
# identity: a workbook is a zip, so that packing gains nothing, and a range of packed bytes would be
# no range of the file.
_HEADERS = {'User-Agent': 'naics-lorentz', 'Accept-Encoding': 'identity'}
_CONTENT_RANGE = re.compile(r'bytes (\d+)-\d+/(\d+|\*)')
# What a header can send back as it came: printable ASCII without blanks around it.
_SENDABLE = re.compile(r'[!-~](?:[ -~]*[!-~])?')


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


def web_client(timeout: httpx.Timeout = TIMEOUT) -> httpx.Client:
    """Return a client that follows redirects and asks for bytes as they are, not packed."""
    return httpx.Client(timeout=timeout, follow_redirects=True, headers=_HEADERS)


def version_of(response: httpx.Response) -> tuple[str | None, str | None]:
    """Return the two names that a server gives the version of an answer's bytes.

    Returns:
        ETag and Last-Modified, each None where there is none that a header can send back.
    """
    headers = response.headers
    return _sendable(headers.get('ETag')), _sendable(headers.get('Last-Modified'))


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
        SourceError: there are more bytes than `SIZE_LIMIT`.
        StorageError: what came could not be kept.
        httpx.HTTPError: the line failed, or the server answered with an error status.
    """
    conditions = {}
    etag, last_modified = _sendable(etag), _sendable(last_modified)
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
        client.stream('GET', url, headers={**conditions, **rest}) as response,
    ):
        if response.status_code == httpx.codes.NOT_MODIFIED and conditions:
            part.unlink(missing_ok=True)
            return None
        if kept is None or not _contradicts(response, kept):
            return _receive(response, url, part, kept, report)
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
        or _encoded(response)
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
        keep = before.validator is not None and not _encoded(response)
        part.unlink(missing_ok=True)
        if keep:
            _begin_part(part, url, before)
    _check_size(whole or 0, url, part)
    # Collected here and not read back: another process may be writing the same part. Unbuffered, so
    # that a killed process leaves what has come.
    content = bytearray(before.content)
    deadline = time.monotonic() + LONGEST
    with writing(part), part.open('ab', buffering=0) if keep else nullcontext() as file:
        for chunk in response.iter_bytes():
            content += chunk
            _check_size(len(content), url, part)
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


def _check_size(size: int, url: str, part: Path) -> None:
    try:
        check_size(size, url)
    except SourceError:
        part.unlink(missing_ok=True)
        raise


def _version(response: httpx.Response) -> Received:
    return Received(b'', *version_of(response))


def _sendable(validator: object) -> str | None:
    return validator if isinstance(validator, str) and _SENDABLE.fullmatch(validator) else None


def _encoded(response: httpx.Response) -> bool:
    return response.headers.get('Content-Encoding', 'identity') != 'identity'


def _content_length(response: httpx.Response) -> int | None:
    length = response.headers.get('Content-Length')
    return None if length is None or _encoded(response) else int(length)


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
    kept = Received(content, _sendable(head.get('etag')), _sendable(head.get('last_modified')))
    return None if kept.validator is None else kept
