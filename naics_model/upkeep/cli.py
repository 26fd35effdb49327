"""The command `naics editions`: which there are, what is there of each, and a new one added."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from naics_model.console import plain_console
from naics_model.corpus.edition_entry import add_entry, entry_text
from naics_model.corpus.editions import (
    PACKAGED_EDITIONS,
    Edition,
    editions_file,
    expected_editions,
    load_editions,
)
from naics_model.corpus.new_edition import CONCORDANCE, find_edition
from naics_model.corpus.options import DataDir
from naics_model.storage.layout import EditionFolder
from naics_model.upkeep.inventory import MISSING, Holding, holding

app = typer.Typer(no_args_is_help=True)


@app.callback()
def editions() -> None:
    """Which editions there are, what is on disk of each, and how a new one is added.

    An edition is known when it has an entry in the editions file, the package's own or the one that
    NAICS_EDITIONS_FILE names. docs/edition_runbook.md leads through a new one.

    **Examples**

    * `naics editions list`

    * `naics editions status`

    * `naics editions add 2027 --from workbooks/2027 --dry-run`
    """


@app.command('list')
def list_editions() -> None:
    """List the editions, with their codes on each level, and those that are expected."""
    console = plain_console()
    table = _table('edition', 'title', 'codes', 'per level', 'workbooks')
    for name, known in load_editions().items():
        counts = [f'{count:,}' for count in known.counts.values()]
        table.add_row(
            name, known.title, f'{sum(known.counts.values()):,}', ' '.join(counts), _origin(known)
        )
    for name in expected_editions():
        table.add_row(name, 'expected', '', '', 'not published yet', style='dim')
    console.print(table)
    console.print(f'\nFrom {editions_file()}')


def _origin(known: Edition) -> str:
    if known.packaged:
        return 'bundled'
    return 'published' if all(book.url for book in known.workbooks.values()) else 'of your own'


@app.command('status')
def show_status(data_dir: DataDir = Path('data')) -> None:
    """Show what is on disk of each edition, and how old it is.

    Of the workbooks it tells whether they are the bytes that this release was tested with. Whether
    tables keep their guarantees is told by naics data validate.
    """
    root = data_dir.absolute()
    console = plain_console()
    table = _table(
        'edition', 'workbooks', 'tables', 'stages', 'embeddings', 'release', 'MB', 'newest'
    )
    lacking = []
    for name in load_editions():
        found = holding(EditionFolder(root, name))
        table.add_row(*_row(found))
        if found.tables and found.lacking:
            lacking.append(f'{name} lacks {", ".join(found.lacking)}')
    console.print(table)
    console.print()
    for line in lacking:
        console.print(line)
    console.print(f'Files in {root}')


def _row(found: Holding) -> list[str]:
    if found.newest is None:
        return [found.edition, 'nothing yet']
    books = '\n'.join(f'{count} {what}' for what, count in found.workbooks.items())
    return [
        found.edition,
        books if set(found.workbooks) != {MISSING} else '',
        f'{len(found.tables)} of {len(found.tables) + len(found.lacking)}',
        str(len(found.stages) or ''),
        '\n'.join(found.embeddings),
        found.released or '',
        f'{found.bytes / 1e6:,.1f}',
        f'{found.newest.astimezone():%Y-%m-%d %H:%M}',
    ]


@app.command('add')
def add_edition(
    name: Annotated[str, typer.Argument(metavar='NAME', help="The edition's year.")],
    folder: Annotated[
        Path,
        typer.Option(
            '--from', metavar='FOLDER', help='The published workbooks, under their names.'
        ),
    ],
    title: Annotated[
        str | None,
        typer.Option(metavar='TEXT', help='Its name in words; by default as those before.'),
    ] = None,
    url_base: Annotated[
        str | None,
        typer.Option(
            metavar='URL',
            help='The address of the folder that they are published in. By default the addresses '
            'where the edition is expected, if there are any.',
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option('--dry-run', help='Show the entry, and write nothing.')
    ] = False,
) -> None:
    """Add an edition: look at its workbooks, and write its entry into the editions file.

    Sheets, header rows and columns are found by what they were in the editions before, with the
    year replaced; codes are counted on each level; the digests are those of the files. The entry
    takes the place of an expected one, or its place by the year; the rest of the file stays.

    **Examples**

    * `naics editions add 2027 --from workbooks/2027 --dry-run`

    * `naics editions add 2027 --from workbooks/2027 --url-base
      https://www.census.gov/naics/2027NAICS`
    """
    folder = folder.absolute()
    found = find_edition(name, folder, title=title, url_base=url_base)
    file = editions_file()
    console = plain_console()
    console.print(entry_text(found), style='green', end='')
    console.print()
    if CONCORDANCE not in found.workbooks:
        console.print(
            f'There is no concordance of {name} in {folder}: nothing will be known of what its '
            'codes came from.',
            style='yellow',
        )
    without = [book.name for book in found.workbooks.values() if book.url is None]
    if without:
        console.print(
            f'No address is known of {", ".join(without)} (--url-base gives one): these are read '
            'from NAICS_SOURCE_DIR alone.',
            style='yellow',
        )
    if dry_run:
        console.print(f'Not written to {file}')
        return
    add_entry(file, found)
    console.print(f'Written to {file}')
    source = f'NAICS_SOURCE_DIR={folder.parent} ' if folder.name == name else ''
    console.print(f'Check it    {source}naics data --edition {name} --through relations')
    if file == PACKAGED_EDITIONS:
        console.print(f'Keep it     commit {file.name}')


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    for heading in headings:
        numeric = heading in ('codes', 'per level', 'MB', 'tables', 'stages')
        table.add_column(
            heading, justify='right' if numeric else 'left', no_wrap=numeric or heading == 'newest'
        )
    return table
