"""Steps: what is in them, and that they repeat where they must and differ where they must."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from naics_model.encoder.tokens import CHANNELS, DOCUMENT
from naics_model.errors import ConfigurationError, DataError
from naics_model.storage.files import write_parquet
from naics_model.training.data import DataSettings, StepBatch, StepDataModule
from naics_model.training.phrases import Passes, Phrases, read_phrases

MakeData = Callable[..., StepDataModule]
TINY = 'tiny-random'


class Clock:
    """All that a data module asks of a trainer."""

    current_epoch = 0


def epoch(data: StepDataModule, number: int) -> list[StepBatch]:
    data.trainer = Clock()  # type: ignore[assignment]
    data.trainer.current_epoch = number
    return list(data.train_dataloader())


def tensors(batch: Any) -> list[torch.Tensor]:
    """All tensors of a step, in order."""
    if isinstance(batch, torch.Tensor):
        return [batch]
    parts = batch.values() if isinstance(batch, dict) else batch or ()
    return [tensor for part in parts for tensor in tensors(part)]


def same(left: list[StepBatch], right: list[StepBatch]) -> bool:
    return len(left) == len(right) and all(
        len(tensors(a)) == len(tensors(b))
        and all(torch.equal(x, y) for x, y in zip(tensors(a), tensors(b), strict=True))
        for a, b in zip(left, right, strict=True)
    )


def texts(batch: StepBatch) -> list[tuple[int, ...]]:
    """The phrases of a step, as the numbers of their tokens without padding."""
    ids, mask, _ = batch.phrases.tokens
    return [tuple(row[kept > 0].tolist()) for row, kept in zip(ids, mask, strict=True)]


def known(phrases: Phrases, rows: Any) -> set[tuple[int, ...]]:
    ids, mask, _ = phrases.tokens(np.asarray(rows))
    return {tuple(row[kept > 0].tolist()) for row, kept in zip(ids, mask, strict=True)}


@given(count=st.integers(1, 40), seed=st.integers(0, 2**16), number=st.integers(0, 5))
def test_every_pass_is_a_permutation(count: int, seed: int, number: int) -> None:
    found = Passes(count, seed).at(np.arange(number * count, (number + 1) * count))
    assert sorted(found) == list(range(count))


def test_a_position_decides_alone_and_passes_differ() -> None:
    whole = Passes(10, 3).at(np.arange(50))
    backwards = Passes(10, 3)
    for position in reversed(range(50)):
        assert backwards.at(np.array([position])) == whole[position]
    # Across the border of two passes, too.
    np.testing.assert_array_equal(Passes(10, 3).at(np.arange(17, 34)), whole[17:34])
    assert len({tuple(part) for part in whole.reshape(5, 10)}) == 5
    assert not np.array_equal(Passes(10, 4).at(np.arange(50)), whole)


def test_phrases_are_sorted_by_source_and_split(edition: Any) -> None:
    phrases = read_phrases(edition.phrases, edition.index.codes, TINY)
    table = pl.read_parquet(edition.phrases)
    assert len(phrases) == table.height
    for rows, source, split in (
        (phrases.entries, ['entry'], 'train'),
        (phrases.others, ['title', 'description'], 'train'),
        (phrases.validation, ['entry'], 'validation'),
    ):
        expected = table.filter(pl.col('source').is_in(source), pl.col('split') == split)
        assert [edition.index.codes[node] for node in phrases.nodes[rows]] == list(expected['code'])
    assert {len(edition.index.codes[node]) for node in phrases.nodes[phrases.others]} == {
        2, 3, 4, 5, 6
    }  # fmt: skip


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (pl.lit('999999').alias('code'), 'has phrases of 999999, which is no code'),
        (pl.lit('validation').alias('split'), 'has no phrase to train on'),
        (pl.lit(' ').alias('text'), 'has no phrase to train on'),
    ],
)
def test_phrases_that_can_not_be_trained_on_are_refused(
    edition: Any, tmp_path: Path, change: pl.Expr, said: str
) -> None:
    path = tmp_path / 'phrases.parquet'
    write_parquet(pl.read_parquet(edition.phrases).with_columns(change), path)
    with pytest.raises(DataError, match=said):
        read_phrases(path, edition.index.codes, TINY)


def test_a_step_has_phrases_documents_and_items(make_data: MakeData, edition: Any) -> None:
    data = make_data()
    batch = epoch(data, 0)[0]
    assert batch.documents is not None
    assert batch.items is not None
    # 40 % of 20 are no entries.
    entries, others = (
        known(data.phrases, data.phrases.entries),
        known(data.phrases, data.phrases.others),
    )
    kinds = Counter('entry' if text in entries else 'other' for text in texts(batch))
    assert kinds == {'entry': 12, 'other': 8}
    assert set(texts(batch)) <= entries | others
    assert batch.phrases.nodes.shape == (20,)
    codes = batch.documents.codes
    assert len(codes.unique()) == len(codes) == 6
    assert set(batch.documents.tokens) == {DOCUMENT}
    expected = edition.cache.batch(DOCUMENT, codes.numpy())
    assert torch.equal(
        batch.documents.tokens[DOCUMENT].input_ids, torch.from_numpy(expected.input_ids)
    )
    items = batch.items
    assert items.anchor.shape == items.positive.shape == (16,)
    assert items.negatives.shape == items.hardness.shape == (16, 4)
    distance = edition.index.distance.astype(int)
    near = distance[items.anchor, items.positive]
    assert (distance[items.anchor[:, None], items.negatives] > near[:, None]).all()


def test_each_phrase_comes_with_its_own_code(make_data: MakeData) -> None:
    data = make_data()
    every = data.phrases.tokens(np.arange(len(data.phrases)))
    label = {
        (tuple(ids[mask > 0].tolist()), int(node))
        for ids, mask, node in zip(
            every.input_ids, every.attention_mask, data.phrases.nodes, strict=True
        )
    }
    for batch in epoch(data, 0):
        assert set(zip(texts(batch), batch.phrases.nodes.tolist(), strict=True)) <= label


def test_no_phrase_of_validation_is_trained_on_and_only_those_are_asked(
    make_data: MakeData, data_settings: DataSettings
) -> None:
    data = make_data(replace(data_settings, val_phrases=1000))
    aside = known(data.phrases, data.phrases.validation)
    asked = [text for batch in data.val_dataloader() for text in texts(batch)]
    assert set(asked) == aside
    assert len(asked) == len(data.phrases.validation)
    trained = {
        text for number in range(4) for batch in epoch(data, number) for text in texts(batch)
    }
    assert not trained & aside


def test_a_pass_reads_every_entry_once(make_data: MakeData, data_settings: DataSettings) -> None:
    data = make_data(
        replace(data_settings, other_share=0.0, phrases_per_step=58, documents_per_step=0)
    )
    # 58 entries: a step is a pass.
    assert len(data.phrases.entries) == 58
    for batch in epoch(data, 0):
        assert batch.documents is None
        assert Counter(texts(batch)) == Counter(list(known(data.phrases, data.phrases.entries)))


def test_without_entries_all_phrases_are_others(make_data: MakeData) -> None:
    phrases = make_data().phrases
    none = replace(phrases, entries=phrases.entries[:0])
    data = make_data(phrases=none)
    assert set(texts(epoch(data, 0)[0])) <= known(phrases, phrases.others)
    assert len(epoch(data, 0)[0].phrases.nodes) == 20


def test_without_phrases_set_aside_a_fixed_part_of_the_others_is_asked(
    make_data: MakeData,
) -> None:
    phrases = make_data().phrases
    data = make_data(phrases=replace(phrases, validation=phrases.validation[:0]))
    asked = list(data.val_dataloader())
    assert same(asked, list(data.val_dataloader()))
    assert sum(len(batch.phrases.nodes) for batch in asked) == 16


def test_a_resumed_epoch_reads_what_an_uninterrupted_one_would(make_data: MakeData) -> None:
    went_through = make_data()
    first, second = epoch(went_through, 0), epoch(went_through, 1)
    assert same(epoch(make_data(), 1), second)
    assert not same(first, second)
    assert len(first) == 5
    assert not same(first, epoch(make_data(seed=8), 0))


@pytest.mark.parametrize('processes', [2, 4])
def test_the_shards_of_a_step_are_the_same_however_many_processes_share_them(
    make_data: MakeData, data_settings: DataSettings, processes: int
) -> None:
    settings = replace(data_settings, shards=4)
    alone = epoch(make_data(settings), 1)
    ranks = [
        epoch(make_data(settings, rank=rank, world_size=processes), 1) for rank in range(processes)
    ]
    assert len(alone) == 4 * 5
    own = 4 // processes
    joined = [
        batch
        for step in range(5)
        for rank in ranks
        for batch in rank[step * own : (step + 1) * own]
    ]
    assert same(alone, joined)


def test_shards_read_on_in_one_row_of_phrases(
    make_data: MakeData, data_settings: DataSettings
) -> None:
    # Two shards of ten entries read what one of twenty does.
    plain = replace(data_settings, other_share=0.0)
    whole = epoch(make_data(plain), 0)
    parts = epoch(make_data(replace(plain, phrases_per_step=10, shards=2)), 0)
    for step, batch in enumerate(whole):
        halves = parts[2 * step : 2 * step + 2]
        assert texts(batch) == [text for half in halves for text in texts(half)]


def test_validation_is_shared_out(make_data: MakeData) -> None:
    alone = [text for batch in make_data().val_dataloader() for text in texts(batch)]
    halves = [
        [
            text
            for batch in make_data(rank=r, world_size=2).val_dataloader()
            for text in texts(batch)
        ]
        for r in range(2)
    ]
    assert [len(half) for half in halves] == [8, 8]
    assert halves[0] + halves[1] == alone


def test_a_model_of_four_channels_gets_four(make_data: MakeData) -> None:
    batch = epoch(make_data(channels=CHANNELS), 0)[0]
    assert batch.documents is not None
    assert set(batch.documents.tokens) == set(CHANNELS)


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        ({'other_share': 1.5}, '--data.other_share is 1.5: it is a share, 0 to 1.'),
        ({'phrases_per_step': 0}, '--data.phrases_per_step is 0: it is at least 1.'),
        ({'documents_per_step': -1}, '--data.documents_per_step is -1: it is at least 0.'),
    ],
)
def test_a_size_out_of_range_is_one_sentence(
    data_settings: DataSettings, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        replace(data_settings, **change)
    assert str(caught.value) == said
