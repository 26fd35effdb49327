"""The command `naics data`: options in, steps run, a summary out."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.text import Text

from naics_model.console import plain_console
from naics_model.corpus.editions import edition as known_edition
from naics_model.corpus.editions import load_editions
from naics_model.corpus.options import DataDir, EditionName, options_of
from naics_model.dataset.dictionary import PUBLISHED, data_dictionary
from naics_model.dataset.steps import steps_of
from naics_model.dataset.terminal import build, summary, validate
from naics_model.encoder.backbones import MINILM, resolve_backbone
from naics_model.errors import ConfigurationError, DataError
from naics_model.storage.layout import EditionFolder

app = typer.Typer()


@app.callback(invoke_without_command=True)
def build_data(
    context: typer.Context,
    edition: EditionName,
    through: Annotated[
        str,
        typer.Option(metavar='STEP', help='The last step to run, such as relations or triplets.'),
    ] = 'token_cache',
    source_dir: Annotated[
        Path | None,
        typer.Option(
            metavar='DIR',
            envvar='NAICS_SOURCE_DIR',
            help='Read workbooks from DIR/EDITION/FILE, not from the Census Bureau.',
        ),
    ] = None,
    data_dir: DataDir = Path('data'),
    backbone: Annotated[
        str, typer.Option(metavar='NAME', help='The text encoder that tokens are cut for.')
    ] = MINILM,
) -> None:
    """Build the data of an edition: from the Census Bureau's workbooks to what training reads.

    Fetches the workbooks, cleans the texts, and writes the tables of codes, activities, phrases,
    distances, relations and triplets. A table that breaks a guarantee is not written: the last good
    one stays. The asset graph goes through the same steps, and adds lineage.

    **Examples**

    * `naics data --edition sample` builds the bundled edition, offline, in seconds

    * `naics data --edition 2022` fetches the real one from the Bureau's site

    * `naics data --edition 2017 --through relations` stops before triplets and tokens

    * `naics data validate` checks again what is there
    """
    if context.invoked_subcommand is not None:
        _refuse_options_before(context)
        return
    folder = EditionFolder(data_dir.absolute(), edition)
    steps = steps_of(folder, source_dir and source_dir.absolute(), backbone)
    names = [step.name for step in steps]
    if through not in names:
        raise ConfigurationError(
            f'Edition {edition} has no step {through!r}: --through takes one of {", ".join(names)}.'
        )
    if through == 'token_cache':
        # Known to be there before minutes of work, and not after.
        resolve_backbone(backbone)
    console = plain_console()
    console.print(f'{known_edition(edition).title}\n', style='bold')
    finished = build(folder, steps[: names.index(through) + 1], console)
    console.print()
    console.print(summary(finished, f'Edition {edition}'))
    console.print(f'\nFiles        {folder.path}')
    console.print(f'Check again  naics data validate {options_of(edition, data_dir)}')


@app.command('validate')
def validate_data(
    edition: Annotated[
        str | None,
        typer.Option('--edition', '-e', metavar='NAME', help='Only this edition; otherwise all.'),
    ] = None,
    data_dir: DataDir = Path('data'),
) -> None:
    """Run the checks on the tables that are there, without building anything.

    Exits with 1 if a table cannot be read or a blocking check fails.
    """
    root = data_dir.absolute()
    names = [known_edition(edition).name] if edition else list(load_editions())
    folders = [EditionFolder(root, name) for name in names]
    folders = [folder for folder in folders if folder.path.is_dir()]
    if not folders:
        raise DataError(
            f'{root} holds no edition to check: build one with naics data '
            f'{options_of(names[-1], data_dir)}.'
        )
    console = plain_console()
    broken = []
    for folder in folders:
        console.print(Text.assemble((f'Edition {folder.edition}', 'bold'), f', {folder.path}'))
        broken += [f'{folder.edition}/{name}' for name in validate(folder, console)]
    if broken:
        raise DataError(
            f'These files are not fit for use: {", ".join(broken)}; build them again with naics '
            f'data {options_of(broken[0].partition("/")[0], data_dir)}.'
        )


def _refuse_options_before(context: typer.Context) -> None:
    """Refuse options before the subcommand, where they would say nothing to it."""
    given = [
        f'--{name.replace("_", "-")}'
        for name in context.params
        if getattr(context.get_parameter_source(name), 'name', '') == 'COMMANDLINE'
    ]
    if given:
        raise ConfigurationError(
            f'{", ".join(given)} must stand after {context.invoked_subcommand}: naics data '
            f'{context.invoked_subcommand} --help shows what it takes.'
        )


@app.command('dictionary')
def write_dictionary() -> None:
    """Print the data dictionary: every table with its columns, examples and checks, in Markdown.

    Its examples are of the bundled edition, which is built in a temporary folder.
    """
    with TemporaryDirectory() as scratch:
        folder = EditionFolder(Path(scratch), 'sample')
        for step in steps_of(folder, None, MINILM):
            step.run(lambda line: None)
            if step.name == PUBLISHED[-1].name:
                break
        print(data_dictionary(folder), end='')
