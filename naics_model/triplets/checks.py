"""Whether the published triplets are triplets: every row of the file, by what each says of itself.

What belongs here: rules on whole rows that a few aggregates of the file can answer. That rows are
those of the relations is asked of samples and of counts, in `curriculum/checks.py`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import polars as pl

from naics_model.checks import Check, no_rows
from naics_model.triplets.lookup import kinds_of_rows, last_indices

_has_rows = partial(no_rows, 'has_rows', good='There are triplets.', bad='Files without a triplet')
_codes_known = partial(
    no_rows,
    'codes_known',
    good='Every index is that of a code of the edition.',
    bad='Columns with an index that no code has',
)
# The check -> the column of `sql/kinds_of_rows.sql` that says which rows break it, the guarantee,
# and what those rows do.
_RULES = {
    'hardness_known': (
        'of_no_hardness',
        'Every hardness is one of 1 to 8.',
        'have another hardness than 1 to 8',
    ),
    'distances_possible': (
        'of_no_distance',
        'Every positive is 0.5 to 8.0 from its anchor, and every negative 2.0 to 10.0 in whole '
        'steps, as no ancestor or descendant is.',
        'have a distance that no such codes have',
    ),
    'negative_farther': (
        'not_farther',
        'Every negative is farther from the anchor than the positive.',
        'have a negative that is no farther than the positive',
    ),
    'hardness_of_distances': (
        'of_other_hardness',
        'Every hardness is the one of its two distances, or 8.',
        'have another hardness than their distances give',
    ),
}


def known_checks() -> list[Check]:
    """Return which checks there are, as if they had passed."""
    nothing = pl.DataFrame()
    return [_has_rows(nothing), _codes_known(nothing), *(_rule(name, nothing) for name in _RULES)]


def check_triplets(triplets: Path, codes: int) -> list[Check]:
    """Check every row of the published triplets. All are blocking.

    What is shown of wrong rows is their hardness and distances (in half units), each combination
    once, with the number of its triplets. On 2022 this takes about 10 CPU-seconds.

    Args:
        triplets: the file.
        codes: number of codes of the edition.

    Raises:
        DataError: the file is missing, or is no file of triplets.
        ConfigurationError: there is too little memory.
    """
    kinds, last = kinds_of_rows(triplets), last_indices(triplets)
    strays = [
        {'column': column, 'highest': highest, 'codes': codes}
        for column, highest in last.items()
        if highest is not None and highest >= codes
    ]
    shown = ['hardness', 'positive_distance', 'negative_distance', 'triplets']
    return [
        _has_rows(pl.DataFrame({'rows': [0]} if kinds.is_empty() else {})),
        _codes_known(pl.DataFrame(strays)),
        *(_rule(name, kinds.filter(column).select(shown)) for name, (column, *_) in _RULES.items()),
    ]


def _rule(name: str, wrong: pl.DataFrame) -> Check:
    _, good, what = _RULES[name]
    rows = 0 if wrong.is_empty() else wrong['triplets'].sum()
    return no_rows(
        name, wrong, good, f'{rows:,} triplets {what}; combinations of hardness and distances'
    )
