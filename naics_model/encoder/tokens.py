"""Texts cut into tokens once, kept ragged in one file, and gathered into padded batches.

No torch here: caches are built, and batches composed, in light processes. What a channel is and
which backbone cut the tokens is part of the file, so that a model can refuse a cache that was not
made for it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from naics_model.encoder.backbones import Backbone, resolve_backbone
from naics_model.errors import ConfigurationError, DataError
from naics_model.storage.files import read_parquet
from naics_model.storage.tensors import read_tensors, write_tensors

CHANNELS = ('title', 'description', 'excluded', 'examples')
"""The four texts of a code, by their column in descriptions.parquet."""

DOCUMENT = 'document'
"""The one channel of a model that reads a code as one text, see `TokenCache.document`."""
_DOCUMENT_PARTS = ('title', 'description', 'examples')

MAX_LENGTH = 128
"""Tokens per text by default; the packaged MiniLM was trained on this length."""


class ChannelTokens(NamedTuple):
    """The tokens of one channel for a batch of codes: of those P codes only that have the channel.

    Attributes:
        input_ids: int64 (P, L), padded to the longest of the batch.
        attention_mask: int64 (P, L), 1 on tokens, 0 on padding.
        rows: int64 (P,), the positions of these codes in the batch.
    """

    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    rows: NDArray[np.int64]


class Ragged(NamedTuple):
    """Texts end to end: text i is ids[offsets[i]:offsets[i + 1]]; an absent text is empty."""

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.offsets)

    def batch(self, indices: NDArray[np.integer], pad_id: int) -> ChannelTokens:
        """Gather some texts, padded to the longest of them.

        Args:
            indices: (B,) which texts, in the order of the batch.
            pad_id: fills up shorter ones.
        """
        lengths = self.lengths[indices]
        rows = np.flatnonzero(lengths)
        lengths = lengths[rows]
        columns = np.arange(lengths.max(initial=0))
        mask = columns < lengths[:, None]
        positions = self.offsets[indices[rows]][:, None] + columns
        ids = np.full(mask.shape, pad_id, np.int64)
        ids[mask] = self.ids[positions[mask]]
        return ChannelTokens(ids, mask.astype(np.int64), rows.astype(np.int64))


class CutTexts(NamedTuple):
    """Texts cut into tokens.

    Attributes:
        texts: the tokens; a blank text is empty.
        pad_id: the tokenizer's padding token.
        truncated: how many texts were longer than allowed.
    """

    texts: Ragged
    pad_id: int
    truncated: int


@dataclass(frozen=True)
class TokenCache:
    """The tokens of every code of an edition.

    Attributes:
        channels: by channel name, one text per code, in the order of descriptions.parquet.
        backbone: name of the backbone whose tokenizer cut the texts; with its `revision` and
            `digest`.
        max_length: texts were cut to this many tokens.
        pad_id: the tokenizer's padding token.
        content: sha256 of the texts (see `content_digest`).
        truncated: by channel, how many texts were longer than `max_length`.
    """

    channels: dict[str, Ragged]
    backbone: str
    revision: str
    digest: str
    max_length: int
    pad_id: int
    content: str
    truncated: dict[str, int]

    def __len__(self) -> int:
        return len(self.channels['title'].lengths)

    def batch(self, channel: str, indices: NDArray[np.integer]) -> ChannelTokens:
        """Gather one channel of some codes, padded to the longest of them.

        Args:
            channel: one of `CHANNELS`, or `DOCUMENT`.
            indices: (B,) code indices.
        """
        texts = self.document if channel == DOCUMENT else self.channels[channel]
        return texts.batch(indices, self.pad_id)

    @cached_property
    def document(self) -> Ragged:
        """Title, description and examples of each code as one text of at most `max_length` tokens.

        Exclusions are left out because they name what a code is not. The parts keep their end
        marker, which separates them; only the first keeps its start marker.
        """
        texts = []
        for code in range(len(self)):
            parts: list[NDArray[np.int32]] = []
            for channel in _DOCUMENT_PARTS:
                ragged = self.channels[channel]
                part = ragged.ids[ragged.offsets[code] : ragged.offsets[code + 1]]
                parts.append(part[1:] if parts else part)
            whole = np.concatenate(parts)
            if len(whole) > self.max_length:
                # The last token of a cut text is still the end marker.
                whole = np.append(whole[: self.max_length - 1], whole[-1])
            texts.append(whole)
        lengths = [len(text) for text in texts]
        return Ragged(
            ids=np.concatenate([*texts, np.zeros(0, np.int32)]).astype(np.int32),
            offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]).astype(np.int64),
        )

    def check_backbone(self, backbone: Backbone) -> None:
        """Refuse a backbone other than the one whose tokenizer made this cache.

        Raises:
            ConfigurationError: name, revision or digest differ.
        """
        if (self.backbone, self.digest) != (backbone.name, backbone.digest):
            raise ConfigurationError(
                f'The token cache was cut for backbone {self.backbone} ({self.digest[:12]}…), '
                f'but the model is on {backbone.name} ({backbone.digest[:12]}…): build the cache '
                'again for this backbone.'
            )

    def save(self, path: Path) -> None:
        """Write the cache as safetensors; equal caches give equal bytes."""
        tensors: dict[str, NDArray[Any]] = {}
        for channel, ragged in self.channels.items():
            tensors[f'{channel}.ids'] = ragged.ids
            tensors[f'{channel}.offsets'] = ragged.offsets
        header = {
            name: getattr(self, name)
            for name in ('backbone', 'revision', 'digest', 'max_length', 'pad_id', 'content')
        } | {'truncated': self.truncated}
        write_tensors(tensors, header, path)

    @classmethod
    def load(cls, path: Path) -> TokenCache:
        """Read a cache.

        Raises:
            DataError: the file is missing or is not a token cache.
        """
        header, tensors = read_tensors(path, 'a token cache')
        parts = [f'{channel}.{part}' for channel in CHANNELS for part in Ragged._fields]
        if tensors.keys() != set(parts):
            raise DataError(f'{path} is not a token cache: delete it and build it again.')
        channels = {
            channel: Ragged(*(tensors[f'{channel}.{part}'] for part in Ragged._fields))
            for channel in CHANNELS
        }
        return cls(channels=channels, **header)


def token_cache(
    descriptions: pl.DataFrame,
    *,
    backbone: str,
    max_length: int = MAX_LENGTH,
    source: Path | str = 'The table of descriptions',
) -> TokenCache:
    """Cut the four texts of every code into tokens.

    Args:
        descriptions: with `code` and a column for each of `CHANNELS`; texts that are null or blank
            count as absent.
        backbone: name, see `resolve_backbone`.
        max_length: longer texts are cut here; `truncated` of the result counts them.
        source: what an error names the table by.

    Raises:
        ConfigurationError: `max_length` is out of the backbone's range.
        DataError: a code has no title.
    """
    resolved = resolve_backbone(backbone)
    cut: dict[str, CutTexts] = {}
    for channel in CHANNELS:
        texts = [(text or '').strip() for text in descriptions[channel].to_list()]
        if channel == 'title' and not all(texts):
            code = descriptions['code'][texts.index('')]
            raise DataError(f'{source} has no title for code {code}: build it again.')
        cut[channel] = cut_texts(texts, backbone, max_length)
    return TokenCache(
        channels={channel: part.texts for channel, part in cut.items()},
        backbone=resolved.name,
        revision=resolved.revision,
        digest=resolved.digest,
        max_length=max_length,
        pad_id=cut['title'].pad_id,
        content=content_digest(descriptions),
        truncated={channel: part.truncated for channel, part in cut.items()},
    )


def build_token_cache(
    descriptions: Path, out: Path, *, backbone: str, max_length: int = MAX_LENGTH
) -> TokenCache:
    """Cut the texts of descriptions.parquet (see `token_cache`), and write them to `out`."""
    cache = token_cache(
        read_parquet(descriptions), backbone=backbone, max_length=max_length, source=descriptions
    )
    cache.save(out)
    return cache


def cut_texts(texts: Sequence[str], backbone: str, max_length: int = MAX_LENGTH) -> CutTexts:
    """Cut texts into tokens; a blank one has none.

    Args:
        texts: any number.
        backbone: name, see `resolve_backbone`.
        max_length: longer texts are cut here.

    Raises:
        ConfigurationError: `max_length` is out of the backbone's range.
    """
    tokenizer = _tokenizer(resolve_backbone(backbone), max_length)
    stripped = [text.strip() for text in texts]
    encodings: list[Encoding] = tokenizer.encode_batch([text for text in stripped if text])
    lengths = np.zeros(len(stripped), np.int64)
    lengths[[bool(text) for text in stripped]] = [len(encoding) for encoding in encodings]
    return CutTexts(
        texts=Ragged(
            ids=np.array([i for encoding in encodings for i in encoding.ids], np.int32),
            offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
        ),
        pad_id=_pad_id(tokenizer),
        truncated=sum(bool(encoding.overflowing) for encoding in encodings),
    )


def tokenize(texts: Sequence[str], backbone: str, max_length: int = MAX_LENGTH) -> ChannelTokens:
    """Cut free texts into one padded batch; a blank text is there too, as its two marker tokens.

    Args:
        texts: P texts.
        backbone: name, see `resolve_backbone`.
    """
    tokenizer = _tokenizer(resolve_backbone(backbone), max_length)
    encodings: list[Encoding] = tokenizer.encode_batch(list(texts))
    lengths = np.array([len(encoding) for encoding in encodings], np.int64)
    mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
    ids = np.full(mask.shape, _pad_id(tokenizer), np.int64)
    ids[mask] = [i for encoding in encodings for i in encoding.ids]
    return ChannelTokens(ids, mask.astype(np.int64), np.arange(len(texts), dtype=np.int64))


def length_buckets(lengths: NDArray[np.integer], size: int) -> list[NDArray[np.intp]]:
    """Split positions into batches of similar length, shortest first, of at most `size` each."""
    order = np.argsort(lengths, kind='stable')
    return [order[start : start + size] for start in range(0, len(order), size)]


def content_digest(descriptions: pl.DataFrame) -> str:
    """Return the sha256 of the codes and their four texts, in order."""
    lines = (
        json.dumps(row, ensure_ascii=False) for row in descriptions.select('code', *CHANNELS).rows()
    )
    return hashlib.sha256('\n'.join(lines).encode()).hexdigest()


def _tokenizer(backbone: Backbone, max_length: int) -> Tokenizer:
    if not 3 <= max_length <= backbone.longest:
        raise ConfigurationError(
            f'max_length is {max_length}, but {backbone.name} takes 3 to {backbone.longest} tokens.'
        )
    tokenizer: Tokenizer = Tokenizer.from_file(str(backbone.tokenizer))
    # The published file pads every text to 128; here padding is dynamic.
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    return tokenizer


def _pad_id(tokenizer: Tokenizer) -> int:
    # In this order: MPNet's vocabulary has BERT's [PAD] as well, and pads with <pad>.
    for token in ('<pad>', '[PAD]'):
        found = tokenizer.token_to_id(token)
        if found is not None:
            return int(found)
    raise ConfigurationError('The tokenizer knows no padding token (<pad> or [PAD]).')
