"""The gate, clause by clause."""

from __future__ import annotations

from dataclasses import replace

import pytest

from naics_model.errors import DataError
from naics_model.evaluation.gate import Thresholds, judge

GOOD = {
    'refined/structure/spearman': 0.974,
    'refined/structure/spearman_within_sectors': 0.96,
    'refined/structure/edge_map': 0.99,
    'refined/structure/average_distortion': 0.03,
    'refined/structure/leaf_ndcg_at_10': 0.9,
    'refined/structure/parent_hit_at_1': 0.8,
    'refined/warm/mrr': 0.7,
    'refined_nearest/warm/mrr': 0.8,
    'text/structure/spearman': 0.98,
    'text/structure/leaf_ndcg_at_10': 0.905,
    'text/structure/parent_hit_at_1': 0.8,
    'text/warm/mrr': 0.705,
    'text_nearest/warm/mrr': 0.805,
}


def failed(metrics: dict[str, float], thresholds: Thresholds | None = None) -> dict[str, str]:
    checks = judge(metrics, thresholds or Thresholds())
    return {check.name: check.sentence for check in checks if not check.passed}


def test_figures_within_all_thresholds_pass() -> None:
    assert failed(GOOD) == {}
    assert len(judge(GOOD, Thresholds())) == 9


@pytest.mark.parametrize(
    ('figure', 'value', 'clause', 'sentence'),
    [
        ('refined/structure/spearman', 0.969, 'spearman', 'Spearman over all pairs 0.969'),
        (
            'refined/structure/spearman_within_sectors',
            0.94,
            'spearman_within_sectors',
            'Spearman within sectors 0.940',
        ),
        ('refined/structure/edge_map', 0.97, 'edge_map', 'edge mAP 0.970'),
        (
            'refined/structure/average_distortion',
            0.06,
            'average_distortion',
            'average distortion 0.060',
        ),
        (
            'text/structure/spearman',
            0.995,
            'keeps_correlation',
            'Spearman 0.974, of the text embeddings 0.995',
        ),
        (
            'refined/structure/leaf_ndcg_at_10',
            0.89,
            'keeps_order_of_leaves',
            'NDCG@10 0.890, of the text embeddings 0.905',
        ),
        (
            'refined/structure/parent_hit_at_1',
            0.799,
            'keeps_parents',
            'parent hit@1 0.799, of the text embeddings 0.800',
        ),
        (
            'refined/warm/mrr',
            0.69,
            'keeps_search',
            'MRR by the codes alone 0.690, of the text embeddings 0.705',
        ),
        (
            'refined_nearest/warm/mrr',
            0.79,
            'keeps_search_with_known',
            'MRR with known activities 0.790, of the text embeddings 0.805',
        ),
    ],
)
def test_each_figure_alone_can_fail(figure: str, value: float, clause: str, sentence: str) -> None:
    assert failed({**GOOD, figure: value}) == {clause: sentence}


def test_thresholds_are_what_is_asked() -> None:
    lower = {**GOOD, 'refined/structure/spearman': 0.5}
    assert set(failed(lower)) == {'spearman', 'keeps_correlation'}
    assert failed(lower, replace(Thresholds(), spearman=0.5, correlation_drop=0.5)) == {}


def test_a_figure_that_is_no_number_fails() -> None:
    assert 'edge_map' in failed({**GOOD, 'refined/structure/edge_map': float('nan')})


def test_without_a_figure_there_is_no_verdict() -> None:
    missing = {name: value for name, value in GOOD.items() if name != 'text/warm/mrr'}
    with pytest.raises(DataError, match='needs the figure text/warm/mrr, which was not measured'):
        judge(missing, Thresholds())
