"""Queries of a step: whose they are, which are drawn, and that nothing held out is among them."""

from __future__ import annotations

import functools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from tokenizers import Tokenizer

from naics_model.curriculum.stage import Stage
from naics_model.encoder.backbones import resolve_backbone
from naics_model.encoder.tokens import ChannelTokens
from naics_model.errors import DataError
from naics_model.geometry.lorentz import distance
from naics_model.storage.files import write_parquet
from naics_model.training.activities import Activities, read_activities
from naics_model.training.data import DataSettings, StepBatch, TripletDataModule
from naics_model.training.module import TripletModule
from naics_model.training.weights import LossWeights

TINY = 'tiny-random'


@pytest.fixture
def activities(edition: Any) -> Activities:
    return read_activities(edition.activities, edition.index.codes, TINY)


@functools.cache
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(resolve_backbone(TINY).tokenizer))


def words(tokens: ChannelTokens) -> list[str]:
    """Return the texts that the tokens were cut from, in lower case."""
    return [
        tokenizer().decode(ids[mask > 0].tolist())
        for ids, mask in zip(tokens.input_ids, tokens.attention_mask, strict=True)
    ]


def steps(
    edition: Any, stage: Stage, settings: DataSettings, activities: Activities | None
) -> list[StepBatch]:
    data = TripletDataModule(
        edition.index, edition.cache, stage, settings, seed=3, activities=activities
    )
    return list(data.val_dataloader())


def test_each_entry_comes_with_its_own_code_and_none_is_held_out(
    edition: Any, activities: Activities
) -> None:
    table = pl.read_parquet(edition.activities)
    train = table.filter(pl.col('split') == 'train')
    codes = np.array([5, 0, 59, 17, 4, 18])
    drawn = activities.draw(codes, 1000, np.random.default_rng(0))
    got = Counter(
        (text, edition.index.codes[codes[owner]])
        for text, owner in zip(words(drawn.tokens), drawn.owner, strict=True)
    )
    names = [edition.index.codes[i] for i in codes]
    assert got == Counter(train.filter(pl.col('code').is_in(names)).select('text', 'code').rows())
    assert len(activities) == train.height < table.height


def test_no_held_out_word_is_cut_at_all(activities: Activities) -> None:
    every = activities.texts.batch(np.arange(len(activities)), activities.pad_id)
    assert not any('hidden' in text for text in words(every))


def test_entries_are_drawn_without_repetition_and_all_alike(activities: Activities) -> None:
    codes = np.flatnonzero(np.diff(activities.starts))
    generator = np.random.default_rng(0)
    counts: Counter[str] = Counter()
    for _ in range(400):
        drawn = words(activities.draw(codes, 12, generator).tokens)
        assert len(drawn) == len(set(drawn)) == 12
        counts.update(drawn)
    assert len(counts) == len(activities)
    expected = 400 * 12 / len(activities)
    assert all(abs(count - expected) < 5 * expected**0.5 for count in counts.values())


def test_codes_without_entries_ask_nothing_and_cost_nothing(
    edition: Any, activities: Activities, stage: Stage, data_settings: DataSettings
) -> None:
    sectors = np.array([i for i, code in enumerate(edition.index.codes) if len(code) == 2])
    drawn = activities.draw(sectors, 12, np.random.default_rng(0))
    assert len(drawn.owner) == 0
    none = Activities(
        activities.texts, activities.pad_id, np.zeros(len(edition.index) + 1, np.int64)
    )
    batch = steps(edition, stage, data_settings, none)[0]
    losses, _ = TripletModule(backbone=TINY, hyperbolic_dim=8).losses(batch)
    assert losses['activities'].item() == 0
    losses['activities'].backward()


def test_the_items_are_the_same_with_queries_and_without(
    edition: Any, activities: Activities, stage: Stage, data_settings: DataSettings
) -> None:
    with_queries = steps(edition, stage, data_settings, activities)
    without = steps(edition, stage, data_settings, None)
    for left, right in zip(with_queries, without, strict=True):
        assert torch.equal(left.codes, right.codes)
        assert torch.equal(left.negatives, right.negatives)
        assert left.queries is not None
        assert right.queries is None
        assert len(left.queries.owner) == 10


def test_a_query_is_contrasted_with_all_codes_of_the_step_but_the_ancestors_of_its_own(
    edition: Any, activities: Activities, stage: Stage, data_settings: DataSettings
) -> None:
    batch = steps(edition, stage, data_settings, activities)[0]
    assert batch.queries is not None
    model = TripletModule(backbone=TINY, hyperbolic_dim=8, lora_dropout=0.0).eval()
    losses, output = model.losses(batch)
    asked = model.embedder({'title': batch.queries.tokens}, len(batch.queries.owner)).tangent
    names = [edition.index.codes[i] for i in batch.codes]
    costs, left_out = [], 0
    for point, owner in zip(asked, batch.queries.owner.tolist(), strict=True):
        logits = -distance(point, output.tangent) / 0.1
        own = names[owner]
        allowed = [j for j, name in enumerate(names) if j == owner or not own.startswith(name)]
        left_out += len(names) - len(allowed)
        costs.append(torch.logsumexp(logits[allowed], 0) - logits[owner])
    assert left_out > 0
    assert losses['activities'].item() == pytest.approx(torch.stack(costs).mean().item(), rel=1e-4)


def test_codes_of_earlier_steps_are_candidates_too_and_only_six_digit_ones(
    edition: Any, activities: Activities, stage: Stage, data_settings: DataSettings
) -> None:
    first, second = steps(edition, stage, data_settings, activities)
    model = TripletModule(backbone=TINY, hyperbolic_dim=8, lora_dropout=0.0)
    alone = model.losses(second)[0]['activities'].item()
    model.remember_codes(len(edition.index))
    assert model.bank is not None
    # Nothing is known yet.
    earlier = model.losses(first)[1].tangent.detach()
    leaves = first.levels == 6
    assert (
        model.bank.known.nonzero().squeeze(1).tolist() == first.codes[leaves].sort().values.tolist()
    )
    torch.testing.assert_close(model.bank.points[first.codes], earlier * leaves.unsqueeze(1))

    before = model.bank.points.clone()
    # Epochs compare only without it: it fills from one to the next.
    assert model.eval().losses(second)[0]['activities'].item() == pytest.approx(alone, rel=1e-4)
    assert torch.equal(model.bank.points, before)
    losses, output = model.train().losses(second)
    assert second.queries is not None
    asked = model.embedder({'title': second.queries.tokens}, len(second.queries.owner)).tangent
    names = [edition.index.codes[i] for i in second.codes]
    missing = [i for i in first.codes[leaves].tolist() if i not in second.codes.tolist()]
    assert missing
    costs = []
    for point, owner in zip(asked, second.queries.owner.tolist(), strict=True):
        own = names[owner]
        allowed = [j for j, name in enumerate(names) if j == owner or not own.startswith(name)]
        candidates = torch.cat([output.tangent[allowed], before[missing]])
        logits = -distance(point, candidates) / 0.1
        costs.append(torch.logsumexp(logits, 0) + distance(point, output.tangent[owner]) / 0.1)
    assert losses['activities'].item() == pytest.approx(torch.stack(costs).mean().item(), rel=1e-4)
    assert losses['activities'].item() > alone


def test_learning_from_queries_makes_them_find_their_codes(
    edition: Any, activities: Activities, stage: Stage, data_settings: DataSettings
) -> None:
    batch = steps(edition, stage, data_settings, activities)[0]
    torch.manual_seed(0)
    model = TripletModule(
        backbone=TINY,
        hyperbolic_dim=8,
        lora_dropout=0.0,
        weights=LossWeights(contrastive=0, radius_ladder=0, hierarchy_fit=0, load_balance=0),
    )
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    costs = []
    for _ in range(12):
        losses, _ = model.losses(batch)
        assert set(losses) == {'activities'}
        optimizer.zero_grad()
        losses['activities'].backward()
        optimizer.step()
        costs.append(losses['activities'].item())
    assert costs[-1] < 0.5 * costs[0]


def test_entries_of_another_edition_are_refused(edition: Any, tmp_path: Path) -> None:
    table = pl.read_parquet(edition.activities).with_columns(code=pl.lit('999999'))
    write_parquet(table, tmp_path / 'activities.parquet')
    with pytest.raises(DataError, match='activities of 999999, which is no code'):
        read_activities(tmp_path / 'activities.parquet', edition.index.codes, TINY)
