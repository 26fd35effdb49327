"""What is on disk of an edition: workbooks, tables, trained stages, embeddings, release.

Only whether files are there, whose bytes the workbooks are, how large and how old everything is;
whether tables keep their guarantees is told by `naics data validate`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

from naics_model.corpus.download import source_path
from naics_model.corpus.editions import edition
from naics_model.corpus.provenance import read_provenance
from naics_model.dataset.checks import CHECKED
from naics_model.release.bundle import RELEASE_FILE
from naics_model.storage.files import read_json
from naics_model.storage.layout import EditionFolder
from naics_model.training.stages import STAGES

MISSING, NEW_CONTENT = 'missing', 'new content'
# Of a workbook's bytes: this release was tested with them, or not, or it can't be told.
_BYTES = {True: 'known', False: NEW_CONTENT, None: 'of no known digest'}

_TABLES = (*CHECKED, 'token_cache')
_EMBEDDINGS = {'text_embeddings': 'text', 'refined_embeddings': 'refined'}


@dataclass(frozen=True)
class Holding:
    """What there is of an edition.

    Attributes:
        edition: its name.
        workbooks: how many are bundled, known, new content, of no known digest, or missing.
        tables: which data files are there, and
        lacking: which are not.
        stages: which training stages have a model.
        embeddings: `text`, `refined`.
        released: which embeddings the release has; None without a release.
        bytes: of all files.
        newest: when the youngest was written; None without files.
    """

    edition: str
    workbooks: dict[str, int]
    tables: tuple[str, ...]
    lacking: tuple[str, ...]
    stages: tuple[str, ...]
    embeddings: tuple[str, ...]
    released: str | None
    bytes: int
    newest: datetime | None


def holding(folder: EditionFolder) -> Holding:
    """Look at what there is of an edition.

    Raises:
        ConfigurationError: there is no such edition.
        DataError: the record of its release is damaged.
    """
    known = edition(folder.edition)
    names = [name for name in _TABLES if name != 'concordance' or name in known.workbooks]
    there = tuple(name for name in names if folder.file(name).is_file())
    release = folder.release / RELEASE_FILE
    files = [path.stat() for path in folder.path.rglob('*') if path.is_file()]
    return Holding(
        edition=folder.edition,
        workbooks=_workbooks(folder),
        tables=there,
        lacking=tuple(name for name in names if name not in there),
        # Whatever a model consists of; naming its files would take torch along.
        stages=tuple(name for name in STAGES if any((folder.stage(name) / 'model').glob('*'))),
        embeddings=tuple(word for name, word in _EMBEDDINGS.items() if folder.file(name).is_file()),
        released=read_json(release)['embeddings'] if release.is_file() else None,
        bytes=sum(status.st_size for status in files),
        newest=datetime.fromtimestamp(max(s.st_mtime for s in files), UTC) if files else None,
    )


def _workbooks(folder: EditionFolder) -> dict[str, int]:
    known = edition(folder.edition)
    found: Counter[str] = Counter()
    for kind, book in known.workbooks.items():
        provenance = read_provenance(source_path(known, kind, folder.source), book)
        if provenance is None:
            found[MISSING] += 1
        else:
            found['bundled' if known.packaged else _BYTES[provenance.known]] += 1
    return dict(found)
