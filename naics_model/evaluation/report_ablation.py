"""What the ablation found, as a part of a report.

Plain values in, blocks out; the fits are trained and measured in the room `benchmark`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from naics_model.evaluation.document import Block, Paragraph, Row, Table

FIGURES = {
    'warm/hit_at_1': 'search: hit@1',
    'warm/mrr': 'search: MRR',
    'warm_hard/mrr': 'hard part: MRR',
    'flat_warm/mrr': 'flat points: MRR',
    'flat_heldout_codes/parent_hit_at_1': 'unseen: parent@1',
    'flat_heldout_codes/parent_mrr': 'unseen: MRR',
}
"""What is compared, and what a column calls it."""

_COST = {
    'warm/router_entropy': ('router entropy', 3),
    'warm/eliminated_share': ('eliminated', 3),
    'warm/seconds': ('seconds', 0),
}


def ablation_blocks(details: Mapping[str, Any]) -> list[Block]:
    """Return the tables of an ablation.

    Args:
        details: those of its result.json.
    """
    rows = details['rows']
    seeds = ', '.join(map(str, details['seeds']))
    several = len(details['seeds']) > 1
    blocks: list[Block] = [
        Paragraph(
            f'Fits with the profile “{Path(details["profile"]).stem}” that differ in how much each '
            'code weighs as a negative of a phrase, or in one part of the model. '
            f'Each is short: stage {details["curriculum"]} alone, from the untrained '
            f'encoder, texts of codes cut to {details["max_tokens"]} tokens. It shows what a '
            'component does early and on its own, not how good a full training gets.'
        ),
        Paragraph(
            f'Search: {details["set_aside"]:,} train entries that were set aside are asked among '
            'the embeddings of the codes, so that settings may be chosen by these columns; the '
            'held-out entries are not read. Unseen: models of the protocol “heldout_codes” place '
            'its hidden six-digit codes, the same that the section on codes never seen asks '
            'about: no setting is to be chosen by those columns.'
        ),
        Table(
            f'Means over seeds {seeds}' if several else f'Seed {seeds}',
            tuple(FIGURES.values()),
            tuple(
                Row(row['label'], tuple(_mean(row['figures'].get(name)) for name in FIGURES))
                for row in rows
            ),
        ),
    ]
    # An ablation of an earlier release names none.
    for against in dict.fromkeys(filter(None, (row.get('against') for row in rows))):
        blocks += [
            Paragraph(
                f'Against “{against}” of the same seed: what a variant has more or less'
                + (
                    ', and the standard deviation of that between seeds. A difference within twice '
                    'that spread is not told from chance.'
                    if several
                    else '. Of one seed: no spread is known, and small differences may be chance.'
                )
            ),
            Table(
                f'Gain on “{against}”',
                tuple(FIGURES.values()),
                tuple(
                    Row(row['label'], tuple(_gain(row['figures'].get(name)) for name in FIGURES))
                    for row in rows
                    if row.get('against') == against
                ),
            ),
        ]
    return [
        *blocks,
        Paragraph(
            'What the loss saw in the last epoch (mean hardness of its negatives, entropy of the '
            "gate over its maximum, share of candidates in the anchor's cluster), and how long a "
            'fit took.'
        ),
        Table(
            'Last epoch',
            tuple(label for label, _ in _COST.values()),
            tuple(
                Row(
                    row['label'],
                    tuple(
                        None
                        if name not in row['figures']
                        else f'{row["figures"][name]["mean"]:.{d}f}'
                        for name, (_, d) in _COST.items()
                    ),
                )
                for row in rows
            ),
        ),
    ]


def _mean(figure: Mapping[str, float] | None) -> str | None:
    if figure is None:
        return None
    spread = f' ± {figure["spread"]:.3f}' if 'spread' in figure else ''
    return f'{figure["mean"]:.3f}{spread}'


def _gain(figure: Mapping[str, float] | None) -> str | None:
    if figure is None or 'gain' not in figure:
        return None
    spread = f' ± {figure["gain_spread"]:.3f}' if 'gain_spread' in figure else ''
    return f'{figure["gain"]:+.3f}{spread}'
