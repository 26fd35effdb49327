"""Two tables of answers to the same questions: is one method better than the other?

Files in, a page out. `asking.answers_table` says what a table of answers has; the statistics are in
`metrics.bootstrap`.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from naics_model.errors import DataError
from naics_model.metrics.bootstrap import PairedDifference, paired_bootstrap
from naics_model.storage.files import read_parquet

_QUESTION = ('text', 'code')
_NEEDED = (*_QUESTION, 'rank')


def compare_answers(
    first: Path, second: Path, *, by_code: bool = False, draws: int = 10_000, seed: int = 0
) -> dict[str, PairedDifference]:
    """Return how far two methods are apart in hit@1 and MRR, first minus second.

    Args:
        first, second: tables of answers with text, code and rank; rows in any order.
        by_code: draw codes with all their questions, not single questions: for what would change
            with other codes, not only with other questions about the same codes.
        draws, seed: see `metrics.bootstrap.paired_bootstrap`.

    Returns:
        `hit@1` and `MRR`.

    Raises:
        DataError: a file is missing, damaged or no table of answers, or the two do not ask the same
            questions.
    """
    a, b = _read(first), _read(second)
    _same_questions(a, b, first, second)
    groups = a['code'].to_numpy() if by_code else None
    scores = {'hit@1': (pl.col('rank') == 1).cast(pl.Float64), 'MRR': 1 / pl.col('rank')}
    return {
        name: paired_bootstrap(
            a.select(score).to_series().to_numpy(),
            b.select(score).to_series().to_numpy(),
            groups=groups,
            draws=draws,
            seed=seed,
        )
        for name, score in scores.items()
    }


def comparison_page(found: dict[str, PairedDifference]) -> str:
    """Return a comparison as lines for a terminal, one figure a line."""
    head = f'{"":<6}{"A":>7}{"B":>8}{"A - B":>9}   {"95 % interval":<19}{"sign flips":>11}'
    rows = (
        f'{name:<6}{each.a:>7.4f}{each.b:>8.4f}{each.difference:>+9.4f}   '
        f'{each.low:+.4f} to {each.high:+.4f} {each.flips:>11.2%}'
        for name, each in found.items()
    )
    return '\n'.join((head, *rows))


def _read(path: Path) -> pl.DataFrame:
    """Return text, code and rank, in the order of the questions."""
    table = read_parquet(path)
    if missing := [name for name in _NEEDED if name not in table.columns]:
        raise DataError(
            f'{path} is not a table of answers; it lacks {" and ".join(missing)}: pass an '
            'answers.parquet from the evaluation folder of an edition.'
        )
    if table.is_empty():
        raise DataError(f'{path} has no answers: measure the embeddings again.')
    if table.select(pl.any_horizontal(pl.col(_NEEDED).is_null(), pl.col('rank') < 1).any()).item():
        raise DataError(f'{path} has rows without text, code or rank: measure it again.')
    return table.select(_NEEDED).sort(_NEEDED)


def _same_questions(a: pl.DataFrame, b: pl.DataFrame, first: Path, second: Path) -> None:
    if a.select(_QUESTION).equals(b.select(_QUESTION)):
        return
    counts = [table.group_by(_QUESTION).len() for table in (a, b)]
    both = counts[0].join(counts[1], on=_QUESTION, how='full', coalesce=True).fill_null(0)
    other = both.filter(pl.col('len') != pl.col('len_right')).sort(_QUESTION)
    text, code = other.select(_QUESTION).row(0)
    raise DataError(
        f'{first} ({a.height:,} questions) and {second} ({b.height:,}) do not ask the same '
        f'questions, {other.height:,} differ (such as "{text}" of {code}): compare answers of one '
        'edition and one protocol.'
    )
