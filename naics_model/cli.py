"""The command `naics`: one word for each thing that can be done without the asset graph.

Only the front door: each word's options and work are in a room of their own. `naics_assets.cli`
adds the words that look after the graph; what is installed as `naics` has all of them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import typer
from dotenv import load_dotenv

from naics_model.curriculum import cli as curriculum
from naics_model.dataset import cli as dataset
from naics_model.errors import NaicsError
from naics_model.evaluation.table_command import evaluate_table
from naics_model.upkeep import cli as upkeep

app = typer.Typer(
    name='naics',
    help='NAICS codes in hyperbolic space: from the workbooks of the Census Bureau to embeddings.',
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode='markdown',
    pretty_exceptions_enable=False,
)
app.add_typer(dataset.app, name='data')
app.add_typer(curriculum.app, name='curriculum')
app.command('evaluate')(evaluate_table)
app.add_typer(upkeep.app, name='editions')


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return 1, after one sentence, for what a person can mend.

    Settings that the environment lacks are read from `.env` in the current folder.

    Args:
        arguments: the command line without the program; that of the process when None.

    Raises:
        SystemExit: with 0 after success, 2 after a mistake in the options.
    """
    load_dotenv(Path('.env'), override=False)
    try:
        app(arguments)
    except NaicsError as error:
        print(f'Error: {error}', file=sys.stderr)
    return 1


if __name__ == '__main__':
    sys.exit(main())
