"""Whether what is published is still what is at hand, and whether the next edition has appeared.

Only questions: the file at hand is neither replaced nor touched. `download` does that, when the
step of the workbook runs.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from naics_model.corpus.download import file_in, out_of_date, source_path
from naics_model.corpus.editions import Edition, Workbook, expected_editions, shown_editions_file
from naics_model.corpus.provenance import Provenance, read_provenance
from naics_model.corpus.web import answer_to, bytes_of, version_of, web_client
from naics_model.errors import DataError, SourceError, first_line, without_passwords
from naics_model.storage.files import read_steady

WITHIN = 40
"""Seconds for all questions of a `Web`. Dagster ends the tick of a sensor after 60."""
_TIMEOUT = httpx.Timeout(10)
_GONE = (httpx.codes.NOT_FOUND, httpx.codes.GONE)
_NO_HEAD = (httpx.codes.METHOD_NOT_ALLOWED, httpx.codes.NOT_IMPLEMENTED)
# How a zip archive begins, and so every workbook; a page that asks to come back later does not.
_ZIP = b'PK'


class AwayError(SourceError):
    """A server can not be reached, so that there is no use in asking it for more now."""


@dataclass(frozen=True)
class Answer:
    """The digest of published bytes, and what the server called their version.

    Attributes:
        etag, last_modified: each None where it gave none.
        sha256: digest of the bytes.
    """

    etag: str | None
    last_modified: str | None
    sha256: str

    @property
    def is_named(self) -> bool:
        """Whether the same bytes can be known again without reading them."""
        return self.etag is not None or self.last_modified is not None


@dataclass(frozen=True)
class Look:
    """What a look at the workbooks of an edition has found.

    Attributes:
        changed: workbook -> sha256 of the bytes that are published in place of those at hand.
        unanswered: a sentence for each question without an answer.
        answers: workbook -> what the next look needs to know of it; nothing for workbooks that are
            published as their provenance says.
    """

    changed: Mapping[str, str]
    unanswered: Sequence[str]
    answers: Mapping[str, Answer]


@dataclass(frozen=True)
class Web:
    """Questions to web servers, all of which together take a limited time.

    Attributes:
        client: asks.
        until: the end of that time, by `time.monotonic`.
    """

    client: httpx.Client
    until: float

    def head(self, url: str) -> httpx.Response:
        """Ask about an address.

        Raises:
            AwayError: nobody answers there, or there is no time left to ask.
        """
        self._check_time(url)
        try:
            with answer_to(self.client, 'HEAD', url) as response:
                # There is no body. Its end is read, so that the line can be used again.
                response.read()
                return response
        except httpx.HTTPError as error:
            raise _away(url, error) from error

    def read(self, url: str) -> Answer:
        """Read what is at an address; the bytes are hashed as they come, and not kept.

        Raises:
            SourceError: an error status, too many or packed bytes, or no workbook.
            AwayError: nobody answers there, or not in time.
        """
        self._check_time(url)
        digest, start = hashlib.sha256(), b''
        try:
            with answer_to(self.client, 'GET', url) as response:
                _check_status(response, url)
                for chunk in bytes_of(response, url):
                    self._check_time(url)
                    start += chunk[: len(_ZIP) - len(start)]
                    digest.update(chunk)
        except httpx.HTTPError as error:
            raise _away(url, error) from error
        if start != _ZIP:
            raise SourceError(
                f'{without_passwords(url)} answers with something that is no workbook: look at it '
                'in a browser.'
            )
        return Answer(*version_of(response), digest.hexdigest())

    def _check_time(self, url: str) -> None:
        if time.monotonic() > self.until:
            raise AwayError(
                f'There was no time left to look at {without_passwords(url)}: the next look asks '
                'again.'
            )


@contextmanager
def asking(seconds: float = WITHIN) -> Iterator[Web]:
    """Yield a `Web` for questions that all together take this long."""
    with web_client(_TIMEOUT) as client:
        yield Web(client, time.monotonic() + seconds)


def look(
    edition: Edition,
    folder: Path,
    web: Web,
    *,
    source_dir: Path | None = None,
    before: Mapping[str, Answer] | None = None,
) -> Look:
    """Compare the workbooks of an edition with what is published.

    A workbook is asked about by HEAD, and read only if the server has another name for its version
    than at the last time. Only workbooks that have been fetched are looked at.

    Args:
        edition: the edition.
        folder: its source folder, with the workbooks at hand and where each came from.
        web: asks.
        source_dir: the user's folder of workbooks, whose files are read in place of the network.
        before: the `answers` of the look before.
    """
    changed: dict[str, str] = {}
    unanswered: list[str] = []
    answers = dict(before or {})
    for name, workbook in edition.workbooks.items():
        present = read_provenance(source_path(edition, name, folder), workbook)
        if present is None:
            answers.pop(name, None)
            continue
        try:
            if source_dir is None:
                answer = _published(workbook, present, answers.get(name), web)
            else:
                answer = _digest_of(file_in(source_dir, edition, name))
        except AwayError as error:
            # Not asked about the others: each would take as long to find out the same.
            unanswered.append(str(error))
            break
        except SourceError as error:
            unanswered.append(str(error))
            continue
        if answer.sha256 != present.sha256:
            changed[name] = answer.sha256
        if answer.is_named and not _same(answer, present):
            answers[name] = answer
        else:
            answers.pop(name, None)
    return Look(changed, unanswered, answers)


def appeared(
    web: Web, source_dir: Path | None = None
) -> tuple[Mapping[str, Sequence[str]], Sequence[str]]:
    """Look for the editions that are not yet known, where they are expected.

    Args:
        web: asks.
        source_dir: the user's folder of workbooks, looked into in place of the network.

    Returns:
        edition -> the addresses (or the folder) where something of it is, and a sentence for each
        question without an answer.
    """
    found: dict[str, list[str]] = {}
    unanswered: list[str] = []
    for name, addresses in expected_editions().items():
        if source_dir is not None:
            if (source_dir / name).is_dir():
                found[name] = [str(source_dir / name)]
            continue
        for url in addresses.values():
            try:
                response = web.head(url)
                if response.status_code in _GONE or _is_page(response):
                    continue
                _check_status(response, url)
            except SourceError as error:
                unanswered.append(str(error))
                if isinstance(error, AwayError):
                    break
            else:
                found.setdefault(name, []).append(url)
    return found, unanswered


def _published(workbook: Workbook, present: Provenance, before: Answer | None, web: Web) -> Answer:
    """Return what is at a workbook's address now, without reading it if that is known already."""
    url = workbook.url
    if url is None:
        raise SourceError(
            f'The {workbook.name} workbook has no URL: add one to {shown_editions_file()}.'
        )
    response = web.head(url)
    if response.status_code in _NO_HEAD:
        return web.read(url)
    _check_status(response, url)
    now = Answer(*version_of(response), '')
    if present.came_from(url) and _same(now, present):
        return Answer(present.etag, present.last_modified, present.sha256)
    if before is not None and _same(now, before):
        return before
    return web.read(url)


def _digest_of(path: Path) -> Answer:
    try:
        content = read_steady(path)
    except DataError as error:
        raise SourceError(str(error)) from None
    return Answer(None, None, hashlib.sha256(content).hexdigest())


def _same(one: Answer, other: Answer | Provenance) -> bool:
    """Whether a server has one name for both: by ETag, or where one lacks it, by Last-Modified."""
    if one.etag is not None and other.etag is not None:
        return one.etag == other.etag
    return one.last_modified is not None and one.last_modified == other.last_modified


def _is_page(response: httpx.Response) -> bool:
    """Whether it is a page for people: some servers answer so, and with 200, in place of 404."""
    return response.headers.get('Content-Type', '').startswith('text/html')


def _check_status(response: httpx.Response, url: str) -> None:
    if response.is_error:
        remedy = out_of_date() if response.status_code in _GONE else 'the next look asks again'
        shown = without_passwords(url)
        raise SourceError(f'{shown} answers with HTTP {response.status_code}: {remedy}.')


def _away(url: str, error: httpx.HTTPError) -> AwayError:
    shown = without_passwords(url)
    return AwayError(f'{shown} does not answer ({first_line(error)}): the next look asks again.')
