"""What is asked, and of whom: the codes of an edition and the entries of its index.

An entry whose `split` is `heldout` stands in no text that a model reads; the others may have been
read in training, and are known when a question is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from naics_model.corpus.descriptions import taxonomy_of
from naics_model.corpus.text import codes_named_in
from naics_model.errors import DataError
from naics_model.storage.files import read_parquet
from naics_model.taxonomy.tree import Taxonomy


@dataclass(frozen=True)
class Questions:
    """The codes of an edition and the entries of its index, in their order.

    Attributes:
        taxonomy: the n codes; titles: (n,).
        documents: (n,) see `documents_of`.
        candidates: (c,) indices of the six-digit codes.
        texts: (e,) the entries; owners: (e,) the right candidate of each, as a position in
            `candidates`.
        held_out: (e,) True for the entries that are asked under the warm protocol.
        quoted: (e,) True for those that stand word for word in a description or an example.
    """

    taxonomy: Taxonomy
    titles: tuple[str, ...]
    documents: tuple[str, ...]
    candidates: NDArray[np.intp]
    texts: tuple[str, ...]
    owners: NDArray[np.intp]
    held_out: NDArray[np.bool_]
    quoted: NDArray[np.bool_]

    @property
    def candidate_codes(self) -> list[str]:
        return [self.taxonomy.codes[i] for i in self.candidates]

    @property
    def candidate_documents(self) -> list[str]:
        return [self.documents[i] for i in self.candidates]

    def entries(self, chosen: NDArray[np.bool_]) -> list[str]:
        """Return the texts of the chosen entries."""
        return [self.texts[i] for i in np.flatnonzero(chosen)]


def read_questions(descriptions: Path, activities: Path) -> Questions:
    """Read the codes and the index of an edition.

    Raises:
        DataError: a file is missing, an entry's code is not a six-digit code of the edition, or
            fewer than two entries are held out.
    """
    codes = read_parquet(descriptions)
    taxonomy = taxonomy_of(codes)
    candidates = np.flatnonzero(taxonomy.levels == 6)
    position = {taxonomy.codes[i]: row for row, i in enumerate(candidates)}
    entries = read_parquet(activities)
    unknown = entries.filter(~pl.col('code').is_in(list(position)))['code'].unique().sort()
    if len(unknown):
        raise DataError(
            f'{activities} has activities of {", ".join(unknown[:5])}, which are not six-digit '
            f'codes of {descriptions}: build both for the same edition.'
        )
    held_out = (entries['split'] == 'heldout').to_numpy()
    # Two at least: a confidence is fitted on one half and used on the other.
    if held_out.sum() < 2:
        raise DataError(
            f'{activities} holds {held_out.sum()} held-out activities, too few to ask about: build '
            'the activities again.'
        )
    return Questions(
        taxonomy=taxonomy,
        titles=tuple(codes['title']),
        documents=tuple(documents_of(codes)),
        candidates=candidates,
        texts=tuple(entries['text']),
        owners=np.array([position[code] for code in entries['code']], np.intp),
        held_out=held_out,
        quoted=entries['verbatim'].to_numpy(),
    )


def documents_of(descriptions: pl.DataFrame) -> list[str]:
    """Return what is published of each code as one text: title, description, examples.

    Exclusions are left out: they name what a code is not.
    """
    parts = ('title', 'description', 'examples')
    joined = descriptions.select(pl.concat_str(parts, separator='. ', ignore_nulls=True))
    return joined.to_series().to_list()


@dataclass(frozen=True)
class Exclusions:
    """The cross-reference sentences of an edition, once for each code that they name.

    Attributes:
        texts: the s sentences that name a code, each once.
        sentence: (m,) position in `texts`; code, target: (m,) indices of the code in whose text it
            stands and of the one that it names.
    """

    texts: tuple[str, ...]
    sentence: NDArray[np.intp]
    code: NDArray[np.intp]
    target: NDArray[np.intp]


def exclusions_of(descriptions: pl.DataFrame, taxonomy: Taxonomy) -> Exclusions:
    """Return the sentences that say what belongs to another code.

    Args:
        descriptions: the edition's descriptions.
        taxonomy: its codes.
    """
    places: dict[str, int] = {}
    rows: list[tuple[int, int, int]] = []
    for index, lines in enumerate(descriptions['excluded']):
        for line in (lines or '').splitlines():
            for target in codes_named_in(line, taxonomy.index):
                if target != taxonomy.codes[index]:
                    place = places.setdefault(line, len(places))
                    rows.append((place, index, taxonomy.index[target]))
    table = np.array(rows, np.intp).reshape(-1, 3)
    return Exclusions(tuple(places), *table.T)
