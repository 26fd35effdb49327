"""LoRA channels over one frozen backbone, pooled to one vector per code and channel.

Differs from one encoder per channel in memory only: the backbone is shared and each channel
switches its own adapter on. Fusion of the vectors is in moe.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from peft import LoraConfig, LoraModel
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from naics_model.encoder.backbones import first_position
from naics_model.encoder.packing import mean_vectors
from naics_model.encoder.tokens import ChannelTokens


class TokenTensors(NamedTuple):
    """`ChannelTokens` as tensors: input_ids and attention_mask int64 (P, L), rows int64 (P,)."""

    input_ids: Tensor
    attention_mask: Tensor
    rows: Tensor


def token_tensors(tokens: ChannelTokens, device: torch.device | str = 'cpu') -> TokenTensors:
    """Turn a channel's numpy tokens into tensors on a device; on the CPU they share memory."""
    return TokenTensors(*(torch.from_numpy(array).to(device) for array in tokens))


class ChannelEncoder(nn.Module):
    """Texts of C channels to vectors (count, C, width).

    Args:
        names: the C channels.
        backbone: a loaded transformer, (ids, mask) -> last_hidden_state (P, L, width); it is
            changed in place.
        targets: names of the modules to adapt, see `Backbone.lora_targets`; or `all-linear`.
        lora_r, lora_alpha, lora_dropout: rank, scale numerator (the update is scaled by alpha / r)
            and dropout of the adapters.
        channel_dropout: in training, the chance that a present channel of a code is left out; one
            always stays.
        gradient_checkpointing: hold the activations of one pass through the backbone at a time, and
            compute those of the others again for the gradient: less memory, one more forward pass.
    """

    def __init__(
        self,
        names: Sequence[str],
        backbone: PreTrainedModel,
        targets: tuple[str, ...] | Literal['all-linear'],
        *,
        lora_r: int,
        lora_alpha: int,
        lora_dropout: float,
        channel_dropout: float,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        # One configuration per adapter: peft writes into it.
        configs = {
            channel: LoraConfig(
                r=lora_r,
                lora_alpha=lora_alpha,
                lora_dropout=lora_dropout,
                target_modules=targets if isinstance(targets, str) else list(targets),
            )
            for channel in names
        }
        # The tuner puts the adapters in place; unwrapped, weights keep the backbone's own names.
        first, *others = names
        tuner = LoraModel(backbone, configs, first)
        for channel in others:
            tuner.inject_adapter(backbone, channel)
        self.names = tuple(names)
        self.backbone: nn.Module = backbone
        self.channel_dropout = channel_dropout
        self.gradient_checkpointing = gradient_checkpointing
        self.width: int = backbone.config.hidden_size
        self._first_position = first_position(backbone.config.model_type)
        # Pooled vectors differ in scale between backbones; after this they do not.
        self.norms = nn.ModuleDict({channel: nn.LayerNorm(self.width) for channel in names})
        # What stands in for a channel that a code does not have; 0 is a normalised vector's mean.
        self.absent = nn.Parameter(torch.zeros(len(names), self.width))
        self._adapted = [m for m in backbone.modules() if isinstance(m, LoraLayer)]
        for layer in self._adapted:
            # Under autocast peft would widen the input, which autocast narrows again.
            layer.cast_input_dtype_enabled = False
        self._lora = [p for name, p in backbone.named_parameters() if 'lora_' in name]
        for parameter in self._lora:
            parameter.requires_grad_(True)

    def forward(self, tokens: Mapping[str, TokenTensors], count: int) -> Tensor:
        """Encode `count` codes.

        Args:
            tokens: by channel name, the codes that have it (`rows`) and their tokens. A channel may
                be missing.

        Returns:
            float32 (count, C, width), absent channels by their learned vectors.
        """
        present = {channel: tokens[channel] for channel in self.names if channel in tokens}
        if self.training and self.channel_dropout > 0:
            present = self._drop(present, count)
        out = self.absent.expand(count, -1, -1).clone()
        for channel, part in present.items():
            if len(part.rows):
                column = self.names.index(channel)
                out[part.rows, column] = self.encode(channel, part.input_ids, part.attention_mask)
        return out

    def encode(self, channel: str, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Encode texts through one channel: (P, L) -> float32 (P, width).

        The vector is the mean of `mean_vectors`, normalised.
        """
        # Each pass switches its channel on: one that is computed again for the gradient finds the
        # adapter of the last channel there, and would get wrong gradients without any error. The
        # backbone's own checkpointing could not do this, and MPNet has none.
        backbone: Callable[..., Any] = partial(self._pass, channel)
        if self.gradient_checkpointing and torch.is_grad_enabled():
            backbone = partial(checkpoint, backbone, use_reentrant=False)
        means = mean_vectors(backbone, input_ids, attention_mask, self._first_position)
        normalised: Tensor = self.norms[channel](means)
        return normalised.float()

    def _pass(self, channel: str, **tokens: Tensor) -> Any:
        """Send tokens through the backbone with the adapter of a channel."""
        self._activate(channel)
        return self.backbone(**tokens)

    def _activate(self, channel: str) -> None:
        """Switch to one channel's adapter, and leave what is trainable as it was.

        peft's own switch makes every other adapter untrainable: a loop over channels would train
        the last one only, 24 of 96 tensors, with no error and a falling loss.
        """
        trainable = [parameter.requires_grad for parameter in self._lora]
        for layer in self._adapted:
            layer.set_adapter(channel)
        for parameter, wanted in zip(self._lora, trainable, strict=True):
            parameter.requires_grad_(wanted)

    def _drop(self, present: dict[str, TokenTensors], count: int) -> dict[str, TokenTensors]:
        """Leave out channels at random; one of each code's present ones, at random, stays."""
        device = self.absent.device
        has = torch.zeros(count, len(self.names), dtype=torch.bool, device=device)
        for channel, part in present.items():
            has[part.rows, self.names.index(channel)] = True
        chance = torch.rand(count, len(self.names), device=device).masked_fill(~has, -1.0)
        keep = chance >= self.channel_dropout
        # The channel with the luckiest draw stays whatever the threshold: uniform over the present
        # ones.
        keep[torch.arange(count, device=device), chance.argmax(dim=1)] = True
        kept = {}
        for channel, part in present.items():
            chosen = keep[part.rows, self.names.index(channel)]
            kept[channel] = TokenTensors(*(tensor[chosen] for tensor in part))
        return kept
