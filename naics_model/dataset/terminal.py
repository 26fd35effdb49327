"""Building and checking an edition before a person's eyes: a line for each step, then a summary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from naics_model.checks import OFFENDING_SHOWN, Check
from naics_model.corpus.editions import edition
from naics_model.dataset.checks import CHECKED
from naics_model.dataset.steps import Made, Step
from naics_model.errors import DataError
from naics_model.jobs.cost import Cost, measured
from naics_model.storage.files import scan_parquet
from naics_model.storage.layout import EditionFolder


@dataclass(frozen=True)
class Done:
    """A step that has run: what it made, what that took, and what its checks said."""

    name: str
    made: Made
    cost: Cost
    rows: int | None
    checks: Sequence[Check]


def build(folder: EditionFolder, steps: Sequence[Step], console: Console) -> list[Done]:
    """Run steps one after another, and show what each made and what its checks said.

    Args:
        folder: the edition's files.
        steps: in an order in which each finds what it reads.
        console: where to show it, one that reads no markup (`console.plain_console`).

    Raises:
        NaicsError: a step could not do its work, or a blocking check failed. What the steps before
            it wrote is kept; so is the table that it would have replaced.
    """
    finished = []
    with console.status('') as status:
        for number, step in enumerate(steps, start=1):
            status.update(f'{step.name} …')
            with measured() as cost:
                made = step.run(lambda line: console.print(f'         {line}', style='dim'))
                checks = made.checks
                if not checks and step.name in CHECKED:
                    checks = CHECKED[step.name].run(folder)
            done = Done(step.name, made, cost, _rows(made.path), checks)
            finished.append(done)
            console.print(
                Text.assemble(
                    (f'{number:3d}/{len(steps)}', 'green'),
                    f'  {step.name:<26}{cost.seconds:6.1f} s   {_what(done)}',
                )
            )
            for remark in made.remarks:
                console.print(f'         note: {remark}', style='yellow')
            show_failed(checks, console)
            if _broken(checks):
                raise DataError(f'{made.path} is not fit for use (see above): report this.')
    return finished


def validate(folder: EditionFolder, console: Console) -> list[str]:
    """Run the checks on the files of an edition that are there, and say what they found.

    Returns:
        The names of those that are missing though everything else is made from them, cannot be
        read, or break a guarantee that later steps rely on.
    """
    known = edition(folder.edition).workbooks
    names = [name for name in CHECKED if name != 'concordance' or name in known]
    there = {name for name in names if folder.file(name).is_file()}
    broken: list[str] = []
    for name in names:
        wanting = [each for each in ('descriptions', *CHECKED[name].also_reads) if each in broken]
        if name not in there:
            console.print(f'  {name:<16}not there', style='dim')
            if name == 'descriptions' and there:
                broken.append(name)
        elif wanting:
            console.print(f'  {name:<16}not checked, for want of good {wanting[0]}', style='dim')
        elif not _validate(folder, name, console):
            broken.append(name)
    return broken


def _validate(folder: EditionFolder, name: str, console: Console) -> bool:
    try:
        checks = CHECKED[name].run(folder)
    except DataError as error:
        console.print(f'  {name:<16}{error}', style='red')
        return False
    console.print(f'  {name:<16}{_passed(checks)}')
    show_failed(checks, console)
    return not _broken(checks)


def show_failed(checks: Iterable[Check], console: Console) -> None:
    """Print the checks that failed, with the rows that broke them."""
    for check in (check for check in checks if not check.passed):
        word, style = ('check failed', 'red') if check.blocking else ('note', 'yellow')
        console.print(f'         {word}: {check.sentence}', style=style)
        for row in check.offending[:OFFENDING_SHOWN]:
            cells = '  '.join(f'{column}={value}' for column, value in row.items())
            console.print(f'           {cells}', style='dim')


def summary(finished: Sequence[Done], title: str) -> Table:
    """Return what was made as a table for the terminal."""
    # Without lines between columns the figures of 976 million triplets take 77 columns; a table
    # that is wider than the window has its figures cut.
    table = Table(
        title=title,
        title_justify='left',
        box=box.HORIZONTALS,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column('', no_wrap=True)
    for heading in ('rows', 'MB', 'CPU-s', 'peak MB', 'checks'):
        table.add_column(heading, justify='right', no_wrap=True)
    for done in finished:
        table.add_row(
            done.name,
            '' if done.rows is None else f'{done.rows:,}',
            f'{_bytes(done.made.path) / 1e6:.2f}',
            f'{done.cost.cpu_seconds:.2f}',
            f'{done.cost.peak_memory_bytes / 1e6:.0f}',
            _count(done.checks),
        )
    table.add_section()
    table.add_row(
        'in all',
        '',
        f'{sum(_bytes(done.made.path) for done in finished) / 1e6:.2f}',
        f'{sum(done.cost.cpu_seconds for done in finished):.2f}',
        f'{max(done.cost.peak_memory_bytes for done in finished) / 1e6:.0f}',
    )
    return table


def _what(done: Done) -> str:
    parts = [] if done.rows is None else [f'{done.rows:,} rows']
    parts.append(f'{_bytes(done.made.path) / 1e6:.2f} MB')
    if done.checks:
        parts.append(_passed(done.checks))
    return ', '.join(parts)


def _broken(checks: Iterable[Check]) -> bool:
    return any(check.blocking and not check.passed for check in checks)


def _count(checks: Sequence[Check]) -> str:
    return f'{sum(check.passed for check in checks)} of {len(checks)}' if checks else ''


def _passed(checks: Sequence[Check]) -> str:
    return f'{_count(checks)} checks passed'


def _rows(path: Path) -> int | None:
    if path.suffix != '.parquet':
        return None
    return int(scan_parquet(path).select(pl.len()).collect().item())


def _bytes(path: Path) -> int:
    return path.stat().st_size
