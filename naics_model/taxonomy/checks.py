"""Whether `distances` and `relations`, as read back from disk, say what the tree says.

Every check takes the table as it is found and holds it against the codes by a way that the table
was not built in: a distance is asked for pair by pair, a kinship is walked up parent by parent.
Rows that lead out of the codes, and nulls, are offending rows, never a crash.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from naics_model.checks import Check, no_rows
from naics_model.storage.tables import check_nulls
from naics_model.taxonomy import distances, relations
from naics_model.taxonomy.tree import LEVELS, Taxonomy

# Steps up to the common ancestor, from code_i and from code_j, at each relation id; none for id 0.
_STEPS = np.array([(0, 0), *relations.KINSHIPS], np.int64)


def check_distances(frame: pl.DataFrame, taxonomy: Taxonomy) -> list[Check]:
    """Check the distances against the codes. All are blocking.

    Args:
        frame: a table as `distances.TABLE` has it.
        taxonomy: the codes of the same edition's descriptions.
    """
    n = len(taxonomy)
    known, strays = _by_indices(frame, n)
    i, j = known['idx_i'].to_numpy(), known['idx_j'].to_numpy()
    expected = pl.Series(distances.half_distances_between(taxonomy, i, j).astype(np.float32) / 2)
    wanted = np.triu(np.ones((n, n), bool), k=1)
    return [
        check_nulls(distances.TABLE, frame),
        *_check_pairs(known, strays, taxonomy, wanted, 'a pair of codes, idx_i before idx_j'),
        _check_codes(known, taxonomy),
        no_rows(
            'distances_of_the_tree',
            known.with_columns(expected=expected).filter(
                pl.col('distance').ne_missing(pl.col('expected'))
            ),
            'Every distance is the one that the ancestors of its two codes give.',
            'Distances differ from the one that the ancestors of their two codes give',
        ),
    ]


def check_relations(frame: pl.DataFrame, taxonomy: Taxonomy) -> list[Check]:
    """Check the kinships against the codes. All are blocking.

    Args:
        frame: a table as `relations.TABLE` has it.
        taxonomy: the codes of the same edition's descriptions.
    """
    n, levels, sectors = len(taxonomy), taxonomy.levels, taxonomy.sectors
    known, strays = _by_indices(frame, n)
    earlier = np.triu(np.ones((n, n), bool), k=1)
    first = (levels[:, None] < levels) | ((levels[:, None] == levels) & earlier)
    wanted = (sectors[:, None] == sectors) & first
    pair = 'a pair of codes of one sector, the shallower first, at one level the earlier'
    name_of_id = pl.col('relation_id').replace_strict(
        relations.RELATIONS, default='no kinship', return_dtype=pl.String
    )
    return [
        check_nulls(relations.TABLE, frame),
        *_check_pairs(known, strays, taxonomy, wanted, pair),
        _check_codes(known, taxonomy),
        no_rows(
            'relations_named_by_their_ids',
            frame.filter(pl.col('relation').cast(pl.String).ne_missing(name_of_id)),
            'Every relation has the name of its id.',
            'Relations do not have the name of their id',
        ),
        no_rows(
            'relations_of_the_tree',
            known.filter(~_is_kinship(known, taxonomy)),
            'Every relation is the one that the steps up to the common ancestor give.',
            'Relations differ from the one that the steps up to the common ancestor give',
        ),
    ]


def _by_indices(frame: pl.DataFrame, n: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows with the indices of two of n codes, and those without."""
    indices = pl.col('idx_i', 'idx_j')
    known = pl.all_horizontal(((indices >= 0) & (indices < n)).fill_null(False))
    return frame.filter(known), frame.filter(~known)


def _check_pairs(
    known: pl.DataFrame,
    strays: pl.DataFrame,
    taxonomy: Taxonomy,
    wanted: NDArray[np.bool_],
    pair: str,
) -> list[Check]:
    """Check that each pair of the table has one row, in order, and no other pair has one.

    Args:
        known: the rows with the indices of two codes.
        strays: the others.
        wanted: bool (n, n), whether i, j is a pair of the table.
        pair: what that is, for a person.
    """
    n = len(taxonomy)
    place = known['idx_i'].to_numpy().astype(np.int64) * n + known['idx_j'].to_numpy()
    times = np.bincount(place, minlength=n * n)
    i, j = np.nonzero(wanted & (times == 0).reshape(n, n))
    codes = pl.Series(taxonomy.codes, dtype=pl.String)
    missing = pl.DataFrame(
        {'idx_i': i, 'idx_j': j, 'code_i': codes.gather(i), 'code_j': codes.gather(j)}
    )
    return [
        no_rows(
            'pairs_valid',
            pl.concat([strays, known.filter(~wanted.ravel()[place])]),
            f'Every row is {pair}.',
            f'Rows are not {pair}',
        ),
        no_rows(
            'pairs_unique',
            known.filter(times[place] > 1),
            'Every pair has one row.',
            'Rows share their pair with another row',
        ),
        no_rows(
            'pairs_complete',
            missing,
            'Every pair has a row.',
            'Pairs have no row',
        ),
        no_rows(
            'rows_in_order',
            known.filter(place < np.append(place[:1], place[:-1])),
            'The rows are in the order of idx_i, then idx_j.',
            'Rows stand behind one that belongs after them',
        ),
    ]


def _check_codes(known: pl.DataFrame, taxonomy: Taxonomy) -> Check:
    codes = pl.Series(taxonomy.codes, dtype=pl.String)
    with_codes = known.with_columns(
        at_idx_i=codes.gather(known['idx_i']), at_idx_j=codes.gather(known['idx_j'])
    )
    return no_rows(
        'codes_at_their_indices',
        with_codes.filter(
            pl.col('code_i').ne_missing(pl.col('at_idx_i'))
            | pl.col('code_j').ne_missing(pl.col('at_idx_j'))
        ),
        'Every code is the one at its index.',
        'Rows name a code that is not the one at its index',
    )


def _is_kinship(known: pl.DataFrame, taxonomy: Taxonomy) -> NDArray[np.bool_]:
    """Return of each row whether both codes meet after the steps of its kinship, and not before."""
    # Above the sectors is nothing, and nothing above that.
    parents = np.append(taxonomy.parents, np.int32(-1))

    def climb(index: NDArray[np.integer], steps: NDArray[np.int64]) -> NDArray[np.integer]:
        for step in range(len(LEVELS) - 1):
            index = np.where(step < steps, parents[index], index)
        return index

    number = pl.col('relation_id')
    ids = known.select(
        pl.when(number.is_in(list(relations.RELATIONS))).then(number).otherwise(0)
    ).to_series()
    steps_i, steps_j = _STEPS[ids.to_numpy()].T
    i, j = known['idx_i'].to_numpy(), known['idx_j'].to_numpy()
    meeting = climb(i, steps_i)
    meet = (meeting == climb(j, steps_j)) & (meeting >= 0)
    return meet & (climb(i, steps_i - 1) != climb(j, steps_j - 1))
