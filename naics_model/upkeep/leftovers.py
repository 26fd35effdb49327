"""Files of a data folder that nothing needs any more, and their removal.

What may go is decided from a listing and a few facts, without touching a file. Runs of Dagster and
MLflow are not known here. No torch: the asset graph cleans, too.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from naics_model.corpus.editions import load_editions
from naics_model.errors import DataError
from naics_model.protocols.view import FILES
from naics_model.storage.files import is_partial, read_json, sha256_of
from naics_model.storage.layout import CHECKPOINTS, CUT_OFF, UNFINISHED, EditionFolder
from naics_model.storage.tensors import read_header
from naics_model.training.stages import LAST_STAGE

FINISHED = 'checkpoints of finished fits'
ASIDE = 'fits that were cut off and put aside'
PARTIAL = 'files that were never whole'
OUTDATED = 'caches of other data'
LOGS = 'logs'
KINDS = (FINISHED, ASIDE, PARTIAL, OUTDATED, LOGS)

_RESULT = 'result.json'
_MODEL = 'model'
# What a download that broke off has left, to go on with (`corpus.download`).
_PART = re.compile(r'\..+\.part')


@dataclass(frozen=True)
class File:
    """A file of the data folder.

    Attributes:
        path: where it is.
        bytes: its size.
        modified: when it was written, in seconds since the epoch.
    """

    path: Path
    bytes: int
    modified: float


@dataclass(frozen=True)
class Leftover:
    """A file that nothing needs, and of which kind it is."""

    file: File
    kind: str


@dataclass(frozen=True)
class Facts:
    """What has to be read to know what is needed.

    Attributes:
        named: folder of a job -> the file name of the checkpoint that its result names.
        outdated: files made from other data than the edition has now.
        kept: files that something outside the data folder refers to.
    """

    named: Mapping[Path, str] = field(default_factory=dict)
    outdated: Collection[Path] = ()
    kept: Collection[Path] = ()


def list_files(root: Path) -> list[File]:
    """List the files of the known editions, and the logs beside them.

    Other folders of the data folder (MLflow's artifacts, a database) are not looked into.
    """
    paths = [path for name in load_editions() for path in (root / name).rglob('*')]
    found = []
    for path in sorted([*paths, *root.glob('*.log')]):
        # What is removed meanwhile is no leftover.
        with suppress(FileNotFoundError):
            if path.is_file() and not path.is_symlink():
                status = path.stat()
                found.append(File(path, status.st_size, status.st_mtime))
    return found


def read_facts(files: Sequence[File], root: Path, kept: Collection[Path] = ()) -> Facts:
    """Read what decides whether checkpoints and caches are needed.

    Args:
        files: those of `list_files`.
        root: the data folder.
        kept: files that something outside the data folder refers to, under the paths that they had
            when they were written: the folder may have been moved since, or be mounted elsewhere.
    """
    named: dict[Path, str] = {}
    outdated: set[Path] = set()
    for path in (file.path for file in files):
        # What is damaged is not known to be needless.
        with suppress(DataError, OSError, KeyError, TypeError):
            if path.name == _RESULT and (path.parent / CHECKPOINTS).is_dir():
                named[path.parent] = Path(read_json(path)['files']['checkpoint']['path']).name
                continue
            # The file may be an edition's, or of a model that was trained under a protocol.
            queries_of = EditionFolder(*_split(path.parents[1]))
            view = EditionFolder(*_split(path.parent))
            if path == queries_of.queries and _of_another_model(queries_of):
                outdated.add(path)
            elif path == view.view_record and _of_other_data(view, root):
                outdated |= {path, *map(view.file, FILES)}
    still_kept = {
        file.path
        for file in files
        for was in kept
        if was.parts[-len(tail := file.path.relative_to(root).parts) :] == tail
    }
    return Facts(named, outdated, still_kept)


def _split(folder: Path) -> tuple[Path, str]:
    return folder.parent, folder.name


def _of_another_model(folder: EditionFolder) -> bool:
    """Return whether encoded texts are another model's than the one that is there now."""
    # Whatever a model consists of; naming its files would take torch along.
    now = {sha256_of(path) for path in (folder.stage(LAST_STAGE) / _MODEL).glob('*')}
    header = read_header(folder.queries)
    return bool(now) and header is not None and not set(header['model']) <= now


def _of_other_data(view: EditionFolder, root: Path) -> bool:
    """Return whether a protocol's view was made from other tables than the edition has now."""
    record = read_json(view.view_record)
    source = EditionFolder(root, record['edition'])
    return any(sha256_of(source.file(name)) != was for name, was in record['sources'].items())


def leftovers(files: Sequence[File], facts: Facts, before: float) -> list[Leftover]:
    """Decide which files nothing needs any more.

    Of a finished fit that exported its model these are all checkpoints; of one that did not, all
    but the one that its result names. A fit that was cut off, and can be gone on with, has them all
    still.

    Args:
        files: those of the data folder.
        facts: see there.
        before: only files that were written before, in seconds since the epoch.
    """
    there = {file.path for file in files}
    exported = {path.parent.parent for path in there if path.parent.name == _MODEL}
    found = []
    for file in files:
        kind = _kind(file.path, there, exported, facts)
        if kind and file.modified < before and file.path not in facts.kept:
            found.append(Leftover(file, kind))
    return found


def _kind(
    path: Path, there: Collection[Path], exported: Collection[Path], facts: Facts
) -> str | None:
    if is_partial(path.name) or _PART.fullmatch(path.name):
        return PARTIAL
    if path.parent.name == CUT_OFF:
        return ASIDE
    if path in facts.outdated:
        return OUTDATED
    if path.suffix == '.log':
        return LOGS
    if path.suffix != '.ckpt' or path.parent.name != CHECKPOINTS:
        return None
    job = path.parent.parent
    finished = job / _RESULT in there and path.parent / UNFINISHED not in there
    named = path.parent / facts.named.get(job, '')
    needless = job in exported or (named in there and named != path)
    return FINISHED if finished and needless else None


def remove(found: Iterable[Leftover]) -> None:
    """Remove files, but for those that were written to since they were listed.

    The folder of a fit that was put aside goes with its last file.
    """
    for file in (leftover.file for leftover in found):
        with suppress(FileNotFoundError):
            if file.path.stat().st_mtime == file.modified:
                file.path.unlink()
        if file.path.parent.name == CUT_OFF:
            # Not empty yet, or gone already.
            with suppress(OSError):
                file.path.parent.rmdir()
