"""The token cache: what the tokenizer says, ragged, identified, the same bytes every time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from naics_model.encoder.backbones import MINILM, TINY, resolve_backbone
from naics_model.encoder.tokens import (
    CHANNELS,
    DOCUMENT,
    Ragged,
    TokenCache,
    _pad_id,
    build_token_cache,
    content_digest,
    length_buckets,
    tokenize,
)
from naics_model.errors import ConfigurationError, DataError
from naics_model.storage.files import sha256_of


def test_a_batch_holds_exactly_what_the_tokenizer_says(
    cache: TokenCache, descriptions: Path
) -> None:
    tokenizer = Tokenizer.from_file(str(resolve_backbone(TINY).tokenizer))
    tokenizer.no_padding()
    tokenizer.enable_truncation(32)
    frame = pl.read_parquet(descriptions)
    indices = np.array([4, 1, 3, 0])
    for channel in CHANNELS:
        batch = cache.batch(channel, indices)
        texts = [(frame[channel][int(i)] or '').strip() for i in indices]
        assert batch.rows.tolist() == [row for row, text in enumerate(texts) if text]
        expected = [tokenizer.encode(text).ids for text in texts if text]
        assert batch.input_ids.shape[1] == max(map(len, expected))
        for ids, mask, wanted in zip(batch.input_ids, batch.attention_mask, expected, strict=True):
            assert ids[mask == 1].tolist() == wanted
            assert (ids[mask == 0] == cache.pad_id).all()
            assert mask.tolist() == sorted(mask.tolist(), reverse=True)
        assert {array.dtype for array in batch} == {np.dtype(np.int64)}


def test_mpnet_is_padded_with_its_own_token() -> None:
    # Its vocabulary has BERT's padding token, too.
    vocabulary = {'<s>': 0, '<pad>': 1, '</s>': 2, '<unk>': 3, '[PAD]': 4}
    assert _pad_id(Tokenizer(WordLevel(vocabulary, unk_token='<unk>'))) == 1


def ragged(*texts: list[int]) -> Ragged:
    lengths = [len(text) for text in texts]
    return Ragged(
        np.array([token for text in texts for token in text], np.int32),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
    )


def test_a_document_is_title_description_and_examples_end_to_end() -> None:
    # 1 is the marker of the start, 2 that of the end.
    cache = TokenCache(
        channels={
            'title': ragged([1, 10, 2], [1, 11, 2], [1, 12, 13, 2]),
            'description': ragged([1, 20, 21, 2], [], [1, 22, 23, 24, 2]),
            'excluded': ragged([1, 30, 2], [1, 31, 2], [1, 32, 2]),
            'examples': ragged([], [], [1, 40, 2]),
        },
        backbone=TINY,
        revision='',
        digest='',
        max_length=8,
        pad_id=0,
        content='',
        truncated={},
    )
    document = cache.document
    assert document.lengths.tolist() == [6, 3, 8]
    texts = np.split(document.ids, document.offsets[1:-1])
    assert [text.tolist() for text in texts] == [
        [1, 10, 2, 20, 21, 2],
        [1, 11, 2],
        # Ten tokens are cut to eight, of which the last is the end marker.
        [1, 12, 13, 2, 22, 23, 24, 2],
    ]
    batch = cache.batch(DOCUMENT, np.array([1, 0]))
    assert batch.input_ids.tolist() == [[1, 11, 2, 0, 0, 0], [1, 10, 2, 20, 21, 2]]
    assert batch.attention_mask.sum(axis=1).tolist() == [3, 6]


def test_no_document_is_longer_than_a_text_may_be(cache: TokenCache) -> None:
    lengths = cache.document.lengths
    assert len(lengths) == 6
    assert lengths.max() == 32
    ends = cache.document.ids[cache.document.offsets[1:] - 1]
    assert set(ends.tolist()) == {int(cache.channels['title'].ids[-1])}


def test_null_and_blank_texts_are_absent(cache: TokenCache) -> None:
    present = {channel: cache.batch(channel, np.arange(6)).rows.tolist() for channel in CHANNELS}
    assert present == {
        'title': [0, 1, 2, 3, 4, 5],
        'description': [0, 1, 2, 3, 4, 5],
        'excluded': [0, 3, 5],
        'examples': [1, 4],
    }


def test_a_batch_in_which_nobody_has_the_channel_is_empty(cache: TokenCache) -> None:
    batch = cache.batch('excluded', np.array([1, 2]))
    assert batch.input_ids.shape == (0, 0)
    assert batch.rows.shape == (0,)


def test_truncated_texts_are_counted(cache: TokenCache) -> None:
    assert cache.truncated == {'title': 0, 'description': 1, 'excluded': 0, 'examples': 0}
    assert cache.channels['description'].lengths.max() == 32


def test_a_saved_cache_comes_back_whole(cache: TokenCache, descriptions: Path) -> None:
    assert len(cache) == 6
    assert (cache.backbone, cache.max_length, cache.pad_id) == (TINY, 32, 0)
    assert cache.digest == resolve_backbone(TINY).digest
    assert cache.content == content_digest(pl.read_parquet(descriptions))


def test_equal_texts_give_equal_bytes_in_every_process(
    cache_path: Path, descriptions: Path, tmp_path: Path
) -> None:
    code = (
        'import sys; from pathlib import Path\n'
        'from naics_model.encoder.tokens import build_token_cache\n'
        "build_token_cache(Path(sys.argv[1]), Path(sys.argv[2]), backbone='tiny-random', "
        'max_length=32)\n'
    )
    digests = {sha256_of(cache_path)}
    for number in range(2):
        out = tmp_path / f'{number}.safetensors'
        subprocess.run([sys.executable, '-c', code, str(descriptions), str(out)], check=True)
        digests.add(sha256_of(out))
    assert len(digests) == 1


def test_changed_text_changes_the_content_digest(descriptions: Path) -> None:
    frame = pl.read_parquet(descriptions)
    changed = frame.with_columns(pl.col('title').str.replace('Crop', 'Plant'))
    assert content_digest(frame) != content_digest(changed)
    moved = frame.with_columns(excluded='examples', examples='excluded')
    assert content_digest(frame) != content_digest(moved)


def test_another_backbone_is_refused_in_one_sentence(cache: TokenCache) -> None:
    cache.check_backbone(resolve_backbone(TINY))
    with pytest.raises(ConfigurationError, match='was cut for backbone tiny-random') as caught:
        cache.check_backbone(resolve_backbone(MINILM))
    assert 'model is on all-MiniLM-L6-v2' in str(caught.value)


@pytest.mark.parametrize('max_length', [2, 513])
def test_max_length_out_of_range_is_refused(
    descriptions: Path, tmp_path: Path, max_length: int
) -> None:
    with pytest.raises(ConfigurationError, match='takes 3 to 512 tokens'):
        build_token_cache(
            descriptions, tmp_path / 'out.safetensors', backbone=TINY, max_length=max_length
        )


def test_a_code_without_a_title_is_refused(descriptions: Path, tmp_path: Path) -> None:
    frame = pl.read_parquet(descriptions)
    path = tmp_path / 'descriptions.parquet'
    frame.with_columns(
        title=pl.when(pl.col('code') == '311').then(pl.lit(' ')).otherwise('title')
    ).write_parquet(path)
    with pytest.raises(DataError, match='no title for code 311'):
        build_token_cache(path, tmp_path / 'out.safetensors', backbone=TINY)


def test_missing_and_foreign_files_are_explained(tmp_path: Path) -> None:
    with pytest.raises(DataError, match='does not exist'):
        TokenCache.load(tmp_path / 'none.safetensors')
    foreign = tmp_path / 'foreign.safetensors'
    foreign.write_bytes(b'not a safetensors file')
    with pytest.raises(DataError, match='is not a token cache'):
        TokenCache.load(foreign)


def test_free_texts_are_cut_like_titles_and_blank_ones_are_legal(cache: TokenCache) -> None:
    tokens = tokenize(['Crop Production', '', 'Utilities'], TINY)
    assert tokens.rows.tolist() == [0, 1, 2]
    title = cache.batch('title', np.array([1]))
    wanted = title.input_ids[0].tolist()
    assert tokens.input_ids[0, : len(wanted)].tolist() == wanted
    assert tokens.attention_mask[1].sum() == 2  # the two markers
    assert tokenize([], TINY).input_ids.shape == (0, 0)


@given(st.lists(st.integers(0, 128), max_size=60), st.integers(1, 16))
def test_length_buckets_cover_everything_once_by_length(lengths: list[int], size: int) -> None:
    buckets = length_buckets(np.array(lengths, np.int64), size)
    order = [int(i) for bucket in buckets for i in bucket]
    assert sorted(order) == list(range(len(lengths)))
    assert [lengths[i] for i in order] == sorted(lengths)
    assert all(len(bucket) == size for bucket in buckets[:-1])
