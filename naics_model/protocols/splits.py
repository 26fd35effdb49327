"""Which codes are held out: a tenth of the six-digit codes, a tenth of the industry groups, and
every six-digit code in one of five folds.

What belongs here: the table of it, drawing the two tenths, and the checks. `folds.py` deals the
folds. What a run that must not see them is given instead is in `redaction.py` and `view.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl

from naics_model.checks import Check, no_rows
from naics_model.corpus.text import words_of
from naics_model.errors import DataError
from naics_model.protocols.branches import SHALLOWEST, Branches, by_hash
from naics_model.protocols.folds import FOLD_SPLITS, FOLDS, check_folds, draw_folds
from naics_model.storage.files import read_parquet
from naics_model.storage.tables import Column, Table, check_nulls
from naics_model.taxonomy.tree import parent_of, sector_of

SPLITS = ('stratified', 'subtrees')
"""The columns of `TABLE` that say train or heldout."""

ALL_SPLITS = (*SPLITS, *FOLD_SPLITS)
"""What a protocol can hide: one of `SPLITS`, or one fold."""

TABLE = Table(
    name='code_splits',
    row='one code, in the order of the codes workbook.',
    columns=(
        Column('index', pl.UInt32(), 'Position of the code in descriptions.'),
        Column('code', pl.String(), 'The code.'),
        Column(
            'stratified',
            pl.String(),
            'train, or heldout: a tenth of the six-digit codes, sector by sector, and with each '
            'the codes above it that have no other child.',
        ),
        Column(
            'subtrees',
            pl.String(),
            'train, or heldout: a tenth of the four-digit groups, sector by sector, and with each '
            'all codes below it.',
        ),
        Column(
            'fold',
            pl.UInt8(),
            f'1 to {FOLDS}: the fold in which a six-digit code is hidden, and with it the codes '
            'above it that have no other child; 0 for codes that are never hidden.',
        ),
    ),
)

_SHARE = 0.1


def build_code_splits(descriptions: pl.DataFrame) -> pl.DataFrame:
    """Draw the codes that are held out.

    stratified and subtrees take a tenth of each sector, with largest remainders so that the whole
    is a tenth, too; inside a sector in the order of the codes' sha256, so that few codes change
    sides from release to release.

    stratified: six-digit codes. A code that has no other child goes with it, and so on upwards,
    because the manual gives both one text (2022: 686 five-digit codes repeat their only child's).
    Passed over are those whose chain reaches a subsector.

    subtrees: four-digit groups, with all that is below them.

    Passed over in both are codes without which another one would lose its last child, and codes
    whose title one that stays bears, too: it would be there to be read (2022: 459999, All Other
    Miscellaneous Retailers, below 45999 of the same name).

    fold: every six-digit code that may be hidden, see `folds.draw_folds`.

    Args:
        descriptions: the edition's descriptions table.

    Returns:
        `TABLE`, one row for each code, in the same order. At least one code is held out in each
        of `SPLITS`, unless none may be.
    """
    branches = Branches.of(descriptions)
    hidden = {
        'stratified': _draw(branches.at_level(6), branches.chain, branches),
        'subtrees': _draw(branches.at_level(4), branches.subtree, branches),
    }
    sides = {
        split: ['heldout' if code in hidden[split] else 'train' for code in branches.codes]
        for split in SPLITS
    }
    folds = draw_folds(branches)
    return pl.DataFrame(
        {
            'index': descriptions['index'],
            'code': branches.codes,
            **sides,
            'fold': [folds.get(code, 0) for code in branches.codes],
        },
        schema=TABLE.schema,
    )


def _draw(units: list[str], whole: Callable[[str], list[str]], branches: Branches) -> set[str]:
    """Return a tenth of the units, each with the codes that go with it.

    Args:
        units: codes of one level.
        whole: what goes when a unit goes, topmost first.
        branches: the codes of the edition.
    """
    gone: set[str] = set()
    # What each sector could give, in the order in which it would: fewer are a beginning of that.
    queues: dict[str, list[list[str]]] = {sector_of(unit): [] for unit in units}
    for unit in sorted(units, key=by_hash):
        going = whole(unit)
        top = going[0]
        siblings = set(branches.children.get(parent_of(top) or '', [])) - {top}
        if len(top) >= SHALLOWEST and not siblings <= gone and branches.titles_go(going):
            gone.update(going)
            queues[sector_of(unit)].append(going)
    sizes = Counter(map(sector_of, units))
    total = max(1, round(len(units) * _SHARE))
    places = _allot(sizes, {sector: len(queue) for sector, queue in queues.items()}, total)
    return {
        code
        for sector, queue in queues.items()
        for going in queue[: places[sector]]
        for code in going
    }


def _allot(sizes: Mapping[str, int], most: Mapping[str, int], total: int) -> dict[str, int]:
    """Share a total among sectors by their sizes, with largest remainders.

    What a sector cannot give goes on to the others, in the same order.

    Args:
        sizes: of the sectors.
        most: what each can give.
        total: to be shared.
    """
    whole = sum(sizes.values())
    parts = {sector: divmod(size * total, whole) for sector, size in sizes.items()}
    places = {sector: min(part, most[sector]) for sector, (part, _) in parts.items()}
    by_remainder = sorted(parts, key=lambda sector: (-parts[sector][1], sector))
    while sum(places.values()) < min(total, sum(most.values())):
        for sector in by_remainder:
            if sum(places.values()) < total and places[sector] < most[sector]:
                places[sector] += 1
    return places


def read_code_splits(path: Path) -> pl.DataFrame:
    """Read a table as `TABLE` has it.

    Raises:
        DataError: the file is missing or damaged, or an earlier release wrote it.
    """
    splits = read_parquet(path)
    if missing := [name for name in TABLE.schema if name not in splits.columns]:
        raise DataError(
            f'{path} lacks {", ".join(missing)}, which this release writes: build the code splits '
            'again (naics data --through code_splits).'
        )
    return splits


def hidden_codes(splits: pl.DataFrame, split: str) -> list[str]:
    """Return the codes that a split holds out, in workbook order.

    Args:
        splits: a table as `TABLE` has it.
        split: one of `ALL_SPLITS`.
    """
    return splits.filter(_held_out(split))['code'].to_list()


def _held_out(split: str) -> pl.Expr:
    """Return the expression on `TABLE` that is true for the codes a split holds out."""
    if split in FOLD_SPLITS:
        return pl.col('fold') == FOLD_SPLITS.index(split) + 1
    return pl.col(split) == 'heldout'


def check_code_splits(frame: pl.DataFrame, descriptions: pl.DataFrame) -> list[Check]:
    """Check what a protocol relies on to hide codes, and how many are hidden.

    Args:
        frame: a table as `TABLE` has it.
        descriptions: the same edition's descriptions table.
    """
    rows = pl.concat([_numbered(frame), _numbered(descriptions)])
    words = pl.Series([words_of(title or '') for title in descriptions['title']], dtype=pl.String)
    sides = (
        frame.select('code', *(_held_out(split).alias(split) for split in ALL_SPLITS))
        .unpivot(on=ALL_SPLITS, index='code', variable_name='split', value_name='hidden')
        .join(descriptions.select('code', 'level', 'parent', title=words), on='code')
    )
    above = sides.select('split', parent='code', parent_hidden='hidden')
    below = sides.join(above, on=['split', 'parent'])
    shown = ('split', 'code', 'parent')
    return [
        check_nulls(TABLE, frame),
        no_rows(
            'same_codes',
            rows.filter(~pl.struct('row', 'index', 'code').is_duplicated()),
            'There is one row for each code, in the order of descriptions.',
            'Rows stand here or in descriptions only, or at another place',
        ),
        no_rows(
            'sides_known',
            frame.unpivot(on=SPLITS, index='code', variable_name='split', value_name='side')
            .filter(~pl.col('side').is_in(['train', 'heldout']))
            .select('split', 'code', 'side'),
            'Every code is in train or heldout.',
            'Codes are in neither train nor heldout',
        ),
        no_rows(
            'closed_downward',
            below.filter('parent_hidden', ~pl.col('hidden')).select(shown),
            'All that is below a held-out code is held out.',
            'Codes in train are below held-out ones',
        ),
        no_rows(
            'children_stay',
            below.filter(~pl.col('parent_hidden'), pl.col('hidden').all().over('split', 'parent'))
            .select('split', 'parent')
            .unique(maintain_order=True),
            'No code in train has lost all its children.',
            'Codes in train have lost all their children',
        ),
        no_rows(
            'subsectors_stay',
            sides.filter('hidden', pl.col('level') < SHALLOWEST).select('split', 'code'),
            'No sector or subsector is held out.',
            'Sectors or subsectors are held out',
        ),
        no_rows(
            'titles_go',
            sides.filter('hidden', pl.col('hidden').n_unique().over('split', 'title') > 1).select(
                'split', 'code', 'title'
            ),
            'No code in train bears the title of a held-out one.',
            'Held-out codes share their title with one in train',
        ),
        *check_folds(frame, descriptions),
        *_amounts(sides.filter(pl.col('split').is_in(SPLITS))),
    ]


def _numbered(table: pl.DataFrame) -> pl.DataFrame:
    return table.select('index', 'code').with_row_index('row')


def _amounts(sides: pl.DataFrame) -> list[Check]:
    """Check how much is held out.

    Args:
        sides: split, code, level, hidden.
    """
    units = sides.filter(
        pl.col('level') == pl.col('split').replace_strict({'stratified': 6, 'subtrees': 4})
    ).with_columns(sector=pl.col('code').map_elements(sector_of, pl.String))
    leaves = sides.filter(pl.col('level') == 6)
    shares = {split: _share_hidden(leaves.filter(split=split)) for split in SPLITS}
    in_words = ' and '.join(f'{share:.1%} by {split}' for split, share in shares.items())
    by_sector = units.group_by('split', 'sector', maintain_order=True).agg(
        pl.len().alias('codes'), heldout=pl.col('hidden').sum()
    )
    return [
        Check(
            name='some_held_out',
            passed=all(sides.filter('hidden', split=split).height for split in SPLITS),
            blocking=True,
            guarantee='Each split holds some codes out.',
            sentence=f'Of the six-digit codes are held out: {in_words}.',
        ),
        Check(
            name='held_out_share',
            passed=all(0.05 <= share <= 0.15 for share in shares.values()),
            blocking=False,
            guarantee='Between 5 % and 15 % of the six-digit codes are held out in each split.',
            sentence=f'Of the six-digit codes are held out: {in_words} (10 % are meant to be).',
        ),
        no_rows(
            'sector_shares',
            by_sector.filter((pl.col('codes') * _SHARE - pl.col('heldout')).abs() > 1),
            'Each sector gives a tenth of its six-digit codes, and of its groups, within one.',
            'Sectors give more or fewer than a tenth of their six-digit codes or groups',
            blocking=False,
        ),
    ]


def _share_hidden(sides: pl.DataFrame) -> float:
    return int(sides['hidden'].sum()) / max(sides.height, 1)
