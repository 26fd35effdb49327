"""The folder of a saved embedder: its files, and whether they belong to what is asked for.

The weights that were trained, and a config that names the backbone they belong to. What the weights
mean is the embedder's affair.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from naics_model.encoder.backbones import Backbone
from naics_model.encoder.settings import FREE_SETTINGS
from naics_model.errors import ConfigurationError, DataError
from naics_model.storage.files import read_json, write_bytes, write_json

CONFIG_FILE = 'config.json'
WEIGHTS_FILE = 'model.safetensors'


def write_model(
    folder: Path,
    weights: Mapping[str, Tensor],
    backbone: Backbone,
    settings: Mapping[str, Any],
    parameters: Mapping[str, int],
) -> None:
    """Write config.json and model.safetensors.

    Args:
        folder: where to; what is there is replaced.
        weights: by name, without the backbone's.
        backbone: which they belong to.
        settings: of the embedder.
        parameters: how many weights are trained and frozen, for people.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    write_bytes(save(plain), folder / WEIGHTS_FILE)
    config = {
        'backbone': {
            'name': backbone.name,
            'revision': backbone.revision,
            'digest': backbone.digest,
        },
        'settings': dict(settings),
        'parameters': dict(parameters),
    }
    write_json(config, folder / CONFIG_FILE)


def read_config(folder: Path) -> dict[str, Any]:
    """Read config.json.

    Raises:
        DataError: the file is missing, damaged, or of something else.
    """
    config: dict[str, Any] = read_json(folder / CONFIG_FILE)
    if not isinstance(config, dict) or not {'settings', 'backbone'} <= config.keys():
        raise DataError(f'{folder / CONFIG_FILE} does not describe an embedder.')
    return config


def check_fits(folder: Path, settings: Mapping[str, Any], backbone: Backbone) -> None:
    """Check that a saved model is of these settings and this backbone; dropouts may differ.

    Raises:
        DataError: see `read_config`.
        ConfigurationError: it is not.
    """
    config = read_config(folder)
    for name, value in settings.items():
        saved = config['settings'].get(name)
        if name not in FREE_SETTINGS and saved != value:
            raise ConfigurationError(
                f'The model in {folder} has {name} = {saved!r}, but {value!r} is asked for: '
                'use the same setting, or train from the start.'
            )
    if config['backbone']['digest'] != backbone.digest:
        raise ConfigurationError(
            f'The model in {folder} belongs to {backbone.name} with weights '
            f'{config["backbone"]["digest"][:12]}…, but the installed ones are '
            f'{backbone.digest[:12]}…: install revision {config["backbone"]["revision"]}.'
        )


def read_weights(folder: Path, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Read model.safetensors.

    Args:
        folder: where from.
        like: tensors of the names and shapes that it has to have.

    Raises:
        DataError: the file is missing or damaged.
        ConfigurationError: the weights are others.
    """
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise DataError(f'{path} does not exist: export the model again.')
    try:
        weights = load_file(path)
    except SafetensorError as error:
        raise DataError(f'{path} is damaged ({error}): export the model again.') from error
    if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in like.items()}:
        raise ConfigurationError(
            f'The weights in {path} do not fit the settings beside them: export the model again.'
        )
    return weights
