"""Steps: what is in them, and that they repeat where they must and differ where they must."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from naics_model.curriculum.stage import Stage
from naics_model.encoder.tokens import CHANNELS
from naics_model.errors import ConfigurationError
from naics_model.taxonomy.distances import tree_distances
from naics_model.taxonomy.tree import Taxonomy
from naics_model.training.data import DataSettings, StepBatch, TripletDataModule

MakeData = Callable[..., TripletDataModule]


class Clock:
    """All that a data module asks of a trainer."""

    current_epoch = 0


@pytest.fixture
def make(edition: Any, stage: Stage, data_settings: DataSettings) -> MakeData:
    def build(settings: DataSettings = data_settings, **options: int) -> TripletDataModule:
        data = TripletDataModule(
            edition.index, edition.cache, stage, settings, **{'seed': 7, **options}
        )
        data.trainer = Clock()  # type: ignore[assignment]
        return data

    return build


def epoch(data: TripletDataModule, number: int) -> list[StepBatch]:
    data.trainer.current_epoch = number  # type: ignore[union-attr]
    return list(data.train_dataloader())


def same(left: list[StepBatch], right: list[StepBatch]) -> bool:
    return all(
        torch.equal(a.codes, b.codes) and torch.equal(a.negatives, b.negatives)
        for a, b in zip(left, right, strict=True)
    )


def test_a_step_has_each_code_once_with_its_tokens_and_its_place_in_the_tree(
    make: MakeData, edition: Any
) -> None:
    batch = epoch(make(), 0)[0]
    codes = batch.codes.numpy()
    taxonomy = Taxonomy.from_codes(edition.index.codes)
    assert len(np.unique(codes)) == len(codes) <= 24
    assert batch.anchor.shape == batch.positive.shape == (32,)
    assert batch.negatives.shape == batch.hardness.shape == (32, 4)
    assert int(batch.negatives.max()) < len(codes)
    np.testing.assert_array_equal(batch.levels, taxonomy.levels[codes])
    np.testing.assert_array_equal(batch.tree, tree_distances(taxonomy)[np.ix_(codes, codes)])
    assert set(batch.tokens) == set(CHANNELS)
    assert batch.tokens['title'].rows.tolist() == list(range(len(codes)))
    assert len(batch.tokens['examples'].rows) < len(codes)


def test_negatives_are_farther_than_positives(make: MakeData, edition: Any) -> None:
    distance = edition.index.distance.astype(int)
    for batch in epoch(make(), 0):
        anchor, positive, negatives = (
            batch.codes.numpy()[part] for part in (batch.anchor, batch.positive, batch.negatives)
        )
        assert (distance[anchor[:, None], negatives] > distance[anchor, positive][:, None]).all()


def test_an_epoch_depends_on_its_number_and_not_on_what_came_before(make: MakeData) -> None:
    went_through = make()
    first, second = epoch(went_through, 0), epoch(went_through, 1)
    assert same(epoch(make(), 1), second)
    assert not same(first, second)
    assert len(first) == 5


def test_another_seed_and_another_rank_draw_something_else(make: MakeData) -> None:
    steps = epoch(make(), 0)
    assert not same(steps, epoch(make(seed=8), 0))
    ranks = [epoch(make(rank=rank, world_size=2), 0) for rank in (0, 1)]
    assert not same(*ranks)


def test_validation_steps_stay_the_same_and_are_not_those_of_training(make: MakeData) -> None:
    data = make()
    before = list(data.val_dataloader())
    training = epoch(data, 0)
    assert same(before, list(data.val_dataloader()))
    assert same(before, list(make().val_dataloader()))
    assert len(before) == 2
    assert not same(before, training[:2])


def test_a_pool_too_small_for_an_item_is_refused_at_once(
    make: MakeData, data_settings: DataSettings
) -> None:
    with pytest.raises(ConfigurationError, match=r'pool of 5 codes is too small'):
        make(replace(data_settings, pool_size=5))
