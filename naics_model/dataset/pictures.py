"""The pictures of the dataset, as PNG bytes. Matplotlib without a screen."""

from __future__ import annotations

import io
from collections.abc import Mapping

_BAR, _INK = '#2b6c9c', '#1c2733'


def histogram(counts: Mapping[str, int], title: str, unit: str) -> bytes:
    """Draw counts as horizontal bars on a logarithmic scale, each with its number.

    Logarithmic, because the rarest kind is often a ten-thousandth of the commonest.

    Args:
        counts: label -> count, from the top.
        title: above the picture.
        unit: what is counted, below the axis.
    """
    # Imported here: it would be half of the time that the command takes to start.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 0.8 + 0.36 * len(counts)), layout='constrained')
    axes = figure.subplots()
    bars = axes.barh(list(counts), [max(count, 0.5) for count in counts.values()], color=_BAR)
    axes.bar_label(bars, [f' {count:,}' for count in counts.values()], color=_INK, fontsize=9)
    axes.set_xscale('log')
    axes.set_xlim(0.5, 30 * max(counts.values(), default=1))
    axes.set_xlabel(f'{unit}, logarithmic')
    axes.set_title(title, loc='left', color=_INK)
    axes.invert_yaxis()
    axes.spines[['top', 'right']].set_visible(False)
    content = io.BytesIO()
    figure.savefig(content, format='png', dpi=80)
    return content.getvalue()
