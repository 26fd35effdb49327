"""The gate that refined embeddings have to pass before they are released.

Figures in, verdicts out. They must hold the tree, and must cost nothing of what the text embeddings
can do; otherwise the text embeddings are the better product.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from naics_model.checks import Check
from naics_model.errors import DataError


@dataclass(frozen=True)
class Thresholds:
    """What is asked of refined embeddings; the drops are against the text embeddings.

    Attributes:
        spearman: at least, of distances against the tree over all pairs.
        spearman_within_sectors: at least, over pairs of one sector.
        edge_map: at least, of parent and children among the nearest.
        average_distortion: at most, after one scale for all pairs.
        correlation_drop: how much lower Spearman's correlation may be.
        ndcg_drop: how much lower NDCG@10 among six-digit codes may be.
        mrr_drop: how much lower the MRR of held-out activities may be, by the codes alone and
            fused with the known phrases.
        parent_drop: how much lower the share of parents found first may be.
    """

    spearman: float = 0.97
    spearman_within_sectors: float = 0.95
    edge_map: float = 0.98
    average_distortion: float = 0.05
    correlation_drop: float = 0.02
    ndcg_drop: float = 0.01
    mrr_drop: float = 0.01
    parent_drop: float = 0.0


# Name, figure, threshold, whether more is better, what it is.
_ABSOLUTE = (
    ('spearman', True, 'Spearman over all pairs'),
    ('spearman_within_sectors', True, 'Spearman within sectors'),
    ('edge_map', True, 'edge mAP'),
    ('average_distortion', False, 'average distortion'),
)
# Name, figures with and without a prefix, threshold, what it is.
_RELATIVE = (
    ('keeps_correlation', '', 'structure/spearman', 'correlation_drop', 'Spearman'),
    ('keeps_order_of_leaves', '', 'structure/leaf_ndcg_at_10', 'ndcg_drop', 'NDCG@10'),
    ('keeps_parents', '', 'structure/parent_hit_at_1', 'parent_drop', 'parent hit@1'),
    ('keeps_search', '', 'warm/mrr', 'mrr_drop', 'MRR by the codes alone'),
    ('keeps_search_with_known', '_nearest', 'warm/mrr', 'mrr_drop', 'MRR with known activities'),
)


def judge(metrics: Mapping[str, float], thresholds: Thresholds) -> tuple[Check, ...]:
    """Return a verdict on refined embeddings for each thing that is asked of them.

    Args:
        metrics: figures of text and refined embeddings, by their full names
            (`refined/structure/spearman`).
        thresholds: what is asked.

    Raises:
        DataError: a figure is missing, so that nothing can be said.
    """
    found = []
    for name, more_is_better, what in _ABSOLUTE:
        value, bound = _figure(metrics, f'refined/structure/{name}'), getattr(thresholds, name)
        found.append(
            _verdict(
                name,
                value >= bound if more_is_better else value <= bound,
                f'{what} is {"at least" if more_is_better else "at most"} {bound:g}.',
                f'{what} {value:.3f}',
            )
        )
    for name, suffix, figure, drop, what in _RELATIVE:
        text, refined = (
            _figure(metrics, f'{method}{suffix}/{figure}') for method in ('text', 'refined')
        )
        bound = getattr(thresholds, drop)
        found.append(
            _verdict(
                name,
                refined >= text - bound,
                f'{what} is at most {bound:g} below that of the text embeddings.',
                f'{what} {refined:.3f}, of the text embeddings {text:.3f}',
            )
        )
    return tuple(found)


def _verdict(name: str, passed: bool, guarantee: str, sentence: str) -> Check:
    # None blocks: where one fails, the text embeddings are released instead.
    return Check(name, bool(passed), blocking=False, guarantee=guarantee, sentence=sentence)


def _figure(metrics: Mapping[str, float], name: str) -> float:
    if name not in metrics:
        raise DataError(
            f'The gate needs the figure {name}, which was not measured: measure text and refined '
            'embeddings again.'
        )
    return metrics[name]
