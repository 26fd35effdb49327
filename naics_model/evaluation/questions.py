"""What is asked, and of whom: the codes of an edition and its held-out activities.

Only activities whose `split` is `heldout` are asked; the others may have been read in training.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from naics_model.errors import DataError
from naics_model.storage.files import read_parquet
from naics_model.taxonomy.tree import Taxonomy

QUERY_SEED = 0


@dataclass(frozen=True)
class Questions:
    """The edition's codes and what is asked about them.

    Attributes:
        titles: (n,).
        documents: (n,) what is published of a code as one text: title, description, illustrative
            examples. Exclusions are left out: they name what a code is not.
        candidates: (c,) indices of the six-digit codes.
        texts: the q queries; truth: (q,) the right candidate of each, as a position in
            `candidates`.
        held_out: number of held-out activities, of which the queries may be a part.
    """

    taxonomy: Taxonomy
    titles: tuple[str, ...]
    documents: tuple[str, ...]
    candidates: NDArray[np.intp]
    texts: tuple[str, ...]
    truth: NDArray[np.intp]
    held_out: int

    @property
    def candidate_codes(self) -> list[str]:
        return [self.taxonomy.codes[i] for i in self.candidates]


def read_questions(descriptions: Path, activities: Path, max_queries: int | None) -> Questions:
    """Read the codes and the held-out activities of an edition.

    Raises:
        DataError: a file is missing, an activity's code is not a six-digit code of the edition, or
            no activity is held out.
    """
    described = read_parquet(descriptions).sort('index')
    taxonomy = Taxonomy.from_codes(described['code'].to_list())
    titles = tuple(described['title'])
    candidates = np.flatnonzero(taxonomy.levels == 6)
    position = {taxonomy.codes[i]: row for row, i in enumerate(candidates)}

    held_out = read_parquet(activities).filter(pl.col('split') == 'heldout')
    unknown = held_out.filter(~pl.col('code').is_in(list(position)))['code'].unique().sort()
    if len(unknown):
        raise DataError(
            f'{activities} has activities of {", ".join(unknown[:5])}, which are not six-digit '
            f'codes of {descriptions}: build both for the same edition.'
        )
    if held_out.is_empty():
        raise DataError(
            f'{activities} holds no held-out activity to ask about: build the activities again.'
        )
    asked = held_out
    if max_queries is not None and max_queries < len(held_out):
        chosen = np.random.default_rng(QUERY_SEED).choice(len(held_out), max_queries, replace=False)
        asked = held_out[np.sort(chosen)]
    return Questions(
        taxonomy=taxonomy,
        titles=titles,
        documents=tuple(
            f'{title}. {text} {examples or ""}'.strip()
            for title, text, examples in described.select(
                'title', 'description', 'examples'
            ).iter_rows()
        ),
        candidates=candidates,
        texts=tuple(asked['text']),
        truth=np.array([position[code] for code in asked['code']], np.intp),
        held_out=len(held_out),
    )
