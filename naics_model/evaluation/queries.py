"""Texts as points: what the encoder makes of questions, kept in a file so that it is made once.

The embeddings of a run and the refined ones are asked the same questions, and a minute of encoding
is spared by the second. Points lie in the space of the model; what is near them is measured
elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from naics_model.encoder.embedder import NaicsEmbedder
from naics_model.encoder.pretrained import CONFIG_FILE, WEIGHTS_FILE
from naics_model.encoder.tokens import MAX_LENGTH
from naics_model.errors import DataError
from naics_model.storage.files import sha256_of
from naics_model.storage.tensors import read_tensors, write_tensors

# Texts between two lines of progress: about two seconds' work on two cores.
_CHUNK = 512
_WHAT = 'a file of encoded questions'
# To be raised when the same model would make other points of the same texts.
_RULES = 1


@dataclass(frozen=True)
class Encoded:
    """Texts and their points.

    Attributes:
        place: text -> its row.
        tangent: float32 (t, d), tangent vectors at the origin.
        curvature: c of the model's space.
    """

    place: dict[str, int]
    tangent: NDArray[np.float32]
    curvature: float

    def of(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the tangent vectors (len(texts), d) of some of the texts."""
        return self.tangent[[self.place[text] for text in texts]]


def encode_texts(
    model: Path, texts: Sequence[str], kept: Path, log: Callable[[str], None]
) -> Encoded:
    """Encode texts through the title channel, or read what was kept of the same texts and model.

    Args:
        model: folder of the exported encoder.
        texts: each once.
        kept: the file to read, or to write.
        log: told the progress.

    Raises:
        DataError: the model's files are missing.
    """
    asked = {
        'model': [sha256_of(model / name) for name in (CONFIG_FILE, WEIGHTS_FILE)],
        'rules': _RULES,
        'max_length': MAX_LENGTH,
        'texts': hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest(),
    }
    place = {text: row for row, text in enumerate(texts)}
    if (known := _read(kept, asked)) is not None:
        log(f'{len(texts):,} questions were encoded before: {kept}')
        return Encoded(place, *known)
    embedder = NaicsEmbedder.from_pretrained(model)
    tangent = _encode(embedder, texts, log)
    header = {**asked, 'curvature': embedder.curvature}
    write_tensors({'tangent': tangent}, header, kept)
    return Encoded(place, tangent, embedder.curvature)


def _read(path: Path, asked: Mapping[str, object]) -> tuple[NDArray[np.float32], float] | None:
    """Return what a file holds if it is of what is asked."""
    try:
        header, tensors = read_tensors(path, _WHAT)
        if {key: header[key] for key in asked} == asked:
            return tensors['tangent'], float(header['curvature'])
    except (DataError, KeyError, TypeError):
        # Missing, or of another kind: it is made anew.
        pass
    return None


def _encode(
    embedder: NaicsEmbedder, texts: Sequence[str], log: Callable[[str], None]
) -> NDArray[np.float32]:
    """Return tangent vectors in the order of the texts; short texts first, so that little is
    padded, and in chunks, so that a person sees it move."""
    import torch

    if torch.cuda.is_available():
        embedder = embedder.cuda()
    tangent = np.zeros((len(texts), embedder.settings['hyperbolic_dim']), np.float32)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for number, start in enumerate(range(0, len(order), _CHUNK), start=1):
        rows = order[start : start + _CHUNK]
        tangent[rows] = embedder.encode([texts[i] for i in rows], log=log).numpy()
        if number % 8 == 0:
            log(f'questions encoded: {start + len(rows):,} of {len(texts):,}')
    return tangent
