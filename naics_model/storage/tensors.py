"""Arrays with a header in one safetensors file: the format of what jobs read back as arrays.

No torch here, and no meaning: what the arrays and the header are is said where they are used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from naics_model.errors import DataError
from naics_model.storage.files import write_bytes

_HEADER = 'header'


def write_tensors(tensors: Mapping[str, NDArray[Any]], header: Any, path: Path) -> None:
    """Write arrays and a header (any JSON value) atomically; equal content gives equal bytes."""
    # One metadata entry: safetensors writes several in an order that changes between processes.
    metadata = {_HEADER: json.dumps(header, sort_keys=True)}
    write_bytes(save(dict(tensors), metadata=metadata), path)


def read_header(path: Path) -> Any:
    """Return the header of what `write_tensors` wrote, without its arrays; None of other files."""
    try:
        with safe_open(path, framework='numpy') as file:
            return json.loads((file.metadata() or {})[_HEADER])
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


def read_tensors(path: Path, what: str) -> tuple[Any, dict[str, NDArray[Any]]]:
    """Read what `write_tensors` wrote: the header and the arrays by name.

    Args:
        path: the file.
        what: what it should be, for the error: `a token cache`.

    Raises:
        DataError: the file is missing, or is not one of ours.
    """
    if not path.is_file():
        raise DataError(f'{path} does not exist: run the step that writes it first.')
    try:
        with safe_open(path, framework='numpy') as file:
            header = json.loads((file.metadata() or {})[_HEADER])
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError) as error:
        raise DataError(
            f'{path} is not {what} ({error}): name another file, or run the step that writes it '
            'again.'
        ) from error
