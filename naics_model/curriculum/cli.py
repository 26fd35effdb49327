"""The command `naics curriculum`: which stages there are, and whether an edition can supply one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from naics_model.console import plain_console
from naics_model.corpus.editions import edition as known_edition
from naics_model.corpus.options import DataDir, EditionName, options_of
from naics_model.curriculum import terminal
from naics_model.curriculum.stage import known_stages, load_stage
from naics_model.curriculum.supply import advice, stage_supply, verdict
from naics_model.errors import ConfigurationError, DataError
from naics_model.storage.layout import EditionFolder
from naics_model.triplets.relation_index import RelationIndex

app = typer.Typer(no_args_is_help=True)


@app.callback()
def curriculum() -> None:
    """The stages that training goes through: list them, and check one before training on it.

    A stage says which positives an anchor is compared with, and how hard the negatives are. Your
    own is a YAML file, named by its path, or by its name if it is in the folder that
    NAICS_CURRICULUM_DIR names (otherwise ./curricula). docs/curriculum_design_guide.md explains the
    keys.

    **Examples**

    * `naics curriculum list`

    * `naics curriculum check 03_stage_hard`

    * `naics curriculum check my_stage.yaml --edition 2017`
    """


@app.command('list')
def list_stages() -> None:
    """List the stages that have a name, with what each asks for."""
    console = plain_console()
    for name, path in known_stages().items():
        console.print(Text.assemble((name, 'bold'), f'  {terminal.origin(path)}'))
        try:
            stage = load_stage(name)
        except ConfigurationError as error:
            # The others can be used all the same.
            console.print(f'  {error}', style='red')
            continue
        console.print(f'  positives  {terminal.positives(stage)}')
        console.print(f'  negatives  {terminal.negatives(stage)}')


@app.command('check')
def check_stage(
    stage: Annotated[
        str, typer.Argument(metavar='STAGE', help='The name of a stage, or the path of its YAML.')
    ],
    edition: EditionName,
    data_dir: DataDir = Path('data'),
    relation_index: Annotated[
        Path | None,
        typer.Option(metavar='FILE', help="Read this relation index, not the edition's."),
    ] = None,
    items: Annotated[
        int,
        typer.Option(
            min=1, metavar='N', help='Items to draw, at most: pairs with their negatives.'
        ),
    ] = 100_000,
    seed: Annotated[int, typer.Option(min=0, metavar='N', help='Of the draws.')] = 0,
) -> None:
    """Tell what an edition supplies of a stage, before a training spends hours on it.

    Shows the share of each hardness that the stage asks for, beside the share that draws have in
    the long run and the share among N items drawn now; and how many pairs of anchor and positive
    have such negatives at all. Where a bucket is short, the next easier one fills in.

    Exits with 0 if the stage can be trained on, whatever its mix, and with 1 if it is wrong or
    leaves nothing to draw.

    **Examples**

    * `naics curriculum check 02_stage_medium`

    * `naics curriculum check curricula/mine.yaml --edition sample --items 10000`
    """
    asked = load_stage(stage)
    name = known_edition(edition).name
    path = relation_index or EditionFolder(data_dir, name).relation_index
    if not path.is_file():
        raise DataError(
            f'There is no relation index {path}: build it with naics data '
            f'{options_of(name, data_dir)} --through relation_index.'
        )
    supply = stage_supply(RelationIndex.load(path), asked, items=items, seed=seed)

    console = plain_console()
    source = f'edition {name}' if relation_index is None else str(relation_index)
    share = supply.effective_pairs / supply.pairs
    console.print(Text.assemble((asked.name, 'bold'), f', {source}\n'))
    console.print(f'positives  {terminal.positives(asked)}')
    console.print(f'negatives  {terminal.negatives(asked)}')
    console.print(f'eligible   {supply.pairs:,} pairs of {supply.anchors:,} anchors')
    console.print(
        f'left out   {supply.too_few:,} pairs with fewer than {asked.k_negatives} negatives'
    )
    console.print(
        f'draws      spread as over {supply.effective_pairs:,.0f} equally likely pairs, '
        f'{share:.1%} of the eligible\n'
    )
    fewer = f' (not {items:,}, as each has so many negatives)' if supply.items < items else ''
    console.print(f'The mix, in {supply.items:,} items drawn with seed {seed}{fewer}')
    console.print(terminal.mix_table(supply, plain=console.options.ascii_only))
    console.print(f'\nThe {supply.pairs:,} pairs, by the negatives that they have')
    console.print(terminal.pair_table(supply))
    console.print(f'\n{verdict(supply)}', style='yellow' if supply.missed else 'green')
    if words := advice(supply):
        console.print(words)
