"""Whether what the sampler draws is what was published."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from naics_model.checks import Check, no_rows
from naics_model.curriculum.sampler import TripletSampler
from naics_model.curriculum.stage import Stage
from naics_model.triplets.lookup import absent_rows
from naics_model.triplets.relation_index import RelationIndex

ITEMS = 100_000

sampled_items_are_rows = partial(
    no_rows,
    'sampled_items_are_rows',
    good=f'Every negative of {ITEMS:,} sampled items is a published triplet of that hardness.',
    bad='Sampled negatives are no published triplet of their hardness',
)
"""The check, of the rows that are absent."""


def check_sampled_items(
    index: RelationIndex, triplets: Path, stages: Sequence[Stage], *, seed: int = 0
) -> Check:
    """Draw items of some stages and look every one of them up among the published triplets.

    The sampler reads the relation index alone, so this holds two ways to the same definition
    together: arrays here, SQL there.

    Args:
        index: the edition's relations.
        triplets: the edition's triplets, in Parquet.
        stages: each gives an equal part of the items.
        seed: of the draws.

    Raises:
        DataError: the triplets are missing.
        ConfigurationError: the edition cannot supply a stage.
    """
    each = -(-ITEMS // len(stages))
    batches = [TripletSampler(index, stage, seed=seed).draw(each) for stage in stages]
    k = [batch.negatives.shape[1] for batch in batches]
    absent = absent_rows(
        triplets,
        np.concatenate([np.repeat(b.anchor, n) for b, n in zip(batches, k, strict=True)]),
        np.concatenate([np.repeat(b.positive, n) for b, n in zip(batches, k, strict=True)]),
        np.concatenate([batch.negatives.ravel() for batch in batches]),
        np.concatenate([batch.hardness.ravel() for batch in batches]),
    )
    codes = pl.Series(index.codes)
    return sampled_items_are_rows(
        absent.select(
            anchor=codes.gather(absent['anchor_idx']),
            positive=codes.gather(absent['positive_idx']),
            negative=codes.gather(absent['negative_idx']),
            hardness='hardness',
        )
    )
