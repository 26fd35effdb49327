"""The released model of an edition: the refined embeddings if they pass the gate, otherwise those
of the text, with the encoder that places free text in the same space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from naics_model import __version__
from naics_model.checks import Check
from naics_model.errors import DataError
from naics_model.evaluation.gate import Thresholds, judge
from naics_model.evaluation.guide import first_figures
from naics_model.jobs.command import require_file
from naics_model.storage.files import atomic_write, read_json, sha256_of, write_bytes, write_json
from naics_model.storage.layout import EditionFolder
from naics_model.training.stages import LAST_STAGE

RELEASE_FILE = 'release.json'
CARD_FILE = 'README.md'
EMBEDDINGS_FILE = 'embeddings.parquet'


@dataclass(frozen=True)
class Released:
    """What was released.

    Attributes:
        which: `refined` or `text`.
        why: in a sentence.
        verdicts: of the gate.
        folder: the bundle.
        version: sha256 over its content.
        figures: what a report begins with, of these embeddings, by the figures' full names.
    """

    which: str
    why: str
    verdicts: tuple[Check, ...]
    folder: Path
    version: str
    figures: Mapping[str, float]

    @property
    def score(self) -> float:
        """By what releases of an edition are compared: MRR of held-out activities, fused with the
        known phrases.
        """
        return self.figures[f'{self.which}_nearest/warm/mrr']


def gate_of(folder: EditionFolder, thresholds: Thresholds) -> tuple[Check, ...]:
    """Return the gate's verdicts on an edition's refined embeddings.

    Args:
        folder: the edition's files.
        thresholds: what is asked.

    Raises:
        DataError: a figure is missing, or was measured of other files than the edition has now.
    """
    return judge(_measured(folder), thresholds)


def _measured(folder: EditionFolder) -> dict[str, float]:
    """Return what was measured of the text and the refined embeddings that are there."""
    metrics: dict[str, float] = {}
    for what in ('text', 'refined'):
        result = read_json(folder.evaluated(what))
        table = folder.file(f'{what}_embeddings')
        require_file(table, 'The table')
        if result['details']['inputs'].get(table.stem) != sha256_of(table):
            raise DataError(
                f'{folder.evaluated(what)} was measured of other embeddings than {table}: measure '
                f'them again (`python -m naics_model.evaluation {what} --edition '
                f'{folder.edition}`).'
            )
        metrics |= result['metrics']
    return metrics


def release(folder: EditionFolder, thresholds: Thresholds) -> Released:
    """Gather the released model of an edition in its folder `release`.

    embeddings.parquet (see `encoder.table`), encoder/ (loaded by `NaicsEmbedder.from_pretrained`),
    README.md, and, written last, release.json: which embeddings these are and why, their first
    figures, the gate's verdicts, and the sha256 of each file.

    Args:
        folder: the edition's files.
        thresholds: of the gate.

    Raises:
        DataError: something is missing, or was measured of other files.
    """
    metrics = _measured(folder)
    verdicts = judge(metrics, thresholds)
    failed = [check for check in verdicts if not check.passed]
    which = 'text' if failed else 'refined'
    why = (
        'The refined embeddings do not pass the gate ('
        + '; '.join(check.sentence for check in failed)
        + '): these are the text embeddings.'
        if failed
        else 'The refined embeddings pass the gate.'
    )
    figures = {
        name: value
        for name, value in first_figures(metrics).items()
        if name.startswith((f'{which}/', f'{which}_nearest/'))
    }
    # Whatever it consists of; naming its files would take torch into the asset graph.
    model = folder.stage(LAST_STAGE) / 'model'
    encoder = sorted(path for path in model.glob('*') if path.is_file())
    if not encoder:
        raise DataError(f'The model {model} is not there: train the last stage again.')
    sources = {
        EMBEDDINGS_FILE: folder.file(f'{which}_embeddings'),
        **{f'encoder/{path.name}': path for path in encoder},
    }
    for name, source in sources.items():
        write_bytes(source.read_bytes(), folder.release / name)
    with atomic_write(folder.release / CARD_FILE) as temporary:
        temporary.write_text(_card(folder.edition, which, why, verdicts), encoding='utf-8')
    record: dict[str, Any] = {
        'edition': folder.edition,
        'software': __version__,
        'embeddings': which,
        'why': why,
        'figures': figures,
        'thresholds': asdict(thresholds),
        'verdicts': [
            {'name': v.name, 'passed': v.passed, 'asked': v.guarantee, 'found': v.sentence}
            for v in verdicts
        ],
        'files': {name: sha256_of(folder.release / name) for name in (*sources, CARD_FILE)},
    }
    write_json(record, folder.release / RELEASE_FILE)
    version = sha256_of(folder.release / RELEASE_FILE)
    return Released(which, why, verdicts, folder.release, version, figures)


def verdict_rows(verdicts: Sequence[Check]) -> list[dict[str, str]]:
    """Return verdicts as the rows of a table for people."""
    return [
        {
            'asked': check.guarantee.rstrip('.'),
            'found': check.sentence,
            'passed': 'yes' if check.passed else 'no',
        }
        for check in verdicts
    ]


def _card(edition: str, which: str, why: str, verdicts: Sequence[Check]) -> str:
    """Return the README of a release."""
    rows = [f'| {" | ".join(row.values())} |' for row in verdict_rows(verdicts)]
    table = '\n'.join(['| asked of refined embeddings | found | passed |', '|---|---|---|', *rows])
    return f"""\
# NAICS {edition}: hyperbolic embeddings

`{EMBEDDINGS_FILE}` has one row for each code: its place as a tangent vector at the origin
(`tangent`) and in Lorentz coordinates (`lorentz`, time first), in the space of curvature
-`curvature`, and its unit vector in the flat reading (`unit`). They are the **{which}
embeddings**. {why}

`encoder/` places free text in the same space:

```python
from pathlib import Path
from naics_model.encoder.embedder import NaicsEmbedder

encoder = NaicsEmbedder.from_pretrained(Path('encoder'))
found = encoder.encode(['Growing soybeans'])
found.tangent  # tangent vectors (1, d)
found.unit  # unit vectors (1, width)
```

The nearer a code, the better it fits: `naics_model.geometry.lorentz.pairwise_distance` between
`tangent` vectors, or the cosine between `unit` vectors.

{table}

`{RELEASE_FILE}` says the same for programs, with the sha256 of each file.
"""
