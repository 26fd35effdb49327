"""Five folds: each six-digit code that may be hidden is hidden in exactly one of them.

What belongs here: dealing the codes to the folds, the reasons why a code is in none, and the checks
of both. What must hold inside a fold is checked in `splits.py`, as for every other split.
"""

from __future__ import annotations

import polars as pl

from naics_model.checks import Check, no_rows
from naics_model.protocols.branches import SHALLOWEST, Branches, by_hash
from naics_model.taxonomy.tree import parent_of, sector_of

FOLDS = 5
"""Number of folds; they are numbered from 1."""

ALONE = 'it is the only six-digit code of its subsector'
SHARED_TITLE = 'a code that stays has the same title'


def fold_name(number: int) -> str:
    """Return the name of a fold as a split, such as `fold_3`."""
    return f'fold_{number}'


FOLD_SPLITS = tuple(fold_name(number) for number in range(1, FOLDS + 1))


def draw_folds(branches: Branches) -> dict[str, int]:
    """Deal the six-digit codes that may be hidden to the folds.

    Codes are dealt in turn, like cards: sector by sector, siblings one after the other, both
    siblings and groups of siblings in the order of their sha256. So the folds of a sector, and the
    folds as a whole, differ by at most one six-digit code. Two siblings dealt one after the other
    are in different folds, so no fold holds all children of a parent. A code without siblings takes
    along the codes above it that have no other child; its siblings are then those of the topmost.

    Args:
        branches: the codes of an edition.

    Returns:
        Code -> its fold, 1 to `FOLDS`, for each hidden code of any level. Codes that are never
        hidden are left out.
    """
    never = never_hidden(branches)
    chains = [branches.chain(code) for code in branches.at_level(6) if code not in never]
    chains.sort(
        key=lambda chain: (
            sector_of(chain[0]),
            by_hash(parent_of(chain[0]) or ''),
            by_hash(chain[0]),
        )
    )
    return {code: place % FOLDS + 1 for place, chain in enumerate(chains) for code in chain}


def never_hidden(branches: Branches) -> dict[str, str]:
    """Return the six-digit codes that are in no fold, each with the reason.

    Two kinds of codes cannot be hidden without breaking a guarantee:

    * the only six-digit code of a subsector: all codes between the two are only children and would
      have to go with it, but the subsector must stay and keep a child;
    * a code with the title of a code that stays: 459999 of 2022, All Other Miscellaneous Retailers,
      has the title of its parent 45999, which has other children.

    Args:
        branches: the codes of an edition.
    """
    reasons = {}
    for code in branches.at_level(6):
        chain = branches.chain(code)
        if len(chain[0]) < SHALLOWEST:
            reasons[code] = ALONE
        elif not branches.titles_go(chain):
            reasons[code] = SHARED_TITLE
    return reasons


def check_folds(frame: pl.DataFrame, descriptions: pl.DataFrame) -> list[Check]:
    """Check that folds are numbered as they should be, complete and even.

    Args:
        frame: a table as `splits.TABLE` has it.
        descriptions: the same edition's descriptions table.
    """
    never = list(never_hidden(Branches.of(descriptions)))
    leaves = frame.filter(pl.col('code').str.len_chars() == 6)
    unfolded = leaves.filter(pl.col('fold') == 0)['code']
    return [
        no_rows(
            'folds_known',
            frame.filter(pl.col('fold') > FOLDS).select('code', 'fold'),
            f'Every fold is a number from 0 to {FOLDS}.',
            f'Folds are above {FOLDS}',
        ),
        no_rows(
            'folds_complete',
            pl.DataFrame({'code': sorted(set(unfolded) ^ set(never))}, {'code': pl.String}),
            'A six-digit code is in fold 0 only if hiding it would break a guarantee.',
            'Six-digit codes are in fold 0 without need, or in a fold that they cannot be in',
            blocking=False,
        ),
        no_rows(
            'folds_even',
            _uneven(leaves),
            'The folds of a sector differ by at most one six-digit code.',
            'Sectors have folds that differ by more than one six-digit code',
            blocking=False,
        ),
    ]


def _uneven(leaves: pl.DataFrame) -> pl.DataFrame:
    """Return sector, fewest and most codes of a fold, of the sectors where these are far apart."""
    in_fold = [(pl.col('fold') == number).sum() for number in range(1, FOLDS + 1)]
    return (
        leaves.group_by(
            sector=pl.col('code').map_elements(sector_of, pl.String), maintain_order=True
        )
        .agg(fewest=pl.min_horizontal(in_fold), most=pl.max_horizontal(in_fold))
        .filter(pl.col('most') - pl.col('fewest') > 1)
    )
