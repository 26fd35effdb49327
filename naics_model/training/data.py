"""Steps of training: which codes are compared, and their tokens, as tensors.

What is drawn is the sampler's affair (`curriculum`); here it becomes batches, per epoch and per
rank.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from naics_model.curriculum.pool import PooledBatch, compose
from naics_model.curriculum.sampler import TripletSampler
from naics_model.curriculum.stage import Stage
from naics_model.encoder.channels import TokenTensors, token_tensors
from naics_model.encoder.tokens import CHANNELS, TokenCache
from naics_model.errors import ConfigurationError
from naics_model.jobs.seeds import derived_seed
from naics_model.taxonomy.distances import tree_distances
from naics_model.taxonomy.tree import Taxonomy
from naics_model.training.activities import Activities, AskedEntries
from naics_model.triplets.relation_index import RelationIndex


@dataclass(frozen=True)
class DataSettings:
    """Where steps come from and how large they are.

    Attributes:
        relation_index: relation_index.safetensors of the edition.
        token_cache: token_cache.safetensors of the edition, cut for the model's backbone.
        activities: activities.parquet of the edition, whose train entries are asked as queries;
            None asks none.
        pool_size: distinct codes encoded per step and shard.
        items_per_step: (anchor, positive, negatives) items drawn from that pool per step.
        queries_per_step: the most train entries of the pool's codes that a step asks.
        steps_per_epoch: optimiser steps between two validations.
        val_steps: fixed steps of the validation set, of each shard.
        shards: parts that the pairs are drawn in, a multiple of the processes; each takes its parts
            one after the other before an optimiser step. 0 is one for each process. With a number
            the same items are drawn, however many processes there are.
    """

    relation_index: Path
    token_cache: Path
    activities: Path | None = None
    pool_size: int = 64
    items_per_step: int = 128
    queries_per_step: int = 256
    steps_per_epoch: int = 50
    val_steps: int = 4
    shards: int = 0


def require_even_shards(shards: int, processes: int) -> None:
    """Check that processes can share the shards out.

    Raises:
        ConfigurationError: some would have more of them than others.
    """
    if shards % processes:
        raise ConfigurationError(
            f'--data.shards {shards} can not be shared out evenly among {processes} processes: '
            'choose a multiple of them.'
        )


class Queries(NamedTuple):
    """Q train entries of the codes of a step.

    Attributes:
        tokens: for the title channel.
        owner: int64 (Q,), the position in the step's `codes` of the code of each.
    """

    tokens: TokenTensors
    owner: Tensor


class StepBatch(NamedTuple):
    """One step: M distinct codes with their tokens, B items that point into them, and queries.

    Attributes:
        tokens: by channel, of the M codes.
        codes: int64 (M,), indices of the codes in the edition.
        anchor, positive: int64 (B,), and negatives: int64 (B, K), positions in `codes`.
        hardness: uint8 (B, K).
        levels: int64 (M,), number of digits.
        tree: float32 (M, M), tree distances.
        queries: entries of these codes; None where the fit asks none.
    """

    tokens: dict[str, TokenTensors]
    codes: Tensor
    anchor: Tensor
    positive: Tensor
    negatives: Tensor
    hardness: Tensor
    levels: Tensor
    tree: Tensor
    queries: Queries | None = None


def step_batch(
    pooled: PooledBatch,
    cache: TokenCache,
    taxonomy: Taxonomy,
    tree: NDArray[np.uint8],
    asked: AskedEntries | None = None,
) -> StepBatch:
    """Add tokens, levels and tree distances to a composed step.

    Args:
        pooled: positions and codes.
        cache: tokens of the whole edition.
        taxonomy: the edition's codes.
        tree: uint8 (n, n), tree distances of the edition.
        asked: entries of the composed codes.
    """
    codes = pooled.codes
    return StepBatch(
        tokens={channel: token_tensors(cache.batch(channel, codes)) for channel in CHANNELS},
        codes=torch.from_numpy(codes),
        anchor=torch.from_numpy(pooled.anchor),
        positive=torch.from_numpy(pooled.positive),
        negatives=torch.from_numpy(pooled.negatives),
        hardness=torch.from_numpy(pooled.hardness),
        levels=torch.from_numpy(taxonomy.levels[codes]).long(),
        tree=torch.from_numpy(tree[np.ix_(codes, codes)]).float(),
        queries=None
        if asked is None
        else Queries(token_tensors(asked.tokens), torch.from_numpy(asked.owner)),
    )


class EpochSteps(IterableDataset[StepBatch]):
    """The steps of one epoch after the other, each epoch a function of its number alone."""

    def __init__(
        self, batches: int, draw: Callable[[int], Iterator[StepBatch]], epoch: Callable[[], int]
    ) -> None:
        """Args:
        batches: length of an epoch.
        draw: the batches of an epoch, without end.
        epoch: the number of the epoch that begins.
        """
        self._batches = batches
        self._draw = draw
        self._epoch = epoch

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[StepBatch]:
        # Lazily, at the first step: a resumed fit sets its epoch after the iterator is made.
        yield from islice(self._draw(self._epoch()), self._batches)


class TripletDataModule(LightningDataModule):
    """Training and validation steps of one curriculum stage, of this process's shards.

    Each epoch begins a random stream of its own, seeded by its number. So nothing random is carried
    from epoch to epoch: a fit resumed at an epoch's end draws what an uninterrupted one would, on
    every rank, and the checkpoint need not hold the state of each rank's sampler.

    Validation steps are other draws over the SAME codes: `val/loss` tells how well a checkpoint
    fits, not how it does on codes and texts it has never seen. That is the evaluation room's
    question.

    Attributes:
        samplers: draw the items, one for each shard of this process, by its number.
        shards: how many shards a step has in all processes.
        cache: tokens of the edition.
    """

    def __init__(
        self,
        index: RelationIndex,
        cache: TokenCache,
        stage: Stage,
        settings: DataSettings,
        *,
        seed: int,
        activities: Activities | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Args:
        index: the edition's relations.
        cache: its tokens.
        stage: what to draw.
        settings: how much of it.
        activities: train entries to ask as queries.
        seed: of all draws.
        rank: this process, 0 to world_size - 1.
        world_size: number of processes, each of which draws its own shards.

        Raises:
            ConfigurationError: the taxonomy leaves nothing to draw for this stage, or the processes
                can not share the shards out evenly.
        """
        super().__init__()
        self.shards = settings.shards or world_size
        require_even_shards(self.shards, world_size)
        own = self.shards // world_size
        self.samplers = {
            shard: TripletSampler(index, stage, seed=seed, rank=shard, world_size=self.shards)
            for shard in range(rank * own, (rank + 1) * own)
        }
        self.cache = cache
        self._activities = activities
        self._settings = settings
        self._seed = seed
        self._taxonomy = Taxonomy.from_codes(index.codes)
        self._tree = tree_distances(self._taxonomy)
        # Before training draws anything: the two share their samplers.
        self._validation = list(islice(self._steps(0), settings.val_steps * own))

    @property
    def sampler(self) -> TripletSampler:
        """The sampler of the first shard; all are of one stage and one edition."""
        return next(iter(self.samplers.values()))

    @property
    def asks_queries(self) -> bool:
        """Whether steps come with train entries."""
        return self._activities is not None

    def train_dataloader(self) -> DataLoader[StepBatch]:
        trainer = self.trainer
        assert trainer is not None, 'training steps belong to a running fit'
        steps = EpochSteps(
            self._settings.steps_per_epoch * len(self.samplers),
            self._steps,
            lambda: trainer.current_epoch + 1,
        )
        # In the process itself: composing a step takes milliseconds beside encoding it.
        return DataLoader(steps, batch_size=None, num_workers=0)

    def val_dataloader(self) -> DataLoader[StepBatch]:
        """Return the same steps at every validation."""
        return DataLoader(self._validation, batch_size=None, num_workers=0)  # type: ignore[arg-type]

    def _steps(self, stream: int) -> Iterator[StepBatch]:
        """Return the batches of a random stream, a step's shards in a row: 0 for validation, 1, 2,
        ... for the epochs."""
        shards = [self._shard_steps(shard, stream) for shard in self.samplers]
        while True:
            for steps in shards:
                yield next(steps)

    def _shard_steps(self, shard: int, stream: int) -> Iterator[StepBatch]:
        sampler = self.samplers[shard]
        seed = derived_seed(self._seed, shard, stream)
        fresh = np.random.default_rng(seed).bit_generator.state
        # Re-seeded and not made anew: preparing a sampler takes about a second.
        sampler.generator.bit_generator.state = fresh
        # A stream of its own: the items are the same with queries and without.
        asking = np.random.default_rng(derived_seed(self._seed, shard, stream, 1))
        while True:
            pooled = compose(
                sampler,
                pool_size=self._settings.pool_size,
                items=self._settings.items_per_step,
            )
            asked = None
            if self._activities is not None:
                asked = self._activities.draw(pooled.codes, self._settings.queries_per_step, asking)
            yield step_batch(pooled, self.cache, self._taxonomy, self._tree, asked)
