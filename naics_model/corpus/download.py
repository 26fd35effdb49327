"""Bytes into the source folder: from the package, a folder of the user's, or the Bureau's site.

Whatever the origin, a file is checked to be a whole workbook that opens before it takes its name,
so that an error page, a truncated answer or a killed process never replaces a good file. The cells
are not read here.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import tenacity

from naics_model.corpus.editions import PACKAGED_WORKBOOKS, Edition, Workbook
from naics_model.corpus.workbooks import check_is_workbook
from naics_model.errors import SourceError, WorkbookError
from naics_model.storage.files import atomic_write, read_json, sha256_of, write_json

SIZE_LIMIT = 50 * 2**20
"""Bytes; the largest workbook has half a million."""
ATTEMPTS = 4
RETRY_WAIT = tenacity.wait_exponential_jitter(initial=1, max=20)
TIMEOUT = httpx.Timeout(30, connect=10)
PACKAGED = 'packaged'
_AGENT = {'User-Agent': 'naics-lorentz'}


@dataclass(frozen=True)
class Provenance:
    """Where the bytes of a workbook come from; kept as `<file>.json` beside it.

    Attributes:
        path: the file.
        origin: its URL, the path it was copied from, or 'packaged'.
        etag, last_modified: what the server said of it; None for copies.
        sha256: digest of the bytes.
        bytes: their number.
        fetched_at: when they came, ISO 8601 in UTC. An unchanged answer (304) keeps the older time.
        known: whether they are the bytes this release was tested with; None where those are not
            known.
    """

    path: Path
    origin: str
    etag: str | None
    last_modified: str | None
    sha256: str
    bytes: int
    fetched_at: str
    known: bool | None


def fetch_workbook(
    edition: Edition,
    workbook: str,
    folder: Path,
    *,
    source_dir: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Provenance:
    """Bring one workbook of an edition into a folder and write its provenance beside it.

    Args:
        workbook: its name: codes, descriptions, index, cross_references or concordance.
        folder: where it goes, under the edition's own file name.
        source_dir: a folder laid out as `<edition>/<file>`, read in place of the network
            (NAICS_SOURCE_DIR). The bundled edition needs neither.
        progress: takes a line for a person at each step.

    Raises:
        SourceError: it could not be had, or what came is no workbook. A file that was there before
            is untouched.
    """
    wanted = edition.workbook(workbook)
    report = progress or (lambda line: None)
    if edition.packaged:
        return _copy(PACKAGED_WORKBOOKS / wanted.file, wanted, folder, origin=PACKAGED)
    if source_dir is not None:
        source = source_dir / edition.name / wanted.file
        if not source.is_file():
            raise SourceError(
                f'{source} does not exist: put the {workbook} workbook of edition {edition.name} '
                'there, or unset NAICS_SOURCE_DIR to fetch it from the network.'
            )
        report(f'Copying {source}')
        return _copy(source, wanted, folder, origin=str(source))
    return _download(edition, wanted, folder, report)


def read_provenance(path: Path) -> Provenance | None:
    """Return the provenance of a fetched file; None where one is missing or they do not match."""
    beside = _provenance_path(path)
    if not (path.is_file() and beside.is_file()):
        return None
    provenance = Provenance(path=path, **read_json(beside))
    return provenance if provenance.sha256 == sha256_of(path) else None


def _provenance_path(path: Path) -> Path:
    return path.with_name(f'{path.name}.json')


def _copy(source: Path, workbook: Workbook, folder: Path, *, origin: str) -> Provenance:
    target = folder / workbook.file
    with atomic_write(target) as temporary:
        shutil.copyfile(source, temporary)
        _accept(temporary, str(source))
    return _record(target, workbook, origin=origin, headers=httpx.Headers())


def _accept(temporary: Path, origin: str) -> None:
    try:
        check_is_workbook(temporary, name=origin)
    except WorkbookError as error:
        raise SourceError(str(error)) from None


def _record(target: Path, workbook: Workbook, *, origin: str, headers: httpx.Headers) -> Provenance:
    digest = sha256_of(target)
    provenance = Provenance(
        path=target,
        origin=origin,
        etag=headers.get('ETag'),
        last_modified=headers.get('Last-Modified'),
        sha256=digest,
        bytes=target.stat().st_size,
        fetched_at=datetime.now(UTC).isoformat(timespec='seconds'),
        known=None if workbook.sha256 is None else digest == workbook.sha256,
    )
    fields = asdict(provenance)
    # The folder may move; the file is always the one beside.
    del fields['path']
    write_json(fields, _provenance_path(target))
    return provenance


def _download(
    edition: Edition, workbook: Workbook, folder: Path, report: Callable[[str], None]
) -> Provenance:
    url = workbook.url
    if url is None:
        raise SourceError(
            f'The {workbook.name} workbook of edition {edition.name} has no URL: add one to '
            'naics_model/corpus/editions.toml.'
        )
    target = folder / workbook.file
    present = read_provenance(target)
    if present is not None and present.origin != url:
        present = None

    report(f'Fetching {url}')
    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=RETRY_WAIT,
        retry=tenacity.retry_if_exception(_is_passing),
        before_sleep=lambda state: report(f'Attempt {state.attempt_number} failed; trying again'),
        reraise=True,
    )
    try:
        headers = retrying(_request, url, target, present)
    except httpx.HTTPStatusError as error:
        raise _unavailable(edition, workbook, f'HTTP {error.response.status_code}') from error
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise _unavailable(edition, workbook, reason) from error
    if headers is None and present is not None:
        report(f'Not changed since {present.fetched_at}')
        return present
    return _record(target, workbook, origin=url, headers=headers or httpx.Headers())


def _is_passing(error: BaseException) -> bool:
    """Whether another attempt may help: the line failed, or the server has trouble for now."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= 500 or error.response.status_code == 429
    return isinstance(error, httpx.TransportError)


def _unavailable(edition: Edition, workbook: Workbook, reason: str) -> SourceError:
    return SourceError(
        f'Could not fetch {workbook.url}: {reason}. Try again later, or set NAICS_SOURCE_DIR to a '
        f'folder laid out as <edition>/<file> (here {edition.name}/{workbook.file}).'
    )


def _request(url: str, target: Path, present: Provenance | None) -> httpx.Headers | None:
    """Ask once; return the answer's headers, or None where the present file is still the newest."""
    conditions = {}
    if present is not None and present.etag:
        conditions['If-None-Match'] = present.etag
    elif present is not None and present.last_modified:
        conditions['If-Modified-Since'] = present.last_modified
    with (
        httpx.Client(timeout=TIMEOUT, follow_redirects=True, headers=_AGENT) as client,
        client.stream('GET', url, headers=conditions) as response,
    ):
        if response.status_code == httpx.codes.NOT_MODIFIED and present is not None:
            return None
        response.raise_for_status()
        with atomic_write(target) as temporary:
            _receive(response, temporary)
            _accept(temporary, url)
        return response.headers


def _receive(response: httpx.Response, temporary: Path) -> None:
    announced = response.headers.get('Content-Length')
    too_large = SourceError(
        f'{response.url} is larger than {SIZE_LIMIT // 2**20} MiB, so it is no NAICS workbook: '
        'check its URL in naics_model/corpus/editions.toml.'
    )
    if announced is not None and int(announced) > SIZE_LIMIT:
        raise too_large
    written = 0
    with temporary.open('wb') as file:
        for chunk in response.iter_bytes():
            written += len(chunk)
            if written > SIZE_LIMIT:
                raise too_large
            file.write(chunk)
    if announced is not None and response.num_bytes_downloaded != int(announced):
        raise httpx.RemoteProtocolError(
            f'{response.num_bytes_downloaded:,} of {int(announced):,} bytes came'
        )
