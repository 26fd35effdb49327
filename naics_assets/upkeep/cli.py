"""The commands `naics doctor` and `naics clean`: options in, what was found or removed out.

Dagster is imported inside, so that the other words of `naics` start without it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from naics_assets.lib.environment import EXPERIMENT, complete_environment
from naics_assets.upkeep import DAYS, SECONDS_A_DAY
from naics_model.console import plain_console
from naics_model.errors import ConfigurationError
from naics_model.storage.layout import default_data_dir

if TYPE_CHECKING:
    import dagster as dg

    from naics_assets.upkeep.cleaning import Plan
    from naics_model.upkeep.health import Finding

_SHOWN = 10
_STYLES = {'ok': 'green', 'warning': 'yellow', 'problem': 'bold red'}


def doctor() -> None:
    """Look at this installation: a line for each thing, and what to do where something is amiss.

    Versions, disk and memory, the packaged encoder, GPUs, the folder of workbooks, what is there of
    each edition, ports, and whether the databases of Dagster and MLflow answer.

    Exits with 1 if there is a problem; warnings leave it at 0.
    """
    complete_environment()
    console = plain_console()
    problems = 0
    for finding in _findings():
        problems += finding.state == 'problem'
        line = Text.assemble(
            (f'{finding.state:<9}', _STYLES[finding.state]), f'{finding.what:<16} {finding.said}'
        )
        console.print(line)
        if finding.remedy:
            console.print(f'{"":<26}{finding.remedy}', style='dim')
    if problems:
        console.print(f'\n{problems} of these will make something fail.', style='bold red')
        raise typer.Exit(1)


def _findings() -> Iterator[Finding]:
    from naics_assets.upkeep import health as services
    from naics_model.upkeep import health

    data_dir, source = default_data_dir(), os.environ.get('NAICS_SOURCE_DIR')
    yield health.check_python()
    yield from health.check_packages(Path('constraints.txt'))
    yield health.check_disk(data_dir)
    yield health.check_memory()
    yield health.check_gpus()
    yield health.check_encoder()
    yield health.check_editions()
    yield health.check_source_dir(Path(source).absolute() if source else None)
    yield from health.check_data(data_dir)
    yield services.check_port('Dagster', 3000, '/server_info', 'dagster_webserver_version', 'PORT')
    yield services.check_port('MLflow', 5000, '/health', 'OK', 'MLFLOW_PORT')
    yield from services.check_stack(data_dir)
    yield services.check_instance()
    yield services.check_tracker(os.environ['MLFLOW_TRACKING_URI'], EXPERIMENT)


def clean(
    older_than: Annotated[
        int,
        typer.Option(metavar='DAYS', min=0, help='Only what is older than so many days.'),
    ] = DAYS,
    yes: Annotated[
        bool, typer.Option('--yes', help='Remove it; without this it is only told.')
    ] = False,
) -> None:
    """Tell what nothing needs any more, and remove it if --yes says so.

    Old Dagster runs with their events and logs, and their runs in MLflow; checkpoints of fits that
    have ended; fits that were cut off and put aside; files that were never whole; caches made from
    other data; logs.

    Never what the newest data needs: runs stay that hold the latest materialisation or check of any
    partition of an asset, with those that made what it was made from, and those that a registered
    model comes from; and so do the checkpoints of a fit that can be gone on with.

    **Examples**

    * `naics clean`

    * `naics clean --older-than 90 --yes`
    """
    complete_environment()
    from naics_assets.upkeep.cleaning import carry_out, plan

    console = plain_console()
    tracking_uri = os.environ['MLFLOW_TRACKING_URI']
    before = time.time() - older_than * SECONDS_A_DAY
    with _instance() as instance:
        found = plan(instance, tracking_uri, EXPERIMENT, default_data_dir(), before)
        _show(found, console)
        if not yes:
            console.print('\nNothing was removed: naics clean --yes does.')
            return
        for_good = carry_out(found, instance, tracking_uri)
    console.print('\nRemoved.')
    if not for_good:
        console.print(
            "MLflow's runs are in its trash, which mlflow gc empties (docs/operations.md)."
        )


@contextmanager
def _instance() -> Iterator[dg.DagsterInstance]:
    import dagster as dg

    home = Path(os.environ['DAGSTER_HOME'])
    if not home.is_dir():
        raise ConfigurationError(
            f'DAGSTER_HOME {home} is no folder: run from the folder of the project, or set it.'
        )
    with dg.DagsterInstance.get() as instance:
        yield instance


def _show(found: Plan, console: Console) -> None:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, show_footer=True)
    table.add_column('what nothing needs', footer='in all', no_wrap=True)
    count, size = (sum(getattr(row, name) for row in found.rows) for name in ('count', 'bytes'))
    table.add_column('how many', footer=f'{count:,}', justify='right')
    table.add_column('MB', footer=f'{size / 1e6:,.1f}', justify='right')
    for row in found.rows:
        table.add_row(row.kind, f'{row.count:,}', f'{row.bytes / 1e6:,.1f}')
    console.print(table)
    _name('Dagster run', [run.run_id for run in found.runs], console)
    for kind in dict.fromkeys(leftover.kind for leftover in found.files):
        paths = [str(each.file.path) for each in found.files if each.kind == kind]
        _name(kind, paths, console)


def _name(kind: str, names: Sequence[str], console: Console) -> None:
    """Print the first names of a kind, and how many there are beside them."""
    if names:
        console.print(f'\n{kind}')
    for name in names[:_SHOWN]:
        console.print(f'  {name}', style='dim')
    if len(names) > _SHOWN:
        console.print(f'  and {len(names) - _SHOWN:,} more', style='dim')
