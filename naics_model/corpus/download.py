"""Workbooks into the source folder: from the package, a folder of the user's, or the Bureau's site.

Whatever the origin, the bytes are checked to be a whole workbook with the published sheet and
columns before they take their name, so that an error page, a truncated answer, a new layout or a
killed process never replaces a good file. What the cells mean is not looked at here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import tenacity

from naics_model.corpus.editions import PACKAGED_WORKBOOKS, Edition, Workbook, shown_editions_file
from naics_model.corpus.provenance import (
    PACKAGED,
    Provenance,
    is_known,
    provenance_path,
    read_provenance,
    write_provenance,
)
from naics_model.corpus.transfer import Received, fetch_bytes
from naics_model.corpus.workbooks import CSV, check_layout
from naics_model.errors import DataError, SourceError, WorkbookError, without_passwords
from naics_model.storage.files import read_steady, write_bytes

ATTEMPTS = 4
RETRY_WAIT = tenacity.wait_exponential_jitter(initial=1, max=20)
_LATER = 'try again later'


def out_of_date() -> str:
    """Return what to do about an address where nothing is any more."""
    return f'its address in {shown_editions_file()} is out of date; correct it there'


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
        edition: the edition.
        workbook: its name: codes, descriptions, index, cross_references or concordance.
        folder: where it goes, under the edition's own file name. What was fetched of it before in
            its other form (.xlsx, CSV copy) is removed.
        source_dir: a folder laid out as `<edition>/<file>`, read in place of the network
            (NAICS_SOURCE_DIR, --source-dir); a concordance may also stand in `concordances/`, as a
            CSV copy too. The bundled edition needs neither.
        progress: takes a line for a person at each step.

    Returns:
        Where its bytes come from, and whether they are known.

    Raises:
        ConfigurationError: the edition has no such workbook.
        SourceError: it could not be had, changed while it was read, or is not the workbook that the
            edition names. A file that was there before is untouched.
        StorageError: it could not be written.
    """
    wanted = edition.workbook(workbook)
    report = progress or (lambda line: None)
    if edition.packaged:
        return _copy(PACKAGED_WORKBOOKS / wanted.file, wanted, folder, origin=PACKAGED)
    if source_dir is None:
        return _download(edition, wanted, folder, report)
    source = file_in(source_dir, edition, workbook)
    report(f'Copying {source}')
    return _copy(source, wanted, folder, origin=str(source))


def file_in(source_dir: Path, edition: Edition, workbook: str) -> Path:
    """Return the file of a user's folder that a workbook is read from.

    Args:
        source_dir: as of `fetch_workbook`.
        edition: the edition.
        workbook: its name.

    Raises:
        ConfigurationError: the edition has no such workbook.
        SourceError: the folder has no file of it.
    """
    places = _places(edition, edition.workbook(workbook), source_dir)
    for path in places:
        if path.is_file():
            return path
    raise SourceError(
        f'There is no {" or ".join(map(str, places))}: put the {workbook} workbook of edition '
        f'{edition.name} there, or unset NAICS_SOURCE_DIR and leave out --source-dir to fetch it '
        'from the network.'
    )


def source_path(edition: Edition, workbook: str, folder: Path) -> Path:
    """Return the file of a source folder that holds a workbook: the .xlsx, or a CSV copy of it.

    Where neither is there it is the path of the .xlsx, for the message of whoever reads it.
    """
    forms = _forms(edition.workbook(workbook), folder)
    return next((path for path in forms if path.is_file()), forms[0])


def _forms(workbook: Workbook, folder: Path) -> list[Path]:
    """Return the paths that a workbook may have in a source folder; at most one is there."""
    csv = [] if workbook.csv is None else [folder / Path(workbook.csv).name]
    return [folder / workbook.file, *csv]


def _places(edition: Edition, workbook: Workbook, source_dir: Path) -> list[Path]:
    places = [source_dir / edition.name / workbook.file]
    if workbook.csv is not None:
        copy = source_dir / workbook.csv
        places += [copy.with_name(workbook.file), copy]
    return places


def _copy(source: Path, workbook: Workbook, folder: Path, *, origin: str) -> Provenance:
    try:
        content = read_steady(source)
    except DataError as error:
        raise SourceError(str(error)) from None
    target = folder / (source.name if source.suffix == CSV else workbook.file)
    return _store(Received(content, None, None), workbook, target, origin=origin, name=str(source))


def _store(
    received: Received, workbook: Workbook, target: Path, *, origin: str, name: str
) -> Provenance:
    """Write bytes and their provenance, if they are the workbook that the edition names."""
    content = received.content
    try:
        check_layout(content, workbook, target.suffix, name=name)
    except WorkbookError as error:
        raise SourceError(str(error)) from None
    write_bytes(content, target)
    digest = hashlib.sha256(content).hexdigest()
    provenance = Provenance(
        path=target,
        origin=origin,
        etag=received.etag,
        last_modified=received.last_modified,
        sha256=digest,
        bytes=len(content),
        fetched_at=datetime.now(UTC).isoformat(timespec='seconds'),
        known=is_known(target, digest, workbook),
    )
    write_provenance(provenance)
    for path in _forms(workbook, target.parent):
        _part_path(path).unlink(missing_ok=True)
        if path != target:
            path.unlink(missing_ok=True)
            provenance_path(path).unlink(missing_ok=True)
    return provenance


def _part_path(path: Path) -> Path:
    return path.with_name(f'.{path.name}.part')


def _download(
    edition: Edition, workbook: Workbook, folder: Path, report: Callable[[str], None]
) -> Provenance:
    url = workbook.url
    if url is None:
        raise SourceError(
            f'The {workbook.name} workbook of edition {edition.name} has no URL: add one to '
            f'{shown_editions_file()}.'
        )
    target = folder / workbook.file
    present = read_provenance(target, workbook)
    if present is not None and not present.came_from(url):
        present = None

    report(f'Fetching {without_passwords(url)}')
    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=RETRY_WAIT,
        retry=tenacity.retry_if_exception(_is_passing),
        before_sleep=lambda state: report(f'Attempt {state.attempt_number} failed; trying again'),
        reraise=True,
    )
    try:
        received = retrying(
            fetch_bytes,
            url,
            _part_path(target),
            etag=present and present.etag,
            last_modified=present and present.last_modified,
            report=report,
        )
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        gone = status in (httpx.codes.NOT_FOUND, httpx.codes.GONE)
        remedy = out_of_date() if gone else _LATER
        raise _unavailable(edition, workbook, f'HTTP {status}', remedy) from error
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise _unavailable(edition, workbook, reason, _LATER) from error
    if received is not None:
        shown = without_passwords(url)
        return _store(received, workbook, target, origin=shown, name=shown)
    assert present is not None, 'a condition was sent'
    report(f'Not changed since {present.fetched_at}')
    return present


def _is_passing(error: BaseException) -> bool:
    """Whether another attempt may help: the line failed, or the server has trouble for now."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= 500 or error.response.status_code == 429
    # A server that sends us on to file:// does so the next time.
    return isinstance(error, httpx.TransportError) and not isinstance(
        error, httpx.UnsupportedProtocol
    )


def _unavailable(edition: Edition, workbook: Workbook, reason: str, remedy: str) -> SourceError:
    return SourceError(
        f'Could not fetch {without_passwords(workbook.url or "")} ({reason}): {remedy}, or set '
        'NAICS_SOURCE_DIR to a folder laid out as <edition>/<file> (here '
        f'{edition.name}/{workbook.file}).'
    )
