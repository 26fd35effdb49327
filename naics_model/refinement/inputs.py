"""What refinement reads: embeddings, the codes they are of, and phrases as queries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch

from naics_model.encoder.pretrained import CONFIG_FILE
from naics_model.encoder.queries import check_one_space, encode_texts
from naics_model.encoder.table import Embeddings, read_embeddings
from naics_model.errors import ConfigurationError, DataError
from naics_model.jobs.command import require_file
from naics_model.refinement.graph import Edges, exclusion_edges
from naics_model.refinement.module import Queries
from naics_model.storage.files import read_parquet
from naics_model.taxonomy.tree import LEVELS, Taxonomy


@dataclass(frozen=True)
class Files:
    """Where the inputs are.

    Attributes:
        embeddings: text_embeddings.parquet.
        descriptions: descriptions.parquet of the same codes.
        phrases: phrases.parquet, of which the train phrases of six-digit codes are read; None for
            refinement by the tree alone.
        encoder: folder of the exported model that made the embeddings; goes with `phrases`.
        queries: file that keeps what the encoder made of phrases; goes with them, too.
    """

    embeddings: Path
    descriptions: Path
    phrases: Path | None = None
    encoder: Path | None = None
    queries: Path | None = None


@dataclass(frozen=True)
class Inputs:
    """What is refined.

    Attributes:
        embeddings: of the codes.
        descriptions: of the same codes in the same order.
        taxonomy: theirs.
        excluded: which codes each code's text excludes.
        queries: the train phrases, where the encoder puts them; perhaps none.
    """

    embeddings: Embeddings
    descriptions: pl.DataFrame
    taxonomy: Taxonomy
    excluded: Edges
    queries: Queries


def read_inputs(files: Files, log: Callable[[str], None], encode: bool = True) -> Inputs:
    """Read and check all inputs; phrases that the encoder has not seen yet are encoded.

    Args:
        files: where they are.
        log: told the progress.
        encode: whether phrases are encoded; otherwise all lie at the origin, which costs a step
            as much, and nothing is written.

    Raises:
        DataError: a file is missing, they are not of the same codes, or the encoder did not make
            the embeddings.
        ConfigurationError: only some of phrases, encoder and queries are given.
    """
    require_file(files.embeddings, '--embeddings')
    require_file(files.descriptions, '--descriptions')
    embeddings = read_embeddings(files.embeddings)
    descriptions = read_parquet(files.descriptions)
    if embeddings.codes != tuple(descriptions['code']):
        raise DataError(
            f'{files.embeddings} and {files.descriptions} do not hold the same codes in the same '
            'order: embed the descriptions of this edition again.'
        )
    return Inputs(
        embeddings=embeddings,
        descriptions=descriptions,
        taxonomy=Taxonomy.from_codes(embeddings.codes),
        excluded=exclusion_edges(descriptions['excluded_codes'].to_list(), embeddings.codes),
        queries=_read_queries(files, embeddings, log, encode),
    )


def _read_queries(
    files: Files, embeddings: Embeddings, log: Callable[[str], None], encode: bool
) -> Queries:
    """Return the train phrases of six-digit codes as the encoder sees them."""
    encoder, kept = files.encoder, files.queries
    dim = embeddings.tangent.shape[1]
    if files.phrases is None or encoder is None or kept is None:
        if files.phrases or encoder or kept:
            raise ConfigurationError(
                '--phrases, --encoder and --queries go together: give all three, or none to '
                'refine by the tree alone.'
            )
        return Queries(torch.zeros(0, dim), torch.zeros(0, dtype=torch.int64))
    require_file(files.phrases, '--phrases')
    require_file(encoder / CONFIG_FILE, '--encoder')
    place = {code: index for index, code in enumerate(embeddings.codes)}
    rows = read_parquet(files.phrases).filter(pl.col('split') == 'train')
    unknown = rows.filter(~pl.col('code').is_in(list(place)))['code']
    if len(unknown):
        raise DataError(
            f'{files.phrases} has phrases of {unknown[0]}, which is no code of '
            f'{files.embeddings}: build both for the same edition.'
        )
    rows = rows.filter(pl.col('code').str.len_chars() == LEVELS[-1])
    owner = torch.tensor([place[code] for code in rows['code']], dtype=torch.int64)
    if not encode:
        return Queries(torch.zeros(len(owner), dim), owner)
    texts = rows['text'].to_list()
    encoded = encode_texts(encoder, list(dict.fromkeys(texts)), kept, log)
    check_one_space(embeddings, encoded)
    return Queries(torch.from_numpy(encoded.of(texts)), owner)
