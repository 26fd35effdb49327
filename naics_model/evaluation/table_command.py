"""The command `naics evaluate`: the figures of any table of embeddings, ours or another's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

from naics_model.console import plain_console
from naics_model.corpus.editions import edition as known_edition
from naics_model.corpus.options import DataDir, EditionName
from naics_model.evaluation.guide_search import RETRIEVAL
from naics_model.evaluation.guide_space import COLLAPSE, RADIUS, STRUCTURE
from naics_model.storage.files import write_json
from naics_model.storage.layout import EditionFolder

GROUPS = (
    ('Search', RETRIEVAL),
    ('Structure', STRUCTURE),
    ('Radius', RADIUS),
    ('Collapse', COLLAPSE),
)


def evaluate_table(
    embeddings: Annotated[
        Path,
        typer.Argument(
            metavar='EMBEDDINGS.parquet', help='One row a code: code, and a vector (list or array).'
        ),
    ],
    edition: EditionName,
    data_dir: DataDir = Path('data'),
    column: Annotated[
        str | None,
        typer.Option(metavar='NAME', help='The column of vectors; needed where there are several.'),
    ] = None,
    space: Annotated[
        Literal['lorentz', 'hyperboloid', 'euclidean', 'cosine'] | None,
        typer.Option(
            help='What the vectors are: tangent vectors at the origin of a hyperbolic space, '
            'points of the hyperboloid, or flat. By default what our own tables have under the '
            "column's name (tangent, lorentz), else euclidean.",
        ),
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(
            metavar='FILE',
            help='Texts that the same encoder has embedded, to measure search: Parquet with code, '
            'the right six-digit code, and a column of vectors of the same name.',
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar='FILE', help='Write the figures as JSON, too.')
    ] = None,
) -> None:
    """Measure a table of embeddings: how well distances between codes follow the tree.

    With --queries also how often the right code is found for a text. The figures are those of the
    evaluation report, over all pairs and all queries.

    Good figures of structure do not show that a model understands text: a fit of the tree without
    any text reaches all of them.

    **Examples**

    * `naics evaluate data/2022/refinement/refined_embeddings.parquet`

    * `naics evaluate theirs.parquet --space cosine --queries their_queries.parquet`
    """
    # Imported here: torch and scipy take seconds, which the other commands need not wait for.
    from naics_model.evaluation.table import measure_table

    folder = EditionFolder(data_dir.absolute(), known_edition(edition).name)
    found = measure_table(
        embeddings, folder.descriptions, column=column, space=space, queries=queries
    )
    vectors = found.vectors
    console = plain_console()
    console.print(
        f'{embeddings}: {len(vectors.values):,} codes of edition {edition}, column '
        f'{vectors.column}, {vectors.values.shape[1]} numbers, {vectors.space}'
        + (f', {found.queries:,} queries' if found.queries else '')
    )
    for title, known in GROUPS:
        rows = [metric for metric in known if metric.key in found.metrics]
        if not rows:
            continue
        table = Table(title=f'\n{title}', title_justify='left', show_header=False, box=None)
        for metric in rows:
            table.add_row(metric.label, f'{found.metrics[metric.key]:.{metric.decimals}f}')
        console.print(table)
    if out is not None:
        content = {'edition': edition, 'embeddings': str(embeddings), 'metrics': found.metrics}
        write_json(content, out)
        console.print(f'\nWritten to {out}')
