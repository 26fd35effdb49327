"""The entry of an edition as text, and its place among the others in an editions file.

All other text of the file stays as it is, comments among it. What is in an entry is found by
`new_edition.py`, and read by `editions.py`.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from naics_model.corpus.editions import OWN_EDITIONS, Edition, forget_editions
from naics_model.errors import ConfigurationError, StorageError
from naics_model.storage.files import write_bytes

_HEADER = re.compile(r'^\[\s*"?([\w-]+)')
_LONGEST_LINE = 100


def entry_text(edition: Edition) -> str:
    """Return an edition's entry as an editions file has it."""
    counts = ', '.join(map(str, edition.counts.values()))
    lines = [f'[{edition.name}]', f'title = {_quoted(edition.title)}', f'counts = [{counts}]']
    for name, book in edition.workbooks.items():
        table = f'{edition.name}.workbooks.{name}'
        columns = [f'{ours} = {_quoted(theirs)}' for ours, theirs in book.columns.items()]
        inline = f'columns = {{ {", ".join(columns)} }}'
        short = len(inline) <= _LONGEST_LINE
        lines += [
            '',
            f'[{table}]',
            *([f'url = {_quoted(book.url)}'] if book.url else []),
            f'file = {_quoted(book.file)}',
            *([f'sha256 = {_quoted(book.sha256)}'] if book.sha256 else []),
            f'sheet = {_quoted(book.sheet)}',
            *([f'header = {book.header}'] if book.header != 1 else []),
            *([inline] if short else ['', f'[{table}.columns]', *columns]),
        ]
    return '\n'.join(lines) + '\n'


def _quoted(text: str) -> str:
    # A literal string where it can be one, as in the rest of the file; JSON's are TOML's, too.
    plain = "'" not in text and text.isprintable()
    return f"'{text}'" if plain else json.dumps(text)


def with_entry(text: str, name: str, entry: str) -> str:
    """Return the text of an editions file with an entry.

    It takes the place of what the file says of the edition, or else its place by the year.

    Args:
        text: of the file.
        name: the edition's year.
        entry: see `entry_text`.

    Raises:
        ConfigurationError: the entry could not be put in without touching another one.
    """
    lines = text.splitlines(keepends=True)
    headers = [(at, found[1]) for at, line in enumerate(lines) if (found := _HEADER.match(line))]
    own = [at for at, edition in headers if edition == name]
    later = [at for at, edition in headers if edition.isdigit() and edition > name]
    if own:
        start = own[0]
        after = [at for at, edition in headers if at > start and edition != name]
        end = _above_comments(lines, after[0]) if after else len(lines)
        before = ''.join(lines[:start])
    else:
        start = end = _above_comments(lines, later[0]) if later else len(lines)
        before = ''.join(lines[:start]).rstrip('\n') + '\n\n'
    behind = ''.join(lines[end:])
    written = before + entry + ('\n' + behind if behind else '')
    if not _adds_only(name, text, entry, written):
        raise ConfigurationError(
            f'The entry of edition {name} cannot be put into the editions file, which is not laid '
            'out as the packaged one (a table for each edition and workbook): put it in by hand.'
        )
    return written


def _adds_only(name: str, before: str, entry: str, after: str) -> bool:
    """Return whether a text says the same as before of all editions but one, and of that the
    entry's."""
    try:
        was, now, ours = (tomllib.loads(each) for each in (before, after, entry))
    except tomllib.TOMLDecodeError:
        return False
    others = [other for other in was if other != name]
    return now == {**was, **ours} and [other for other in now if other != name] == others


def _above_comments(lines: list[str], header: int) -> int:
    """Return where the comments begin that stand right above a header."""
    while header > 0 and lines[header - 1].startswith('#'):
        header -= 1
    return header


def add_entry(file: Path, edition: Edition) -> None:
    """Write an edition's entry into an editions file.

    Raises:
        ConfigurationError: see `with_entry`.
        StorageError: the file could not be written.
    """
    text = with_entry(file.read_text(encoding='utf-8'), edition.name, entry_text(edition))
    try:
        write_bytes(text.encode(), file)
    except StorageError as error:
        reason = getattr(error.__cause__, 'strerror', None) or 'no permission'
        raise StorageError(
            f'{file} could not be written ({reason}): copy it to a place of your own, and name '
            f'that with {OWN_EDITIONS}.'
        ) from error
    forget_editions()
