"""The report's picture of the dynamic curriculum: what was planned, and what the loss saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from naics_model.evaluation.figures import INK, QUIET, REFINED_COLOUR, STYLE, TEXT_COLOUR, png

_REASONS = (
    ('train/negatives_drawn', 'drawn', QUIET),
    ('train/negatives_by_distance', 'nearest', TEXT_COLOUR),
    ('train/negatives_by_router', 'likest gate', REFINED_COLOUR),
)

Record = Sequence[Mapping[str, float]]


def negatives_by_phase(runs: Sequence[tuple[str, Record, Record]]) -> bytes | None:
    """Draw the plan of each run above the negatives that it led to, epoch by epoch.

    Args:
        runs: (name, plan, history): the plan's moments with `progress`, `alpha`, `sibling_weight`,
            `by_distance`, `by_router` and `without_false_negatives`; of each epoch
            `train/negatives_drawn` and so on.

    Returns:
        PNG bytes; None where no run chose its negatives by a plan.
    """
    runs = [(name, plan, history) for name, plan, history in runs if plan and history]
    if not runs:
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 5.2), layout='constrained')
        panels = figure.subplots(2, len(runs), squeeze=False)
        for column, (name, plan, history) in enumerate(runs):
            _plan(panels[0, column], plan)
            _seen(panels[1, column], history)
            panels[0, column].set_title(name)
        panels[0, 0].set_ylabel('plan')
        panels[1, 0].set_ylabel('negatives of an item')
        panels[0, -1].legend(loc='upper left', bbox_to_anchor=(1, 1))
        panels[1, -1].legend(loc='upper left', bbox_to_anchor=(1, 1))
        return png(figure)


def _plan(panel: Axes, plan: Record) -> None:
    progress = [moment['progress'] for moment in plan]
    most = max((moment['alpha'] for moment in plan), default=0) or 1
    for values, label, colour, style in (
        ([m['alpha'] / most for m in plan], f'α / {most:g}', QUIET, '-'),
        ([m['sibling_weight'] for m in plan], 'siblings', INK, ':'),
        ([m['by_distance'] + m['by_router'] for m in plan], 'mined', TEXT_COLOUR, '-'),
    ):
        panel.plot(progress, values, style, color=colour, label=label)
    out = np.array([bool(moment['without_false_negatives']) for moment in plan])
    panel.fill_between(
        progress, 0, 1, where=out, color=REFINED_COLOUR, alpha=0.15, label='clusters left out'
    )
    panel.set_xlabel('progress of the fit')
    panel.xaxis.set_major_formatter(PercentFormatter(1))
    panel.set_ylim(0, 1.05)
    panel.grid(axis='y')


def _seen(panel: Axes, history: Record) -> None:
    epochs = np.arange(1, len(history) + 1)
    below = np.zeros(len(history))
    for name, label, colour in _REASONS:
        share = np.array([float(epoch.get(name, 0)) for epoch in history])
        panel.bar(epochs, share, bottom=below, color=colour, width=0.8, label=label)
        below = below + share
    eliminated = [float(epoch.get('train/eliminated_share', 0)) for epoch in history]
    panel.plot(epochs, eliminated, 'o-', ms=4, color=INK, label='candidates eliminated')
    panel.set_xlabel('epoch')
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    panel.yaxis.set_major_formatter(PercentFormatter(1))
    panel.set_ylim(0, 1.05)
