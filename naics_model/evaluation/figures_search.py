"""The report's pictures of what was answered, as PNG bytes; no figures are computed here."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from naics_model.evaluation.calibration import Reliability
from naics_model.evaluation.figures import QUIET, STYLE, png

Floats = NDArray[np.floating]

# Longer names of sectors would leave no room for twenty columns.
_LABEL = 30


def reliability_curves(
    bins: Mapping[str, tuple[str, Sequence[Reliability]]],
    answered: Mapping[str, tuple[str, Floats]],
) -> bytes:
    """Draw confidence against accuracy, and accuracy against the share of questions answered.

    Args:
        bins: name -> (colour, bins of like confidence).
        answered: name -> (colour, (q,) share right of the surest 1, 2, ..., q answers).
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 4.2), layout='constrained')
        left, right = figure.subplots(1, 2)
        left.plot([0, 1], [0, 1], color=QUIET, lw=1, ls='--')
        for name, (colour, found) in bins.items():
            left.plot(
                [each.confidence for each in found],
                [each.accuracy for each in found],
                'o-',
                ms=5,
                color=colour,
                label=name,
            )
        left.set_xlabel('how sure the model says it is')
        left.set_ylabel('how often it is right')
        for name, (colour, share) in answered.items():
            right.plot(np.arange(1, len(share) + 1) / len(share), share, color=colour, label=name)
        right.set_xlabel('share of questions answered, the surest first')
        right.set_ylabel('share of these answered right')
        for panel in (left, right):
            _unit(panel)
        left.legend(loc='upper left')
        return png(figure)


def _unit(panel: Axes) -> None:
    panel.set_xlim(0, 1)
    panel.set_ylim(0, 1.02)
    panel.grid()


def sector_confusion(counts: NDArray[np.integer], names: Sequence[str]) -> bytes:
    """Draw how the first answers spread over sectors, each row in percent of its questions.

    Args:
        counts: (s, s) number of questions, by sector of the right code (row) and of the answer.
        names: the s sectors, as the axes show them.
    """
    total = counts.sum(axis=1, keepdims=True)
    share = 100 * np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)
    size = len(names)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 2.2 + 0.34 * size), layout='constrained')
        panel = figure.subplots()
        image = panel.imshow(share, cmap='Blues', vmin=0, vmax=100, aspect='auto')
        for row, column in np.ndindex(size, size):
            if share[row, column] >= 0.5:
                panel.text(
                    column,
                    row,
                    f'{share[row, column]:.0f}',
                    ha='center',
                    va='center',
                    fontsize=8,
                    color='white' if share[row, column] > 55 else '#1c2733',
                )
        panel.set_xticks(range(size), [name.partition(' ')[0] for name in names], fontsize=7.5)
        panel.set_yticks(
            range(size),
            [
                f'{textwrap.shorten(name, _LABEL, placeholder=" …")}  ({n:,})'
                for name, n in zip(names, total.ravel(), strict=True)
            ],
            fontsize=9,
        )
        panel.set_xlabel('sector of the first answer')
        panel.tick_params(length=0)
        for spine in panel.spines.values():
            spine.set_visible(False)
        figure.colorbar(image, ax=panel, fraction=0.03, pad=0.01, label='% of the questions')
        return png(figure)
