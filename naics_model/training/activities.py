"""Index entries as queries of a step: whose they are, and their tokens.

Only entries of `train`: a held-out one never leaves this module's reader. How they are compared
with the codes is the module's affair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from naics_model.encoder.tokens import MAX_LENGTH, ChannelTokens, Ragged, cut_texts
from naics_model.errors import DataError
from naics_model.storage.files import read_parquet


class AskedEntries(NamedTuple):
    """The queries of a step.

    Attributes:
        tokens: of Q entries, for the title channel.
        owner: int64 (Q,), the code of each, as a position among the step's codes.
    """

    tokens: ChannelTokens
    owner: NDArray[np.int64]


@dataclass(frozen=True)
class Activities:
    """The entries that may be learned from, ordered by their code.

    Attributes:
        texts: e entries, cut into tokens; none is blank.
        pad_id: of the tokenizer.
        starts: int64 (n + 1,), the entries of code i are starts[i] to starts[i + 1] - 1.
    """

    texts: Ragged
    pad_id: int
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.starts[-1])

    def draw(
        self, codes: NDArray[np.int64], most: int, generator: np.random.Generator
    ) -> AskedEntries:
        """Draw entries of some codes, each at most once, all entries equally likely.

        Args:
            codes: (M,) distinct code indices of a step.
            most: how many at most; all that there are, where those are fewer.
            generator: source of randomness.
        """
        counts = self.starts[codes + 1] - self.starts[codes]
        total = int(counts.sum())
        # Numbered through over the codes: the k-th entry of all is an entry of code `owner`.
        number = generator.choice(total, min(most, total), replace=False, shuffle=False)
        ends = np.cumsum(counts)
        owner = np.searchsorted(ends, number, side='right')
        entry = self.starts[codes[owner]] + number - (ends[owner] - counts[owner])
        return AskedEntries(self.texts.batch(entry, self.pad_id), owner.astype(np.int64))


def read_activities(
    path: Path, codes: Sequence[str], backbone: str, max_length: int = MAX_LENGTH
) -> Activities:
    """Read the train entries of an edition, and cut them for a backbone.

    Args:
        path: activities.parquet of the edition, or of a protocol's view.
        codes: the edition's codes, by index.
        backbone: name, see `resolve_backbone`.
        max_length: longer entries are cut here.

    Raises:
        DataError: the file is missing, or names a code that is not among `codes`.
    """
    place = {code: index for index, code in enumerate(codes)}
    entries = read_parquet(path).filter(
        (pl.col('split') == 'train') & (pl.col('text').str.strip_chars() != '')
    )
    unknown = entries.filter(~pl.col('code').is_in(list(place)))['code']
    if len(unknown):
        raise DataError(
            f'{path} has activities of {unknown[0]}, which is no code of the relation index: build '
            'both for the same edition.'
        )
    owners = np.array([place[code] for code in entries['code']], np.int64)
    order = np.argsort(owners, kind='stable')
    cut = cut_texts([entries['text'][int(i)] for i in order], backbone, max_length)
    starts = np.searchsorted(owners[order], np.arange(len(place) + 1))
    return Activities(cut.texts, cut.pad_id, starts.astype(np.int64))
