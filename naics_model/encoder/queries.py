"""Texts as points: what the encoder makes of questions, kept in a file so that it is made once.

Refinement learns from some of them, and text and refined embeddings are asked the same: each text
is encoded by whoever needs it first. Points lie in the space of the model; what is near them is
measured elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from naics_model.encoder.embedder import NaicsEmbedder
from naics_model.encoder.pretrained import CONFIG_FILE, WEIGHTS_FILE
from naics_model.encoder.table import Embeddings
from naics_model.encoder.tokens import MAX_LENGTH
from naics_model.errors import DataError
from naics_model.storage.files import sha256_of
from naics_model.storage.tensors import read_tensors, write_tensors

# Texts between two lines of progress: about two seconds' work on two cores.
_CHUNK = 512
_WHAT = 'a file of encoded questions'
# To be raised when the same model would make other points of the same texts.
_RULES = 3


@dataclass(frozen=True)
class Encoded:
    """Texts and their points.

    Attributes:
        place: text -> its row.
        unit: float32 (t, width), unit vectors of the flat reading.
        tangent: float32 (t, d), tangent vectors at the origin.
        curvature: c of the model's space.
    """

    place: dict[str, int]
    unit: NDArray[np.float32]
    tangent: NDArray[np.float32]
    curvature: float

    def rows(self, texts: Sequence[str]) -> list[int]:
        """Return where some of the texts are."""
        return [self.place[text] for text in texts]

    def of(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the tangent vectors (len(texts), d) of some of the texts."""
        return self.tangent[self.rows(texts)]

    def units_of(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the unit vectors (len(texts), width) of some of the texts."""
        return self.unit[self.rows(texts)]


def encode_texts(
    model: Path, texts: Sequence[str], kept: Path, log: Callable[[str], None]
) -> Encoded:
    """Encode texts through the first channel, but for those that are kept of the same model.

    Two jobs that ask for texts at the same time encode each once: the second waits.

    Args:
        model: folder of the exported encoder.
        texts: each once.
        kept: the file to read, and to add to.
        log: told the progress.

    Raises:
        DataError: the model's files are missing.
    """
    asked = {
        'model': [sha256_of(model / name) for name in (CONFIG_FILE, WEIGHTS_FILE)],
        'rules': _RULES,
        'max_length': MAX_LENGTH,
    }
    kept.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(kept.with_name(f'.{kept.name}.lock')):
        known = _read(kept, asked)
        missing = [text for text in texts if known is None or text not in known.place]
        if known is not None and not missing:
            log(f'{len(texts):,} questions were encoded before: {kept}')
            return known
        embedder = NaicsEmbedder.from_pretrained(model)
        unit, tangent = _encode(embedder, missing, log)
        if known is not None:
            missing = [*known.place, *missing]
            unit = np.concatenate([known.unit, unit])
            tangent = np.concatenate([known.tangent, tangent])
        header = {**asked, 'curvature': embedder.curvature, 'texts': missing}
        write_tensors({'unit': unit, 'tangent': tangent}, header, kept)
    place = {text: row for row, text in enumerate(missing)}
    return Encoded(place, unit, tangent, embedder.curvature)


def check_one_space(embeddings: Embeddings, encoded: Encoded) -> None:
    """Check that codes and questions lie in the same space.

    Raises:
        DataError: they do not.
    """
    # Tables hold the curvature as float32.
    if embeddings.tangent.shape[1] != encoded.tangent.shape[1] or np.float32(
        embeddings.curvature
    ) != np.float32(encoded.curvature):
        raise DataError(
            'The model encodes into another space than that of the embeddings (dimension or '
            'curvature differs): give the model that made them.'
        )


def _read(path: Path, asked: Mapping[str, object]) -> Encoded | None:
    """Return what a file holds if it is of what is asked."""
    try:
        header, tensors = read_tensors(path, _WHAT)
        if {key: header[key] for key in asked} == asked:
            place = {text: row for row, text in enumerate(header['texts'])}
            return Encoded(place, tensors['unit'], tensors['tangent'], float(header['curvature']))
    except (DataError, KeyError, TypeError):
        # Missing, or of another kind: it is made anew.
        pass
    return None


def _encode(
    embedder: NaicsEmbedder, texts: Sequence[str], log: Callable[[str], None]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return unit and tangent vectors in the order of the texts.

    Short texts are encoded first, so that little is padded, and in chunks, so that a person sees it
    move.
    """
    import torch

    if torch.cuda.is_available():
        embedder = embedder.cuda()
    unit = np.zeros((len(texts), embedder.channels.width), np.float32)
    tangent = np.zeros((len(texts), embedder.settings['hyperbolic_dim']), np.float32)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for number, start in enumerate(range(0, len(order), _CHUNK), start=1):
        rows = order[start : start + _CHUNK]
        output = embedder.encode([texts[i] for i in rows], log=log)
        unit[rows], tangent[rows] = output.unit.numpy(), output.tangent.numpy()
        if number % 8 == 0:
            log(f'questions encoded: {start + len(rows):,} of {len(texts):,}')
    return unit, tangent
