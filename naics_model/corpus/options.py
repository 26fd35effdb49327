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


def latest_edition() -> str:
    """Return the newest edition, which is meant where a command is told none."""
    return list(load_editions())[-1]


# Asked for when a command runs, not while this is imported: a mistake in an editions file of a
# person's own is then told in a sentence.
EditionName = Annotated[
    str,
    typer.Option(
        '--edition',
        '-e',
        metavar='NAME',
        default_factory=latest_edition,
        show_default='the newest',
        help='Its year, or sample; naics editions list shows them.',
    ),
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
