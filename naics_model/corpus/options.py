"""The options by which commands name an edition and the folder of its data.

What belongs here: what several commands share, so that they agree on defaults and on words.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from naics_model.corpus.editions import load_editions
from naics_model.storage.layout import default_data_dir

LATEST = list(load_editions())[-1]
"""The default edition."""

EditionName = Annotated[
    str,
    typer.Option('--edition', '-e', metavar='NAME', help=f'One of {", ".join(load_editions())}.'),
]

DataDir = Annotated[
    Path,
    typer.Option(
        metavar='DIR', envvar='NAICS_DATA_DIR', help='Where files are, as DIR/EDITION/LAYER/FILE.'
    ),
]


def options_of(edition: str, data_dir: Path) -> str:
    """Return the options that name an edition in a data folder, to be pasted into a shell."""
    if data_dir.absolute() == default_data_dir():
        return f'--edition {edition}'
    return f'--edition {edition} --data-dir {shlex.quote(str(data_dir))}'
