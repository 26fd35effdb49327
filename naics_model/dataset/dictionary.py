"""The data dictionary: what every published table holds, written from the code that writes it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from importlib.resources import files

import polars as pl

from naics_model.corpus.editions import expected_editions, load_editions
from naics_model.dataset.checks import CHECKED, TABLES
from naics_model.storage.files import scan_parquet
from naics_model.storage.layout import EditionFolder
from naics_model.storage.tables import Table
from naics_model.taxonomy.tree import LEVELS
from naics_model.triplets import build as triplets

PUBLISHED = (*(checked.table for checked in TABLES.values()), triplets.TABLE)
"""The published tables, in the order in which they are built."""

_ROWS_LOOKED_AT = 200
_EXAMPLE_CHARACTERS = 70
_LEVEL_NAMES = ('sectors', 'subsectors', 'industry groups', 'industries', 'national industries')


def data_dictionary(folder: EditionFolder) -> str:
    """Return the data dictionary as Markdown.

    Args:
        folder: an edition of which every table is there; the examples are taken from it.
    """
    introduction = files('naics_model.dataset').joinpath('introduction.md').read_text('utf-8')
    parts = [introduction.rstrip(), '## Editions', *_editions()]
    for table in PUBLISHED:
        parts += _section(table, folder)
    return '\n\n'.join(parts) + '\n'


def _editions() -> Iterable[str]:
    levels = [f'{name} ({level})' for level, name in zip(LEVELS, _LEVEL_NAMES, strict=True)]
    yield _markdown(
        ['edition', *levels, 'codes'],
        [
            [name, *(f'{n:,}' for n in known.counts.values()), f'{sum(known.counts.values()):,}']
            for name, known in load_editions().items()
        ],
    )
    for name, known in load_editions().items():
        if not known.packaged:
            addresses = (f'* {kind}: <{book.url}>' for kind, book in known.workbooks.items())
            yield f'Workbooks of {name}:\n\n' + '\n'.join(addresses)
    for name, workbooks in expected_editions().items():
        addresses = (f'* {kind}: <{url}>' for kind, url in workbooks.items())
        yield f'Where those of {name} are expected:\n\n' + '\n'.join(addresses)


def _section(table: Table, folder: EditionFolder) -> Iterable[str]:
    path = folder.file(table.name)
    # By its first columns, because triplets are in no fixed order.
    first = [column.name for column in table.columns[:3]]
    rows = scan_parquet(path).bottom_k(_ROWS_LOOKED_AT, by=first).collect().sort(first)
    yield f'## {table.name}'
    yield f'`<edition>/{path.relative_to(folder.path)}`. A row is {table.row}'
    yield _markdown(
        ['column', 'type', 'meaning', f'example ({folder.edition})'],
        [
            [f'`{column.name}`', column.type_name, column.meaning, _example(rows[column.name])]
            for column in table.columns
        ],
    )
    if table.name in CHECKED:
        yield 'Checks; a blocking one stops what follows:'
        yield _markdown(
            ['check', 'blocking', 'guarantee'],
            [
                [f'`{check.name}`', 'yes' if check.blocking else 'no', check.guarantee]
                for check in CHECKED[table.name].known()
            ],
        )


def _example(values: pl.Series) -> str:
    """Return the first value that there is, as JSON, cut to a line."""
    known = values.drop_nulls()
    text = json.dumps(known[0] if known.len() else None, ensure_ascii=False, default=list)
    text = text if len(text) <= _EXAMPLE_CHARACTERS else text[: _EXAMPLE_CHARACTERS - 1] + '…'
    return f'`{text}`'


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [[cell.replace('|', r'\|') for cell in row] for row in (head, *rows)]
    lines.insert(1, ['---'] * len(head))
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)
