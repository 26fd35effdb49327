"""The report's pictures of losses and points, as PNG bytes.

Matplotlib without a screen; no figures are computed here.

Every picture shows all codes and all pairs, not a sample of them.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from naics_model.evaluation.points import Points
from naics_model.taxonomy.tree import LEVELS, Taxonomy

Floats = NDArray[np.floating]

INK, QUIET, GRID = '#1c2733', '#566472', '#dde3e9'
TEXT_COLOUR, REFINED_COLOUR = '#2b6c9c', '#c2553a'
# Twenty sectors: hues far apart for neighbours in the list, dark enough on white.
SECTOR_COLOURS = (
    '#1f77b4',
    '#d62728',
    '#2ca02c',
    '#9467bd',
    '#ff7f0e',
    '#17a2b8',
    '#8c564b',
    '#e377c2',
    '#6b8e23',
    '#34495e',
    '#e6a700',
    '#00766c',
    '#b3446c',
    '#5d8aa8',
    '#7b3f00',
    '#5e4fa2',
    '#f46d43',
    '#66a61e',
    '#a50026',
    '#999999',
)
# Any: matplotlib types the keys as literals, which a plain dict is not.
STYLE: Any = {
    'font.size': 11,
    'axes.axisbelow': True,
    'axes.edgecolor': QUIET,
    'axes.labelcolor': INK,
    'axes.spines.right': False,
    'axes.spines.top': False,
    'axes.titlesize': 12,
    'axes.titleweight': 'bold',
    'grid.color': GRID,
    'text.color': INK,
    'xtick.color': QUIET,
    'ytick.color': QUIET,
    'legend.frameon': False,
}


def loss_curves(runs: Sequence[tuple[str, Sequence[Mapping[str, float]]]]) -> bytes | None:
    """Draw training and validation loss by epoch, one panel for each run that has a history.

    Args:
        runs: (name, one {'train/loss', 'val/loss', ...} per epoch); either loss may be missing.

    Returns:
        PNG bytes, or None where no run kept a history.
    """
    runs = [(name, history) for name, history in runs if history]
    if not runs:
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.3), layout='constrained')
        panels = figure.subplots(1, len(runs), squeeze=False)[0]
        for panel, (name, history) in zip(panels, runs, strict=True):
            for key, label, colour in (
                ('train/loss', 'training', TEXT_COLOUR),
                ('val/loss', 'validation', REFINED_COLOUR),
            ):
                points = [
                    (epoch, float(row[key]))
                    for epoch, row in enumerate(history, start=1)
                    if key in row
                ]
                if points:
                    panel.plot(*zip(*points, strict=True), 'o-', ms=4, color=colour, label=label)
            panel.set_title(name)
            panel.set_xlabel('epoch')
            panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
            panel.grid(axis='y')
            panel.margins(x=0.08)
        panels[0].set_ylabel('loss')
        panels[0].legend()
        return png(figure)


def distance_violins(sets: Sequence[Points], tree: NDArray[np.integer]) -> bytes:
    """Draw how embedding distances spread at each tree distance, over all pairs.

    Args:
        sets: the embeddings, one panel each.
        tree: (n, n) steps through the virtual root.
    """
    pairs = np.triu_indices(len(tree), k=1)
    steps = tree[pairs]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 4), layout='constrained')
        panels = figure.subplots(1, len(sets), squeeze=False)[0]
        for panel, points in zip(panels, sets, strict=True):
            d = points.distance[pairs]
            for step in np.unique(steps):
                _violin(panel, int(step), d[steps == step], points.colour)
            panel.set_title(points.name)
            panel.set_xlabel('steps in the tree')
            panel.set_xticks(np.unique(steps))
            panel.set_ylim(bottom=0)
            panel.grid(axis='y')
        panels[0].set_ylabel('distance in the space')
        return png(figure)


def _violin(panel: Axes, position: int, values: Floats, colour: str) -> None:
    """Draw one violin from a smoothed histogram: a kernel density of a million pairs takes seconds,
    this takes none and looks the same."""
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-6 * max(high, 1.0):
        panel.plot([position - 0.4, position + 0.4], [low, low], color=colour, lw=2)
    else:
        density, edges = np.histogram(values, bins=120, range=(low, high))
        middle = (edges[1:] + edges[:-1]) / 2
        width = gaussian_filter1d(density.astype(np.float64), 2.5, mode='nearest')
        width *= 0.42 / width.max()
        panel.fill_betweenx(
            middle, position - width, position + width, color=colour, alpha=0.45, lw=0
        )
    panel.plot(position, np.median(values), 'o', ms=4, color=INK, zorder=3)


def radius_by_level(sets: Sequence[Points], taxonomy: Taxonomy) -> bytes:
    """Draw the mean radius of each level, with the range of the middle 90 % of its codes."""
    levels = [level for level in LEVELS if (taxonomy.levels == level).any()]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.6), layout='constrained')
        panel = figure.subplots()
        for number, points in enumerate(sets):
            shift = 0.08 * (number - (len(sets) - 1) / 2)
            at_level = [points.radius[taxonomy.levels == level] for level in levels]
            mean = np.array([values.mean() for values in at_level])
            low, high = np.array([np.quantile(values, (0.05, 0.95)) for values in at_level]).T
            place = np.array(levels) + shift
            panel.vlines(place, low, high, color=points.colour, alpha=0.5, lw=5)
            panel.plot(place, mean, 'o-', color=points.colour, label=points.name)
        panel.set_xticks(levels, [f'{level} digits' for level in levels])
        panel.set_ylabel('distance from the centre')
        panel.set_ylim(bottom=0)
        panel.grid(axis='y')
        figure.legend(loc='outside upper center', ncols=len(sets))
        return png(figure)


def disk_positions(tangent: Floats, radius: Floats) -> NDArray[np.float64]:
    """Project embeddings into the Poincaré disk.

    The direction is that of the tangent vector in the plane in which codes differ most: the first
    two principal axes, taken around the mean. (Through the origin, the first axis is the direction
    that all codes share, and the picture a crescent.) The distance from the centre is kept: a code
    at geodesic radius r, in units of the space's own scale, stands at tanh(r / 2), as in the
    d-dimensional Poincaré ball. Radii are exact, angles approximate.

    Args:
        tangent: (n, d) tangent vectors at the origin, d at least 2.
        radius: (n,) geodesic radii.

    Returns:
        (n, 2), inside the unit disk.
    """
    vectors = tangent.astype(np.float64)
    axes = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)[2][:2]
    # The sign of a principal axis is arbitrary; a fixed one keeps the picture from run to run.
    axes = axes * np.where(axes[np.arange(2), np.abs(axes).argmax(1)] < 0, -1, 1)[:, None]
    plane = vectors @ axes.T
    length = np.linalg.norm(plane, axis=1, keepdims=True)
    direction = plane / np.where(length > 0, length, 1)
    return direction * np.tanh(radius.astype(np.float64) / 2)[:, None]


def poincare_disks(
    sets: Sequence[Points], taxonomy: Taxonomy, sector_names: Mapping[int, str]
) -> bytes:
    """Draw all codes in the Poincaré disk, coloured by sector, larger for fewer digits.

    Args:
        sets: the embeddings, one disk each (see `disk_positions` for the projection).
        taxonomy: the codes.
        sector_names: what the legend says of each sector's index.
    """
    sectors = sorted(sector_names)
    colour = {s: SECTOR_COLOURS[i % len(SECTOR_COLOURS)] for i, s in enumerate(sectors)}
    colours = np.array([colour[int(s)] for s in taxonomy.sectors])
    # The deep levels first, so that the few general codes stay on top.
    order = np.argsort(-taxonomy.levels.astype(int), kind='stable')
    size = np.array([70, 26, 14, 7, 5])[taxonomy.levels - 2]
    children = np.flatnonzero(taxonomy.parents >= 0)
    columns = 2
    rows = -(-len(sectors) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 4.8 + 0.21 * rows), layout='constrained')
        panels = figure.subplots(1, len(sets), squeeze=False)[0]
        for panel, points in zip(panels, sets, strict=True):
            place = disk_positions(points.tangent, points.radius)
            edges = np.stack([place[children], place[taxonomy.parents[children]]], axis=1)
            panel.add_collection(
                LineCollection(list(edges), colors=colours[children], lw=0.4, alpha=0.18)
            )
            panel.scatter(
                *place[order].T,
                s=size[order],
                c=colours[order],
                alpha=0.85,
                edgecolors='white',
                linewidths=np.where(taxonomy.levels[order] == 2, 0.8, 0.0),
            )
            turn = np.linspace(0, 2 * np.pi, 400)
            panel.plot(np.cos(turn), np.sin(turn), color=QUIET, lw=1)
            panel.set_aspect('equal')
            panel.set_xlim(-1.03, 1.03)
            panel.set_ylim(-1.03, 1.03)
            panel.set_axis_off()
            panel.set_title(points.name)
        handles = [
            Line2D(
                [],
                [],
                marker='o',
                ls='',
                ms=6,
                color=colour[s],
                label=textwrap.shorten(sector_names[s], 56, placeholder=' …'),
            )
            for s in sectors
        ]
        figure.legend(
            handles=handles,
            loc='outside lower center',
            ncols=columns,
            fontsize=9,
            handletextpad=0.2,
        )
        return png(figure)


def png(figure: Figure) -> bytes:
    """Return a figure as PNG bytes."""
    buffer = io.BytesIO()
    # Without the version line equal pictures are equal bytes.
    figure.savefig(buffer, format='png', dpi=150, facecolor='white', metadata={'Software': None})
    return buffer.getvalue()
