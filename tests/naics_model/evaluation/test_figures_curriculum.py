"""The picture of the dynamic curriculum is drawn, and follows what it is given."""

from __future__ import annotations

from typing import Any

from naics_model.curriculum.sadc import NegativeSettings, schedule
from naics_model.evaluation.figures_curriculum import negatives_by_phase


def plan_of(**options: Any) -> list[dict[str, Any]]:
    plans = schedule(NegativeSettings(**{'strategy': 'sadc', **options}))
    return [{'progress': i / 20, **plan._asdict()} for i, plan in enumerate(plans)]


def history_of(eliminated: float) -> list[dict[str, float]]:
    return [
        {'train/negatives_drawn': 1.0},
        {
            'train/negatives_by_distance': 0.5,
            'train/negatives_by_router': 0.5,
            'train/eliminated_share': eliminated,
        },
    ]


def test_it_is_drawn_for_each_run_and_shows_plan_and_figures() -> None:
    one = negatives_by_phase([('stage_1_easy', plan_of(), history_of(0.1))])
    assert one is not None
    assert one.startswith(b'\x89PNG')
    assert one == negatives_by_phase([('stage_1_easy', plan_of(), history_of(0.1))])
    assert one != negatives_by_phase([('stage_1_easy', plan_of(alpha=0.0), history_of(0.1))])
    assert one != negatives_by_phase([('stage_1_easy', plan_of(), history_of(0.3))])


def test_there_is_none_where_no_run_had_a_plan() -> None:
    assert negatives_by_phase([]) is None
    assert negatives_by_phase([('stage_1_easy', [], history_of(0.1))]) is None
