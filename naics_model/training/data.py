"""Steps of training: phrases, documents and items of codes, as tensors.

What is drawn follows from the seed, the shard and the number of the step alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from naics_model.curriculum.sampler import TripletSampler
from naics_model.curriculum.stage import Stage
from naics_model.encoder.channels import TokenTensors, token_tensors
from naics_model.encoder.tokens import TokenCache
from naics_model.errors import ConfigurationError
from naics_model.jobs.seeds import derived_seed
from naics_model.training.phrases import Passes, Phrases
from naics_model.triplets.relation_index import RelationIndex


@dataclass(frozen=True)
class DataSettings:
    """Where steps come from and how large they are.

    Attributes:
        relation_index: relation_index.safetensors of the edition.
        token_cache: token_cache.safetensors of the edition, cut for the model's backbone.
        phrases: phrases.parquet of the edition.
        phrases_per_step: labelled phrases per step and shard.
        other_share: share of them that are titles, examples and sentences; the rest are index
            entries. Without entries, as under the protocol cold, all are others.
        documents_per_step: codes whose documents are encoded per step and shard.
        items_per_step: (anchor, positive, negatives) items of codes per step and shard.
        steps_per_epoch: optimiser steps between two validations.
        val_phrases: the most phrases that a validation asks.
        shards: parts that a step is drawn in, a multiple of the processes; each process takes its
            parts one after the other before an optimiser step. 0 is one for each process. With a
            number the same things are drawn, however many processes there are.
    """

    relation_index: Path
    token_cache: Path
    phrases: Path
    phrases_per_step: int = 128
    other_share: float = 0.2
    documents_per_step: int = 8
    items_per_step: int = 128
    steps_per_epoch: int = 50
    val_phrases: int = 1024
    shards: int = 0

    def __post_init__(self) -> None:
        """Raises:
        ConfigurationError: a value is out of its range.
        """
        if not 0 <= self.other_share <= 1:
            raise ConfigurationError(
                f'--data.other_share is {self.other_share:g}: it is a share, 0 to 1.'
            )
        for name, least in (
            ('phrases_per_step', 1),
            ('documents_per_step', 0),
            ('items_per_step', 1),
            ('steps_per_epoch', 1),
            ('val_phrases', 1),
        ):
            if getattr(self, name) < least:
                raise ConfigurationError(
                    f'--data.{name} is {getattr(self, name)}: it is at least {least}.'
                )


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


class PhraseBatch(NamedTuple):
    """B phrases: their tokens, and int64 (B,) the code of any level that each belongs to."""

    tokens: TokenTensors
    nodes: Tensor


class DocumentBatch(NamedTuple):
    """D codes: the tokens of their texts by channel, and int64 (D,) their indices."""

    tokens: dict[str, TokenTensors]
    codes: Tensor


class ItemBatch(NamedTuple):
    """I items of codes: anchor, positive int64 (I,), negatives int64 (I, K), as indices of codes,
    and the hardness of each negative, uint8 (I, K)."""

    anchor: Tensor
    positive: Tensor
    negatives: Tensor
    hardness: Tensor


class StepBatch(NamedTuple):
    """One step of a shard; a validation step has phrases alone."""

    phrases: PhraseBatch
    documents: DocumentBatch | None = None
    items: ItemBatch | None = None


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


class StepDataModule(LightningDataModule):
    """Training and validation steps of one curriculum stage, of this process's shards.

    Validation asks the entries that are set aside from training; where there are none, a fixed
    part of the phrases that are trained on.

    Attributes:
        samplers: draw the items, one for each shard of this process, by its number.
        shards: how many shards a step has in all processes.
        cache: tokens of the edition.
        phrases: of the edition.
    """

    def __init__(
        self,
        index: RelationIndex,
        cache: TokenCache,
        phrases: Phrases,
        stage: Stage,
        settings: DataSettings,
        *,
        channels: Sequence[str],
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Args:
        index: the edition's relations.
        cache: its tokens.
        phrases: its phrases.
        stage: which items to draw.
        settings: how much of each.
        channels: that the model reads of a document.
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
        self.phrases = phrases
        self._channels = tuple(channels)
        self._settings = settings
        self._seed = seed
        # Stages of one fit after the other: each reads the phrases in another order.
        word = crc32(stage.name.encode())
        self._entries, self._others, self._documents = (
            Passes(max(count, 1), derived_seed(seed, word, kind))
            for kind, count in enumerate(
                (len(phrases.entries), len(phrases.others), len(index.codes))
            )
        )

    @property
    def sampler(self) -> TripletSampler:
        """The sampler of the first shard; all are of one stage and one edition."""
        return next(iter(self.samplers.values()))

    def train_dataloader(self) -> DataLoader[StepBatch]:
        trainer = self.trainer
        assert trainer is not None, 'training steps belong to a running fit'
        steps = EpochSteps(
            self._settings.steps_per_epoch * len(self.samplers),
            self.steps,
            lambda: trainer.current_epoch,
        )
        # In the process itself: composing a step takes milliseconds beside encoding it.
        return DataLoader(steps, batch_size=None, num_workers=0)

    def val_dataloader(self) -> DataLoader[StepBatch]:
        """Return the same steps at every validation."""
        return DataLoader(list(self.validation_steps()), batch_size=None, num_workers=0)  # type: ignore[arg-type]

    def validation_steps(self) -> Iterator[StepBatch]:
        """Yield the phrases of a validation, as many of them in each process."""
        settings, phrases = self._settings, self.phrases
        rows = phrases.validation
        if not len(rows):
            rows = np.concatenate([phrases.entries, phrases.others])
        rows = np.random.default_rng(self._seed).permutation(rows)[: settings.val_phrases]
        # The least number that leaves none without: figures are averaged over processes.
        each = max(len(rows) // self.shards, 1)
        for shard in self.samplers:
            own = rows[np.arange(shard * each, (shard + 1) * each) % len(rows)]
            for start in range(0, each, settings.phrases_per_step):
                yield StepBatch(self._phrases(own[start : start + settings.phrases_per_step]))

    def steps(self, epoch: int) -> Iterator[StepBatch]:
        """Yield the batches of an epoch, a step's shards in a row."""
        for shard, sampler in self.samplers.items():
            fresh = np.random.default_rng(derived_seed(self._seed, shard, epoch)).bit_generator
            # Re-seeded and not made anew: preparing a sampler takes about a second.
            sampler.generator.bit_generator.state = fresh.state
        step = epoch * self._settings.steps_per_epoch
        while True:
            for shard in self.samplers:
                yield self._step(shard, step)
            step += 1

    def _step(self, shard: int, step: int) -> StepBatch:
        settings, phrases = self._settings, self.phrases
        others = self._other_count()
        rows = [
            part[order.at(self._positions(count, shard, step))]
            for part, order, count in (
                (phrases.entries, self._entries, settings.phrases_per_step - others),
                (phrases.others, self._others, others),
            )
            if count
        ]
        documents = None
        if settings.documents_per_step:
            # At the end of a pass one code may come twice.
            documents = self._documents_of(
                np.unique(
                    self._documents.at(self._positions(settings.documents_per_step, shard, step))
                )
            )
        items = self.samplers[shard].draw(settings.items_per_step)
        return StepBatch(
            phrases=self._phrases(np.concatenate(rows)),
            documents=documents,
            items=ItemBatch(*(torch.from_numpy(part) for part in items)),
        )

    def _other_count(self) -> int:
        """Return how many phrases of a step are no entries."""
        settings = self._settings
        if not len(self.phrases.entries):
            return settings.phrases_per_step
        if not len(self.phrases.others):
            return 0
        return round(settings.other_share * settings.phrases_per_step)

    def _positions(self, count: int, shard: int, step: int) -> NDArray[np.int64]:
        """Return the positions (count,) of a shard's part of a step in an endless row."""
        return (step * self.shards + shard) * count + np.arange(count, dtype=np.int64)

    def _phrases(self, rows: NDArray[np.int64]) -> PhraseBatch:
        return PhraseBatch(
            token_tensors(self.phrases.tokens(rows)), torch.from_numpy(self.phrases.nodes[rows])
        )

    def _documents_of(self, codes: NDArray[np.int64]) -> DocumentBatch:
        return DocumentBatch(
            {name: token_tensors(self.cache.batch(name, codes)) for name in self._channels},
            torch.from_numpy(codes),
        )
