"""The labelled phrases of an edition as tokens, and the order in which a fit reads them.

Reads `phrases.parquet`, which has no held-out entry. How phrases are compared with codes is the
module's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from naics_model.encoder.tokens import MAX_LENGTH, ChannelTokens, Ragged, cut_texts
from naics_model.errors import DataError
from naics_model.jobs.seeds import derived_seed
from naics_model.storage.files import read_parquet


@dataclass(frozen=True)
class Phrases:
    """Labelled phrases, cut into tokens.

    Attributes:
        texts: the p phrases; none is blank.
        pad_id: of the tokenizer.
        nodes: int64 (p,), index of the code that each is labelled with, of any level.
        entries: int64, the positions of index entries to train on, and
        others: int64, those of titles, examples and sentences to train on.
        validation: int64, the positions of entries set aside from training.
    """

    texts: Ragged
    pad_id: int
    nodes: NDArray[np.int64]
    entries: NDArray[np.int64]
    others: NDArray[np.int64]
    validation: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.nodes)

    def tokens(self, rows: NDArray[np.int64]) -> ChannelTokens:
        """Return the tokens of some phrases, padded to the longest of them."""
        return self.texts.batch(rows, self.pad_id)


def read_phrases(
    path: Path, codes: Sequence[str], backbone: str, max_length: int = MAX_LENGTH
) -> Phrases:
    """Read the phrases of an edition, and cut them for a backbone.

    Args:
        path: phrases.parquet of the edition, or of a protocol's view.
        codes: the edition's codes, by index.
        backbone: name, see `resolve_backbone`.
        max_length: longer phrases are cut here.

    Raises:
        DataError: the file is missing, has nothing to train on, or names a code that is not among
            `codes`.
    """
    place = {code: index for index, code in enumerate(codes)}
    rows = read_parquet(path).filter(pl.col('text').str.strip_chars() != '')
    unknown = rows.filter(~pl.col('code').is_in(list(place)))['code']
    if len(unknown):
        raise DataError(
            f'{path} has phrases of {unknown[0]}, which is no code of the relation index: build '
            'both for the same edition.'
        )
    cut = cut_texts(rows['text'].to_list(), backbone, max_length)
    train = (rows['split'] == 'train').to_numpy()
    if not train.any():
        raise DataError(f'{path} has no phrase to train on: build it again.')
    entry = (rows['source'] == 'entry').to_numpy()
    return Phrases(
        texts=cut.texts,
        pad_id=cut.pad_id,
        nodes=np.array([place[code] for code in rows['code']], np.int64),
        entries=np.flatnonzero(train & entry),
        others=np.flatnonzero(train & ~entry),
        validation=np.flatnonzero(~train),
    )


class Passes:
    """Positions in an endless row of passes over n things, each pass in an order of its own.

    A function of the position alone, so that a fit that goes on at any step, in any number of
    processes, reads what an uninterrupted one would.
    """

    def __init__(self, count: int, seed: int) -> None:
        self._count = count
        self._seed = seed
        self._known: tuple[int, NDArray[np.int64]] | None = None

    def at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what stands at some positions, counted from 0 at the first pass."""
        passes, within = np.divmod(positions, self._count)
        found = np.empty(len(positions), np.int64)
        for number in np.unique(passes):
            chosen = passes == number
            found[chosen] = self._order(int(number))[within[chosen]]
        return found

    def _order(self, number: int) -> NDArray[np.int64]:
        if self._known is None or self._known[0] != number:
            generator = np.random.default_rng(derived_seed(self._seed, number))
            self._known = (number, generator.permutation(self._count))
        return self._known[1]
