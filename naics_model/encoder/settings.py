"""What an embedder's settings may be. Their meaning is told by `NaicsEmbedder`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from naics_model.encoder.tokens import CHANNELS, DOCUMENT
from naics_model.errors import ConfigurationError

FREE_SETTINGS = ('lora_dropout', 'channel_dropout', 'gradient_checkpointing', 'start_radius')
"""Settings that may change between two fits of the same weights."""


def channel_names(channels: str) -> tuple[str, ...]:
    """Return the names of the channels, by the setting `channels`; free texts use the first."""
    return (DOCUMENT,) if channels == 'one' else CHANNELS


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse settings out of range, in one sentence.

    Raises:
        ConfigurationError: names the setting, its value and what it may be.
    """
    rules = {
        'lora_r': (settings['lora_r'] >= 1, 'at least 1'),
        'lora_alpha': (settings['lora_alpha'] > 0, 'above 0'),
        'lora_dropout': (0 <= settings['lora_dropout'] < 1, '0 or more and below 1'),
        'lora_layers': (
            settings['lora_layers'] in ('attention', 'all'),
            "'attention' or 'all'",
        ),
        'channels': (settings['channels'] in ('one', 'four'), "'one' or 'four'"),
        'fusion': (
            settings['fusion'] in ('mean', 'moe', 'linear'),
            "'mean', 'moe' or 'linear'",
        ),
        'experts': (settings['experts'] >= 1, 'at least 1'),
        'top_k': (1 <= settings['top_k'] <= settings['experts'], 'between 1 and experts'),
        'hyperbolic_dim': (settings['hyperbolic_dim'] >= 2, 'at least 2'),
        # Beyond 8, a float32 distance of 1 is off by 0.3 in the ordinary formula that users may
        # apply.
        'max_radius': (0 < settings['max_radius'] <= 8, 'above 0 and at most 8'),
        'curvature': (
            settings['curvature'] >= 0,
            '0 or more (c, for a space of curvature -c; 0 is flat: the Euclidean control)',
        ),
        'start_radius': (
            0 < settings['start_radius'] < settings['max_radius'],
            'above 0 and below max_radius',
        ),
        'channel_dropout': (0 <= settings['channel_dropout'] < 1, '0 or more and below 1'),
    }
    for name, (holds, allowed) in rules.items():
        if not holds:
            raise ConfigurationError(f'{name} is {settings[name]!r}, but must be {allowed}.')
