"""Stages and what is supplied of them before a person's eyes, in words and small tables."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from naics_model.curriculum.stage import BUILT_IN, Stage
from naics_model.curriculum.supply import StageSupply
from naics_model.taxonomy.tree import LEVELS
from naics_model.triplets.hardness import HARDNESS

_BAR = 10
_EIGHTHS = ' ▏▎▍▌▋▊▉█'


def origin(path: Path) -> str:
    """Say where a stage is from."""
    return 'built in' if path.parent == BUILT_IN else str(path)


def positives(stage: Stage) -> str:
    """Say in words which positives a stage admits."""
    low, high = stage.positive_distance_min, stage.positive_distance_max
    if low is None and high is None:
        apart = 'at any distance'
    elif low is None:
        apart = f'at most {high:.1f} apart'
    elif high is None:
        apart = f'at least {low:.1f} apart'
    else:
        apart = f'{low:.1f} to {high:.1f} apart'
    named = [str(level) for level in sorted(set(stage.positive_levels))]
    levels = f'level{"s" if len(named) > 1 else ""} {", ".join(named)}'
    if len(named) == len(LEVELS):
        levels = 'all levels'
    most = f', at most {stage.max_positives} of an anchor' if stage.max_positives else ''
    return f'{levels}, {apart}{most}'


def negatives(stage: Stage) -> str:
    """Say in words which negatives a stage asks for."""
    shares = sorted(stage.bucket_percentages.items())
    words = ', '.join(f'{level}: {100 * share:.4g}%' for level, share in shares)
    return f'{stage.k_negatives} of an item, by hardness {words}'


def mix_table(supply: StageSupply, *, plain: bool) -> Table:
    """Return the shares by hardness: asked, in the long run, drawn; with the gap and a bar.

    Args:
        supply: what an edition supplies of a stage.
        plain: whether to keep to ASCII.
    """
    table = _table('hardness', 'asked', 'long run', 'drawn', 'points')
    table.add_column('')
    for bucket in supply.buckets:
        table.add_row(
            _hardness(bucket.hardness),
            f'{bucket.requested:.1%}',
            f'{bucket.expected:.1%}',
            f'{bucket.drawn:.1%}',
            f'{100 * bucket.gap:+.1f}',
            bar(bucket.drawn, plain=plain),
            style='red' if bucket.is_off else None,
        )
    return table


def pair_table(supply: StageSupply) -> Table:
    """Return by hardness how many eligible pairs have all, some or none of the negatives."""
    table = _table('hardness', 'of an item', 'pairs with all', 'with fewer', 'with none')
    for bucket in supply.buckets:
        some = supply.pairs - bucket.pairs_with_none
        asked = bucket.quota > 0
        table.add_row(
            _hardness(bucket.hardness),
            str(bucket.quota),
            f'{bucket.pairs_with_quota:,}' if asked else '',
            f'{some - bucket.pairs_with_quota:,}' if asked else '',
            f'{bucket.pairs_with_none:,}',
        )
    return table


def bar(share: float, *, plain: bool) -> str:
    """Return a bar, full at a share of 1."""
    if plain:
        return '#' * round(_BAR * share)
    whole, eighths = divmod(round(8 * _BAR * share), 8)
    return '█' * whole + _EIGHTHS[eighths].strip()


def _hardness(level: int) -> str:
    return f'{level} {HARDNESS[level]}'


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for heading in others:
        table.add_column(heading, justify='right', no_wrap=True)
    return table
