"""What a person reads when a run has ended: the figures, where things are, what to try next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from naics_model.evaluation.guide import SUMMARY, SUMMARY_OF
from naics_model.evaluation.methods import METHODS
from naics_model.release.bundle import RELEASE_FILE
from naics_model.storage.files import read_json
from naics_model.storage.layout import EditionFolder


def print_summary(
    console: Console, folder: EditionFolder, model: Path, profile: str, took: str
) -> None:
    """Print the evaluation of an edition's latest run.

    Args:
        console: where to.
        folder: the edition's files.
        model: the folder of the exported text model.
        profile: the training profile of the run.
        took: how long the run took, in words.
    """
    metrics = read_json(folder.evaluation / 'result.json')['metrics']
    released = read_json(folder.release / RELEASE_FILE)
    console.print(f'\n[bold green]Done in {took}.[/]\n')
    console.print(metrics_table(metrics, f'Edition {folder.edition}, profile {profile}'))
    if profile == 'smoke':
        console.print(
            'The smoke profile trains for minutes: it shows that every part works, not what the\n'
            'method can do.',
            style='dim',
        )
    console.print(
        f'Released: {released["embeddings"]} embeddings. {released["why"]}', highlight=False
    )
    console.print('\n[bold]Where things are[/]')
    for what, where in (
        ('report', folder.evaluation / 'evaluation_report.html'),
        ('release', folder.release),
        ('text model', model),
        ('triplets', folder.triplets),
        ('all files', folder.path),
    ):
        console.print(f'  {what:<12}{where}', highlight=False, markup=False)
    console.print('\n[bold]Next[/]')
    console.print('  make dev                        # lineage in Dagster, runs in MLflow')
    if folder.edition == 'sample':
        console.print(
            '  make edition EDITION=2022       # the real edition, from the Census Bureau'
        )


def metrics_table(metrics: Mapping[str, float], title: str) -> Table:
    """Return the summary metrics as a table, the methods side by side, the best of a row bold."""
    # No lines between columns, so that a row is one line of 80 characters.
    table = Table(
        title=title,
        title_justify='left',
        box=box.HORIZONTALS,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column('', no_wrap=True)
    for name in SUMMARY_OF:
        # Headings are broken where they may be, so that seven columns fit.
        heading = METHODS[name].label.replace(', ', ',\n').replace('-', '-\n')
        table.add_column(heading, justify='right')
    for metric in SUMMARY:
        values = [metrics.get(f'{key}/{metric.key}') for key in SUMMARY_OF]
        known = [value for value in values if value is not None]
        if not known:
            continue
        best = min(known) if metric.best == 'lower' else max(known)
        cells = []
        for value in values:
            text = '–' if value is None else f'{value:.{metric.decimals}f}'
            cells.append(f'[bold]{text}[/]' if value == best and metric.best else text)
        table.add_row(metric.label, *cells)
    return table
