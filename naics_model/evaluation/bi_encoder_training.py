"""A plain LoRA bi-encoder: the bar that experts, curriculum and hyperbolic geometry have to clear.

One adapter on one sentence encoder learns to put an index entry beside the text of its code. Texts
in, unit vectors out. No files, and no held-out entry: those are only known to `bi_encoder`, which
reads, measures and is the command.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from peft import LoraConfig, LoraModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from naics_model.encoder.backbones import MINILM, first_position, load_backbone, resolve_backbone
from naics_model.encoder.channels import TokenTensors, token_tensors
from naics_model.encoder.packing import mean_vectors
from naics_model.encoder.tokens import MAX_LENGTH, tokenize
from naics_model.errors import DataError, NaicsError
from naics_model.jobs.seeds import derived_seed

_SECONDS_BETWEEN_LINES = 10


@dataclass(frozen=True)
class Settings:
    """How the adapter is trained; the defaults are those of the figures in the documents.

    Attributes:
        backbone: a name that `encoder.backbones` knows.
        epochs: passes over the entries.
        batch_size: entries in a step; each has the codes of the others as negatives.
        learning_rate: its peak, after the first tenth of the steps; from there it falls on a line
            to 0 (AdamW).
        temperature: of the loss; cosines divided by it are the logits.
        max_length: texts are cut to so many tokens in training.
        lora_r, lora_alpha: rank of the adapter, and its scale times the rank.
        seed: of the adapter's start and of the order of entries.
        max_steps: end after so many steps, for a trial; None is all of them.
    """

    backbone: str = MINILM
    epochs: int = 3
    batch_size: int = 96
    learning_rate: float = 5e-4
    temperature: float = 0.05
    max_length: int = 64
    lora_r: int = 16
    lora_alpha: int = 32
    seed: int = 0
    max_steps: int | None = None


@dataclass(frozen=True)
class BiEncoder:
    """A trained encoder of short texts.

    Attributes:
        backbone: the name of what it was trained from, whose tokenizer cuts its texts.
        model: the backbone with its adapter, (ids, mask) -> last_hidden_state.
        history: `train/loss` of each epoch, the mean over its steps.
        steps: number of steps trained.
    """

    backbone: str
    model: PreTrainedModel
    history: tuple[Mapping[str, float], ...] = ()
    steps: int = 0

    def encode(self, texts: Sequence[str], max_length: int = MAX_LENGTH) -> NDArray[np.float32]:
        """Return unit vectors (n, d) of n texts, each the mean over its first tokens."""
        tokens = _tokens(texts, self.backbone, max_length)
        with torch.inference_mode():
            vectors: NDArray[np.float32] = _unit_vectors(self.model, tokens).cpu().numpy()
        return vectors


def train_bi_encoder(
    documents: Sequence[str],
    entries: Sequence[str],
    owners: NDArray[np.integer],
    settings: Settings,
    *,
    log: Callable[[str], None],
    on_epoch: Callable[[int, Mapping[str, float]], None],
) -> BiEncoder:
    """Train an adapter to put each entry nearer to its own code's document than to the others'.

    Entries that do not fill the last batch of an epoch wait for the next order. On one machine the
    same seed gives the same encoder.

    Args:
        documents: c texts, one for each code.
        entries: e texts that may be learned from.
        owners: (e,) the code of each entry, 0 to c - 1.
        settings: how.
        log: told a line now and then.
        on_epoch: given the epoch's number, from 0, and its `train/loss`.

    Raises:
        DataError: there are fewer than two entries, so that none has a negative.
        NaicsError: the loss is no longer finite.
    """
    size = min(settings.batch_size, len(entries))
    if size < 2:
        raise DataError(
            'The bi-encoder needs two train activities or more, so that each has a negative, but '
            f'there are {len(entries)}: build the activities of this edition again.'
        )
    model = _adapted(settings)
    steps = settings.epochs * (len(entries) // size)
    if settings.max_steps is not None:
        steps = min(steps, settings.max_steps)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trainable, lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda s: rate_share(s, steps))
    texts = _tokens(documents, settings.backbone, settings.max_length)
    asked = _tokens(entries, settings.backbone, settings.max_length)

    step, last_said = 0, time.monotonic()
    history: list[Mapping[str, float]] = []
    model.train()
    for epoch in range(settings.epochs):
        losses = []
        for batch in batches(len(entries), size, derived_seed(settings.seed, epoch)):
            if step == steps:
                break
            # A code with several entries in the batch is encoded once: a tenth less work in 2022.
            codes, place = np.unique(owners[batch], return_inverse=True)
            loss = in_batch_loss(
                _unit_vectors(model, asked, batch),
                _unit_vectors(model, texts, codes)[torch.from_numpy(place)],
                torch.from_numpy(owners[batch]),
                settings.temperature,
            )
            losses.append(loss.item())
            step += 1
            if not np.isfinite(losses[-1]):
                raise NaicsError(
                    f'The loss became {losses[-1]} at step {step}: lower --learning-rate.'
                )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            if time.monotonic() - last_said >= _SECONDS_BETWEEN_LINES:
                last_said = time.monotonic()
                log(f'step {step}/{steps}: loss {losses[-1]:.4f}')
        if losses:
            history.append({'train/loss': float(np.mean(losses))})
            on_epoch(epoch, history[-1])
    return BiEncoder(settings.backbone, model.eval(), tuple(history), step)


def in_batch_loss(entries: Tensor, documents: Tensor, owners: Tensor, temperature: float) -> Tensor:
    """Return InfoNCE over a batch, from entries to documents and from documents to entries.

        L = mean_b -log( e^(x_b.y_b / t) / sum_j e^(x_b.y_j / t) )  +  the same with x, y exchanged

    where j goes over b itself and the pairs of other codes: another entry of the same code is no
    negative. Unlike `losses.info_nce` it is of cosines, and both ways.
    Source: van den Oord et al., Representation Learning with Contrastive Predictive Coding, 2018;
    both ways as in Radford et al., Learning Transferable Visual Models, 2021.

    Args:
        entries: x, (B, d) unit vectors.
        documents: y, (B, d) unit vectors of the entries' own codes.
        owners: (B,) the code of each.
        temperature: t > 0.

    Returns:
        scalar, at least 0.
    """
    own = torch.arange(len(owners), device=entries.device)
    owners = owners.to(entries.device)
    twins = (owners[:, None] == owners[None, :]) & (own[:, None] != own[None, :])
    logits = (entries @ documents.T / temperature).masked_fill(twins, -torch.inf)
    there = nn.functional.cross_entropy(logits, own)
    return there + nn.functional.cross_entropy(logits.T, own)


def batches(count: int, size: int, seed: int) -> list[NDArray[np.intp]]:
    """Return whole batches (size,) of 0 to count - 1 in an order drawn with the seed."""
    order = np.random.default_rng(seed).permutation(count)
    return list(order[: count - count % size].reshape(-1, size))


def rate_share(step: int, total: int) -> float:
    """Return the share of the peak learning rate at a step: up over a tenth, then down to 0."""
    warmup = max(1, total // 10)
    return min(1.0, (step + 1) / warmup) * (1 - step / total)


def _adapted(settings: Settings) -> PreTrainedModel:
    """Return the frozen backbone with one trainable adapter on every linear layer of its blocks.

    That is query, key, value and the three `dense` of each block of BERT's kind: 663,552 weights
    on MiniLM.
    """
    config = LoraConfig(
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=0.0,
        target_modules='all-linear',
    )
    backbone = load_backbone(resolve_backbone(settings.backbone))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        # Puts the adapter into the backbone, and leaves nothing else trainable.
        LoraModel(backbone, config, 'default')
    return backbone.to(_device())


def _device() -> str:
    return 'cuda' if torch.cuda.is_available() else 'cpu'


def _tokens(texts: Sequence[str], backbone: str, max_length: int) -> TokenTensors:
    return token_tensors(tokenize(texts, backbone, max_length), _device())


def _unit_vectors(
    model: PreTrainedModel, tokens: TokenTensors, rows: NDArray[np.integer] | None = None
) -> Tensor:
    """Return unit vectors (n, d) of some of the texts, all by default."""
    ids, mask, everyone = tokens
    chosen = everyone if rows is None else torch.from_numpy(rows).to(everyone.device)
    # float32 on a CPU: one without instructions for bfloat16 (AVX2 alone) needs ten times the
    # CPU-seconds for it, 5.6 in place of 0.55 for four pairs.
    with torch.autocast(ids.device.type, torch.bfloat16, enabled=ids.device.type == 'cuda'):
        means = mean_vectors(
            model, ids[chosen], mask[chosen], first_position(model.config.model_type)
        )
    return nn.functional.normalize(means, dim=1)
