"""The phrases that a ranking may know: to look at, and to fit its weights on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from naics_model.errors import DataError
from naics_model.storage.files import read_parquet


@dataclass(frozen=True)
class LabelledPhrases:
    """Phrases of six-digit codes.

    Attributes:
        texts: the p phrases.
        owners: int64 (p,), the position of each phrase's code among the candidates.
    """

    texts: tuple[str, ...]
    owners: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class KnownPhrases:
    """What a ranking may use beside the codes.

    Attributes:
        train: phrases that the model was trained on; the nearest of each code is looked at.
        validation: entries set aside from training, to fit the weights on; perhaps none.
    """

    train: LabelledPhrases
    validation: LabelledPhrases

    @property
    def texts(self) -> list[str]:
        """All texts, each once."""
        return list(dict.fromkeys([*self.train.texts, *self.validation.texts]))


def read_known(phrases: Path, candidates: Sequence[str]) -> KnownPhrases:
    """Read the phrases of six-digit codes; those of higher nodes name no code, and are left out.

    Args:
        phrases: phrases.parquet of the edition, or of a protocol's view.
        candidates: the six-digit codes that are ranked.

    Raises:
        DataError: the file is missing, or has no phrase of a candidate.
    """
    place = {code: row for row, code in enumerate(candidates)}
    rows = read_parquet(phrases).filter(pl.col('code').is_in(list(place)))
    train, validation = (
        LabelledPhrases(
            tuple(part['text']), np.array([place[code] for code in part['code']], np.int64)
        )
        for part in (rows.filter(split='train'), rows.filter(split='validation'))
    )
    if not len(train):
        raise DataError(
            f'{phrases} has no phrase of a six-digit code: build it again for this edition.'
        )
    return KnownPhrases(train, validation)
