"""The plan of the dynamic curriculum, worked by hand at chosen moments."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from naics_model.curriculum.sadc import (
    NOT_YET,
    NegativeSettings,
    PhaseClock,
    Plan,
    in_words,
    plan_at,
    schedule,
)
from naics_model.errors import ConfigurationError


def sadc(**options: Any) -> NegativeSettings:
    return NegativeSettings(strategy='sadc', **options)


def test_strategies_without_phases_have_one_plan_throughout() -> None:
    assert NegativeSettings().strategy == 'uniform'
    assert set(schedule(NegativeSettings(strategy='uniform'))) == {Plan()}
    static = NegativeSettings(strategy='sans_static', near_share=0.4)
    assert set(schedule(static)) == {Plan(near_share=0.4)}


def test_three_phases_by_hand() -> None:
    settings = sadc(router=0.25)
    tree = Plan(phase=1, alpha=1.5, sibling_weight=0.0)
    assert plan_at(settings, 0.0) == tree
    assert plan_at(settings, 0.299) == tree
    halfway = plan_at(settings, 0.5)
    assert halfway._replace(alpha=0) == Plan(
        phase=2, sibling_weight=1.0, by_distance=0.375, by_router=0.125
    )
    assert halfway.alpha == pytest.approx(0.75)
    last = Plan(
        phase=3,
        alpha=0.0,
        sibling_weight=1.0,
        by_distance=0.375,
        by_router=0.125,
        without_false_negatives=True,
    )
    assert plan_at(settings, 0.7) == last
    assert plan_at(settings, 1.0) == last


def test_two_phases_mine_without_false_negatives_from_the_first_end_on() -> None:
    settings = sadc(phases='two')
    before, after = plan_at(settings, 0.29), plan_at(settings, 0.31)
    assert (before.phase, before.without_false_negatives) == (1, False)
    assert (after.phase, after.without_false_negatives) == (3, True)
    assert after.by_distance == after.by_router == 0.25
    # The tree fades over all the rest.
    at_two_thirds = plan_at(settings, 0.65)
    assert at_two_thirds.alpha == pytest.approx(0.75)


def test_annealing_is_steady() -> None:
    plans = schedule(sadc(phases='annealed'))
    for moment, plan in zip((i / 20 for i in range(21)), plans, strict=True):
        assert plan.alpha == pytest.approx(1.5 * (1 - moment))
        assert plan.sibling_weight == pytest.approx(moment)
        assert plan.by_distance + plan.by_router == pytest.approx(moment / 2)
        assert plan.without_false_negatives == (moment >= 0.7)


def test_plateaus_end_phases_wherever_they_come() -> None:
    settings = sadc(phases='plateau')
    for ends, moment, phase in (
        (NOT_YET, 0.99, 1),
        ((0.2, math.inf), 0.1, 1),
        ((0.2, math.inf), 0.99, 2),
        ((0.2, 0.4), 0.3, 2),
        ((0.2, 0.4), 0.4, 3),
    ):
        plan = plan_at(settings, moment, ends)
        assert plan.phase == phase
    # With no end in sight the tree fades to the end of the fit; an end that came does not change
    # what was before it.
    for ends in ((0.2, math.inf), (0.2, 0.7)):
        fading = plan_at(settings, 0.6, ends)
        assert fading.alpha == pytest.approx(0.75)
    after = plan_at(settings, 0.75, (0.2, 0.7))
    assert after.alpha == 0


@given(
    progress=st.floats(0, 1),
    phases=st.sampled_from(['three', 'two', 'annealed', 'plateau']),
    mined=st.floats(0, 1),
    router=st.floats(0, 1),
    ends=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(lambda e: (min(e), max(e))),
)
def test_a_plan_is_always_of_shares(
    progress: float, phases: Any, mined: float, router: float, ends: tuple[float, float]
) -> None:
    settings = sadc(
        phases=phases, mined=mined, router=router, first_end=ends[0], second_end=ends[1]
    )
    plan = plan_at(settings, progress, ends)
    assert 0 <= plan.alpha <= 1.5
    assert 0 <= plan.sibling_weight <= 1
    assert 0 <= plan.by_distance + plan.by_router <= 1 + 1e-12


def test_phases_only_go_forward() -> None:
    for phases in ('three', 'two', 'annealed'):
        for earlier, later in itertools.pairwise(schedule(sadc(phases=phases))):
            assert earlier.phase <= later.phase
            assert earlier.alpha >= later.alpha


def test_each_component_can_be_left_out() -> None:
    assert {plan.alpha for plan in schedule(sadc(alpha=0))} == {0}
    assert {plan.sibling_weight for plan in schedule(sadc(mask_siblings=False))} == {1}
    assert {plan.by_router for plan in schedule(sadc(router=0))} == {0}
    assert {plan.by_distance + plan.by_router for plan in schedule(sadc(mined=0))} == {0}
    assert not any(plan.without_false_negatives for plan in schedule(sadc(false_negatives='off')))


def test_the_clock_ends_a_phase_when_the_loss_has_stopped_falling() -> None:
    clock = PhaseClock(patience=2)
    for progress, loss in ((0.1, 3.0), (0.2, 2.0), (0.3, 2.0)):
        clock.observe(progress, loss)
        assert clock.ends == NOT_YET
    clock.observe(0.4, 2.5)
    assert clock.ends == (0.4, math.inf)
    # Harder negatives, another loss: the new phase starts anew, above what the old one ended at.
    clock.observe(0.5, 9.0)
    clock.observe(0.6, 9.5)
    assert clock.ends == (0.4, math.inf)
    resumed = PhaseClock(patience=2)
    resumed.restore(clock.state())
    for each in (clock, resumed):
        each.observe(0.7, 9.1)
        assert each.ends == (0.4, 0.7)
        # There is no fourth.
        for _ in range(5):
            each.observe(0.8, 10.0)
        assert each.ends == (0.4, 0.7)


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({'router': 1.5}, 'negatives.router is 1.5: it is a share, 0 to 1.'),
        ({'first_end': 0.8}, 'The phases end at 0.8 and 0.7 of the fit'),
        ({'hardest': 0}, 'negatives.hardest is 0: it is at least 1.'),
        ({'mined': -0.1}, 'negatives.mined is -0.1: it is a share, 0 to 1.'),
        ({'alpha': math.nan}, 'negatives.alpha is nan: it is at least 0.'),
        ({'every': 0}, 'negatives.every is 0: it is at least 1.'),
    ],
)
def test_a_setting_out_of_range_is_one_sentence(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said.replace('.', r'\.')):
        sadc(**options)


def test_it_is_said_in_words() -> None:
    assert 'until 30% of the fit, then of the hardest, from 70% without false ones' in in_words(
        sadc()
    )
    assert 'from 70% with false ones' in in_words(sadc(false_negatives='off'))
    assert 'then all alike' in in_words(sadc(mined=0.0))
    assert in_words(NegativeSettings()) == 'all codes weigh alike as negatives'
    assert len({in_words(sadc(phases=p)) for p in ('three', 'two', 'annealed', 'plateau')}) == 4
    assert '40%' in in_words(NegativeSettings(strategy='sans_static', near_share=0.4))
