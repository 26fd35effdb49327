"""The text encoder as a whole: a module that can be called, trained, saved and loaded.

What a saved folder looks like is in `pretrained.py`. How it is trained, and what the embeddings are
for, is not known here.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from naics_model.encoder.backbones import MINILM, load_backbone, resolve_backbone
from naics_model.encoder.channels import ChannelEncoder, TokenTensors, token_tensors
from naics_model.encoder.moe import LinearFusion, MeanFusion, MixtureOfExperts
from naics_model.encoder.pretrained import (
    CONFIG_FILE,
    check_fits,
    read_config,
    read_weights,
    write_model,
)
from naics_model.encoder.projection import HyperbolicProjection
from naics_model.encoder.settings import channel_names, check_settings
from naics_model.encoder.tokens import (
    MAX_LENGTH,
    TokenCache,
    cut_texts,
    length_buckets,
    token_cache,
)
from naics_model.errors import ConfigurationError, DataError


class EmbedderOutput(NamedTuple):
    """The two readings of each text, and its gate.

    Attributes:
        unit: float32 (count, width), unit vectors of the flat reading, compared by cosine.
        tangent: float32 (count, d), soft-clipped tangent vectors at the origin of the hyperbolic
            space.
        gate_probabilities: (count, E), or None without a gate.
    """

    unit: Tensor
    tangent: Tensor
    gate_probabilities: Tensor | None


class ParameterCounts(NamedTuple):
    trainable: int
    frozen: int


class NaicsEmbedder(nn.Module):
    """Text encoder with two readings: a unit vector and a point in hyperbolic space.

    The fused vector of a text, normalised, is the flat reading; its projection is the hyperbolic
    one. Free texts come through the first channel.

    Args:
        backbone: name, see `resolve_backbone`.
        lora_r: rank of the adapters.
        lora_alpha: numerator of their scale, alpha / r.
        lora_dropout: of the adapters' input.
        lora_layers: what is adapted: `attention` for its queries and values, `all` for every linear
            map of the backbone's blocks.
        channels: `one` reads a code as one text; `four` encodes title, description, exclusions and
            examples apart, with an adapter each, and fuses their vectors.
        fusion: `mean` of the channels, `moe` for a mixture of experts, `linear` for one linear map.
        experts: number of experts of the mixture; unused by linear fusion.
        top_k: how many of them a code uses.
        hyperbolic_dim: width d of the tangent vectors.
        max_radius: radii stay below it, in units of 1/sqrt(curvature), plain ones at 0.
        curvature: c >= 0, of the space of curvature -c; 0 is flat: the Euclidean control.
        start_radius: radius at which texts start, in the same units as `max_radius`.
        channel_dropout: in training, the chance that a present channel is left out.
        gradient_checkpointing: in training, hold the activations of one pass through the backbone
            at a time and compute those of the others again; the result is the same.

    Raises:
        ConfigurationError: a setting is out of range or the backbone is unknown.
        SourceError: the backbone's files can not be read.

    Example:
        >>> embedder = NaicsEmbedder.from_pretrained('data/2022/training/stage_3_hard/model')
        >>> embedder.encode(['Growing soybeans', 'Retail bakery']).tangent.shape
        torch.Size([2, 64])
    """

    def __init__(
        self,
        backbone: str = MINILM,
        lora_r: int = 8,
        lora_alpha: int = 16,
        lora_dropout: float = 0.1,
        lora_layers: Literal['attention', 'all'] = 'attention',
        channels: Literal['one', 'four'] = 'one',
        fusion: Literal['mean', 'moe', 'linear'] = 'mean',
        experts: int = 4,
        top_k: int = 2,
        hyperbolic_dim: int = 64,
        max_radius: float = 6.0,
        curvature: float = 1.0,
        start_radius: float = 2.0,
        channel_dropout: float = 0.0,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.settings: dict[str, Any] = {
            'backbone': backbone,
            'lora_r': lora_r,
            'lora_alpha': lora_alpha,
            'lora_dropout': lora_dropout,
            'lora_layers': lora_layers,
            'channels': channels,
            'fusion': fusion,
            'experts': experts,
            'top_k': top_k,
            'hyperbolic_dim': hyperbolic_dim,
            'max_radius': max_radius,
            'curvature': curvature,
            'start_radius': start_radius,
            'channel_dropout': channel_dropout,
            'gradient_checkpointing': gradient_checkpointing,
        }
        check_settings(self.settings)
        self.backbone = resolve_backbone(backbone)
        self.channels = ChannelEncoder(
            channel_names(channels),
            load_backbone(self.backbone),
            self.backbone.lora_targets if lora_layers == 'attention' else 'all-linear',
            lora_r=lora_r,
            lora_alpha=lora_alpha,
            lora_dropout=lora_dropout,
            channel_dropout=channel_dropout,
            gradient_checkpointing=gradient_checkpointing,
        )
        width, count = self.channels.width, len(self.channels.names)
        self.fusion: MeanFusion | MixtureOfExperts | LinearFusion
        if fusion == 'moe':
            self.fusion = MixtureOfExperts(count, width, experts, top_k)
        elif fusion == 'linear':
            self.fusion = LinearFusion(count, width)
        else:
            self.fusion = MeanFusion(count)
        self.projection = HyperbolicProjection(
            width, hyperbolic_dim, max_radius, curvature, start_radius
        )

    def forward(self, tokens: Mapping[str, TokenTensors], count: int) -> EmbedderOutput:
        """Embed `count` codes, or free texts that come through the first channel alone.

        Args:
            tokens: by channel name, as `ChannelEncoder.forward` takes them.
            count: number of rows of the result.
        """
        return self._head(self.channels(tokens, count))

    def encode(
        self,
        texts: Sequence[str],
        batch_size: int = 64,
        log: Callable[[str], None] = warnings.warn,
    ) -> EmbedderOutput:
        """Embed free texts through the first channel, in eval mode and without gradients.

        Args:
            texts: none of them blank; what is beyond 128 tokens is not read.
            batch_size: texts per batch; changes the memory needed, not the result.
            log: told in a sentence how many texts were cut, if any.

        Returns:
            both readings on the CPU, in the given order.

        Raises:
            DataError: a text is blank.
        """
        for place, text in enumerate(texts, start=1):
            if not text.strip():
                raise DataError(
                    f'Text {place} of {len(texts)} is empty, and has no place in the space: leave '
                    'it out.'
                )
        cut = cut_texts(texts, self.backbone.name)
        if cut.truncated:
            log(f'{cut.truncated} of {len(texts)} texts were read to {MAX_LENGTH} tokens only')
        parts, order = [], []
        with _inference(self):
            for rows in length_buckets(cut.texts.lengths, batch_size):
                tokens = token_tensors(cut.texts.batch(rows, cut.pad_id), self.device)
                parts.append(_on_cpu(self({self.text_channel: tokens}, len(rows))))
                order.append(torch.from_numpy(rows))
        if not parts:
            return self._nothing()
        return _in_order(parts, torch.cat(order))

    def encode_codes(
        self,
        codes: pl.DataFrame | TokenCache,
        batch_size: int = 64,
        progress: Callable[[int, int], None] | None = None,
    ) -> EmbedderOutput:
        """Embed the texts of every code of an edition, in the given order, on the CPU.

        Each channel is encoded over all codes in batches of similar length, and fused afterwards;
        the result is that of `forward` in eval mode.

        Args:
            codes: the table of descriptions, or its tokens.
            batch_size: texts per batch; changes the memory needed, not the result.
            progress: called after each batch with (texts done, texts in all).

        Raises:
            ConfigurationError: the tokens were cut for another backbone.
            DataError: a code has no title.
        """
        if isinstance(codes, TokenCache):
            cache = codes
        else:
            cache = token_cache(codes, backbone=self.backbone.name)
        with _inference(self):
            features = self._features(cache, self.channels.names, batch_size, progress)
            return _joined([_on_cpu(self._head(part)) for part in features.split(1024)])

    def document_features(
        self, cache: TokenCache, rows: NDArray[np.integer], batch_size: int = 64
    ) -> Tensor:
        """Return the channel vectors (len(rows), C, width) of some codes, in eval mode."""
        with _inference(self):
            return self._features(cache, self.channels.names, batch_size, rows=rows)

    def start_along(self, features: Tensor) -> EmbedderOutput:
        """Start the projection of a new model along the principal directions of the codes' texts.

        Of four channels only the first, the titles, gives the directions, because free texts come
        through it.

        Args:
            features: (n, C, width), see `document_features`.

        Returns:
            both readings of the documents, with that projection.
        """
        with _inference(self):
            first = self.channels.absent.expand_as(features).clone()
            first[:, 0] = features[:, 0]
            self.projection.start_along(self._head(first).unit)
            return self._head(features)

    def _features(
        self,
        cache: TokenCache,
        channels: Sequence[str],
        batch_size: int,
        progress: Callable[[int, int], None] | None = None,
        rows: NDArray[np.integer] | None = None,
    ) -> Tensor:
        """Encode some channels of some codes, or all: (n, C, width), the others as absent."""
        cache.check_backbone(self.backbone)
        rows = np.arange(len(cache)) if rows is None else rows
        texts = {channel: _distinct(cache, channel, rows) for channel in channels}
        total = sum(len(part.first) for part in texts.values())
        done = 0
        features = self.channels.absent.expand(len(rows), -1, -1).clone()
        for channel, part in texts.items():
            vectors = features.new_empty(len(part.first), self.channels.width)
            for bucket in length_buckets(part.lengths, batch_size):
                tokens = token_tensors(cache.batch(channel, part.first[bucket]), self.device)
                vectors[torch.from_numpy(bucket).to(self.device)] = self.channels.encode(
                    channel, tokens.input_ids, tokens.attention_mask
                )
                done += len(bucket)
                if progress is not None:
                    progress(done, total)
            codes, which = (torch.from_numpy(a).to(self.device) for a in part[2:])
            features[codes, self.channels.names.index(channel)] = vectors[which]
        return features

    def _nothing(self) -> EmbedderOutput:
        """Return the readings of no text."""
        width, dimension = self.channels.width, self.settings['hyperbolic_dim']
        return EmbedderOutput(torch.zeros(0, width), torch.zeros(0, dimension), None)

    @property
    def text_channel(self) -> str:
        """The channel that free texts come through."""
        return self.channels.names[0]

    @property
    def curvature(self) -> float:
        """c, of the space of curvature -c that the tangent vectors belong to; 0 if it is flat."""
        return float(self.settings['curvature'])

    @property
    def device(self) -> torch.device:
        return self.channels.absent.device

    def parameter_counts(self) -> ParameterCounts:
        """Return how many weights are trained, and how many are the backbone's."""
        counts = [(p.numel(), p.requires_grad) for p in self.parameters()]
        return ParameterCounts(
            trainable=sum(size for size, trained in counts if trained),
            frozen=sum(size for size, trained in counts if not trained),
        )

    def save_pretrained(self, folder: Path) -> None:
        """Write config.json and model.safetensors, the latter with everything but the backbone."""
        write_model(
            folder,
            self.own_state(),
            self.backbone,
            self.settings,
            self.parameter_counts()._asdict(),
        )

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> Self:
        """Load a folder written by `save_pretrained`, in eval mode.

        Raises:
            DataError: a file is missing or damaged.
            ConfigurationError: settings, backbone and weights do not belong together.
        """
        folder = Path(folder)
        config = read_config(folder)
        try:
            embedder = cls(**config['settings'])
        except TypeError as error:
            raise ConfigurationError(
                f'{folder / CONFIG_FILE} has settings this version does not know ({error}): export '
                'the model again.'
            ) from error
        embedder.load_weights(folder)
        return embedder.eval()

    def load_weights(self, folder: Path) -> None:
        """Take over the weights of a model saved with the same settings; dropouts may differ.

        Raises:
            DataError: a file is missing or damaged.
            ConfigurationError: a setting or the backbone differs, or the weights do not fit.
        """
        check_fits(folder, self.settings, self.backbone)
        weights = read_weights(folder, self.own_state())
        self.load_state_dict(weights, strict=False)

    def own_state(self) -> dict[str, Tensor]:
        """Return the weights that are ours: the whole state without the frozen backbone."""
        return {
            name: tensor
            for name, tensor in self.state_dict().items()
            if not name.startswith('channels.backbone.') or '.lora_' in name
        }

    def _head(self, features: Tensor) -> EmbedderOutput:
        """Fuse and project channel vectors (count, C, width)."""
        fused = self.fusion(features.flatten(start_dim=1))
        unit = nn.functional.normalize(fused.vectors.float(), dim=1)
        return EmbedderOutput(unit, self.projection(unit), fused.gate_probabilities)


class _Texts(NamedTuple):
    """The different texts of a channel.

    Attributes:
        first: (T,), the first code of each.
        lengths: (T,), tokens of each.
        codes: (P,), the codes that have the channel, as positions among those asked for.
        which: (P,), the text of each of them, 0 to T - 1.
    """

    first: NDArray[np.int64]
    lengths: NDArray[np.int64]
    codes: NDArray[np.int64]
    which: NDArray[np.int64]


def _distinct(cache: TokenCache, channel: str, rows: NDArray[np.integer]) -> _Texts:
    """Find the texts of a channel that are the same, among those of some codes."""
    ids, mask, codes = cache.batch(channel, rows)
    _, first, which = np.unique(ids, axis=0, return_index=True, return_inverse=True)
    return _Texts(rows[codes[first]].astype(np.int64), mask.sum(axis=1)[first], codes, which)


def _on_cpu(output: EmbedderOutput) -> EmbedderOutput:
    gates = output.gate_probabilities
    return EmbedderOutput(
        output.unit.cpu(), output.tangent.cpu(), None if gates is None else gates.cpu()
    )


def _joined(parts: Sequence[EmbedderOutput]) -> EmbedderOutput:
    """Return the rows of several outputs as one."""
    unit, tangent, gates = zip(*parts, strict=True)
    return EmbedderOutput(
        torch.cat(unit), torch.cat(tangent), None if gates[0] is None else torch.cat(gates)
    )


def _in_order(parts: Sequence[EmbedderOutput], places: Tensor) -> EmbedderOutput:
    """Return the rows of several outputs at their places."""
    back = torch.argsort(places)
    unit, tangent, gates = _joined(parts)
    return EmbedderOutput(unit[back], tangent[back], None if gates is None else gates[back])


@contextmanager
def _inference(module: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients inside; the mode as it was afterwards."""
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(was_training)
