"""What is read first: the few metrics of a run that fit on a screen."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from naics_model.evaluation.guide_search import (
    COLD,
    EDITIONS,
    EXCLUSIONS,
    PLACEMENT,
    WARM,
    WARM_HARD,
)
from naics_model.evaluation.guide_space import RADIUS, STRUCTURE
from naics_model.evaluation.methods import METHODS
from naics_model.evaluation.metric import in_group

SUMMARY = tuple(
    metric
    for metric in (*WARM, *WARM_HARD, *STRUCTURE, *RADIUS)
    if metric.key
    in {
        'warm/hit_at_1',
        'warm/hit_at_10',
        'warm/mrr',
        'warm/prefix_accuracy_2',
        'warm_hard/hit_at_1',
        'structure/spearman',
        'structure/spearman_within_sectors',
        'structure/average_distortion',
        'structure/edge_map',
        'structure/parent_hit_at_1_nontrivial',
        'structure/leaf_ndcg_at_10',
        'radius/parent_nearer_origin',
    }
)

SUMMARY_OF = (
    'text',
    'text_nearest',
    'refined',
    'refined_nearest',
    'lexical',
    'zero_shot_nearest',
)
"""The methods that a summary sets side by side, in the order of its columns."""


def first_figures(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return those of a report's figures that a summary shows, of the methods that it shows.

    Args:
        metrics: by `<method>/<group>/<name>`.
    """
    keys = [f'{method}/{metric.key}' for metric in SUMMARY for method in SUMMARY_OF]
    return {key: metrics[key] for key in keys if key in metrics}


def overview(metrics: Mapping[str, float]) -> pl.DataFrame:
    """Return the first figures of whatever was measured, a row a figure and a column a method.

    Args:
        metrics: by `<method>/<group>/<name>`.

    Returns:
        measure String, then one Float64 column for each method that has one of them.
    """
    first = (
        *SUMMARY,
        *(metric for metric in COLD if metric.key in _FIRST_OF_COLD),
        *(m for group in _UNSEEN for m in in_group(group, PLACEMENT)),
        *EDITIONS,
        EXCLUSIONS[0],
    )
    methods = [name for name in METHODS if any(f'{name}/{m.key}' in metrics for m in first)]
    rows = [
        {
            'measure': metric.label + (' (cold)' if metric.key.startswith('cold') else ''),
            **{METHODS[name].label: metrics.get(f'{name}/{metric.key}') for name in methods},
        }
        for metric in first
        if any(f'{name}/{metric.key}' in metrics for name in methods)
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


_UNSEEN = ('heldout_codes', 'heldout_folds', 'heldout_subtrees')
_FIRST_OF_COLD = {'cold/hit_at_1', 'cold/hit_at_10', 'cold/mrr'}
