"""The structure-aware dynamic curriculum (SADC) as plain data: progress of a fit -> how to choose.

What belongs here: the settings, and the plan that they give for a moment of the fit. Weighing
negatives by that plan is the business of `training/negatives.py`.

Source of the structural weights: Ahrabian et al., Structure Aware Negative Sampling in Knowledge
Graphs, EMNLP 2020 (SANS).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from naics_model.errors import ConfigurationError

Ends = tuple[float, float]
"""The progress at which the first and the second phase end; infinite where they have not yet."""

NOT_YET: Ends = (math.inf, math.inf)


@dataclass(frozen=True)
class NegativeSettings:
    """How the other codes are weighed as negatives of a phrase.

    A phrase is contrasted with all six-digit codes at once; a weight multiplies what a code adds
    to the denominator of the softmax, and 0 leaves it out.

    Attributes:
        strategy: `uniform` weighs all alike: the plain softmax; `sans_static` gives a fixed share
            of the weight to the phrase's own sector; `sadc` weighs by phase.
        phases: of `sadc`. `three`: structural, geometric, and then without false negatives;
            `two`: the last two at once; `annealed`: no phases but a steady passage from the tree to
            the model; `plateau`: three, each until `val/loss` has stopped falling.
        first_end: progress, 0 to 1, at which the structural phase ends.
        second_end: progress at which the geometric phase ends, and false negatives begin.
        alpha: a negative at distance d of the tree has the weight d^-alpha; alpha falls to 0 in the
            geometric phase.
        mask_siblings: whether to leave out siblings of the phrase's code in the structural phase.
        mined: share of the weight that goes to the hardest codes from the second phase on.
        hardest: how many codes share it.
        router: share of the mined weight that goes to codes of a similar gate; the rest goes to the
            nearest codes.
        router_measure: of two gate distributions: `kl` divergence, or `cosine`.
        false_negatives: what happens to codes in the cluster of the phrase's code: `eliminate`
            leaves them out; `attract` also pulls them closer; `hybrid` pulls only those of the same
            sector; `off` keeps them as negatives.
        clusters: of the six-digit codes; a quarter of their number where that is less.
        every: epochs between two clusterings, and between two readings of the codes' gates.
        near_share: of `sans_static`, the share of the own sector.
        patience: of `plateau`, epochs without a lower `val/loss` that end a phase.
    """

    strategy: Literal['uniform', 'sans_static', 'sadc'] = 'uniform'
    phases: Literal['three', 'two', 'annealed', 'plateau'] = 'three'
    first_end: float = 0.3
    second_end: float = 0.7
    alpha: float = 1.5
    mask_siblings: bool = True
    mined: float = 0.5
    hardest: int = 64
    router: float = 0.5
    router_measure: Literal['kl', 'cosine'] = 'kl'
    false_negatives: Literal['eliminate', 'attract', 'hybrid', 'off'] = 'eliminate'
    clusters: int = 500
    every: int = 5
    near_share: float = 0.5
    patience: int = 1

    def __post_init__(self) -> None:
        """Raises:
        ConfigurationError: a value is out of its range.
        """
        for name in ('mined', 'router', 'near_share'):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ConfigurationError(f'negatives.{name} is {value:g}: it is a share, 0 to 1.')
        if not 0 <= self.first_end <= self.second_end <= 1:
            raise ConfigurationError(
                f'The phases end at {self.first_end:g} and {self.second_end:g} of the fit: '
                'negatives.first_end and negatives.second_end go up, from 0 to 1.'
            )
        for name, least in (
            ('alpha', 0),
            ('hardest', 1),
            ('clusters', 2),
            ('every', 1),
            ('patience', 1),
        ):
            if not getattr(self, name) >= least:
                raise ConfigurationError(
                    f'negatives.{name} is {getattr(self, name):g}: it is at least {least}.'
                )


class Plan(NamedTuple):
    """How negatives are weighed at one moment.

    Attributes:
        phase: 1 structural, 2 geometric, 3 without false negatives; 0 of a strategy without phases.
        alpha: exponent of the weights d^-alpha.
        sibling_weight: of siblings, beside that; 0 leaves them out.
        near_share: share of the weight that the own sector has; None where alpha decides.
        by_distance: share of the weight that the nearest codes have.
        by_router: share that the codes of the most similar gate have.
        without_false_negatives: whether codes in the phrase's own cluster are left out.
    """

    phase: int = 0
    alpha: float = 0.0
    sibling_weight: float = 1.0
    near_share: float | None = None
    by_distance: float = 0.0
    by_router: float = 0.0
    without_false_negatives: bool = False


def plan_at(settings: NegativeSettings, progress: float, ends: Ends = NOT_YET) -> Plan:
    """Return the plan at a moment of a fit.

    Args:
        settings: what was asked for.
        progress: done share of the fit, 0 to 1.
        ends: of `plateau`, when phases have ended; not read otherwise.
    """
    if settings.strategy == 'uniform':
        return Plan()
    if settings.strategy == 'sans_static':
        return Plan(near_share=settings.near_share)
    first, second = _ends(settings, ends)
    if progress < first:
        phase, mined, tree = 1, 0.0, 1.0
    else:
        phase, mined = (2 if progress < second else 3), settings.mined
        # The weights of the tree fade over the geometric phase; where its end is not known before
        # it comes, over the rest of the fit, as long as it lasts.
        fades_until = second if settings.phases == 'three' and first < second else 1.0
        tree = max(1 - (progress - first) / max(fades_until - first, 1e-9), 0.0)
        if phase == 3 and settings.phases != 'two':
            tree = 0.0
    siblings = 0.0 if settings.mask_siblings and phase == 1 else 1.0
    if settings.phases == 'annealed':
        mined, tree = settings.mined * progress, 1 - progress
        siblings = progress if settings.mask_siblings else 1.0
    return Plan(
        phase=phase,
        alpha=settings.alpha * tree,
        sibling_weight=siblings,
        by_distance=mined * (1 - settings.router),
        by_router=mined * settings.router,
        without_false_negatives=phase == 3 and settings.false_negatives != 'off',
    )


def _ends(settings: NegativeSettings, found: Ends) -> Ends:
    if settings.phases == 'plateau':
        return found
    if settings.phases == 'two':
        return settings.first_end, settings.first_end
    return settings.first_end, settings.second_end


def schedule(settings: NegativeSettings, ends: Ends = NOT_YET, points: int = 21) -> list[Plan]:
    """Return the plans at moments spread evenly over a fit, the first at its start.

    Args:
        settings: what was asked for.
        ends: of `plateau`, when phases have ended.
        points: how many moments.
    """
    return [plan_at(settings, point / max(points - 1, 1), ends) for point in range(points)]


def in_words(settings: NegativeSettings) -> str:
    """Return in a sentence how negatives are weighed."""
    if settings.strategy == 'uniform':
        return 'all codes weigh alike as negatives'
    if settings.strategy == 'sans_static':
        return f"{settings.near_share:.0%} of the negatives' weight is of the own sector"
    first, second = f'{settings.first_end:.0%}', f'{settings.second_end:.0%}'
    mined = 'of the hardest' if settings.mined > 0 else 'all alike'
    false = {
        'eliminate': 'without false ones',
        'attract': 'with false ones attracted',
        'hybrid': 'with false ones attracted or left out',
        'off': 'with false ones',
    }[settings.false_negatives]
    said = {
        'three': f'of the tree until {first} of the fit, then {mined}, from {second} {false}',
        'two': f'of the tree until {first} of the fit, then {mined} and {false}',
        'annealed': f'ever less of the tree and more {mined}, from {second} {false}',
        'plateau': f'of the tree, {mined}, and {false}, each until val/loss stops falling',
    }
    return f'negatives by phase: {said[settings.phases]}'


class PhaseClock:
    """Decides when phases end by a plateau of the validation loss.

    Attributes:
        ends: as `plan_at` reads them.
    """

    def __init__(self, patience: int) -> None:
        """Args:
        patience: epochs without a lower loss that end a phase.
        """
        self.ends: Ends = NOT_YET
        self._patience = patience
        self._best = math.inf
        self._since = 0

    def observe(self, progress: float, loss: float) -> None:
        """Take an epoch's validation loss, and end the phase if it is time.

        A new phase starts anew: its losses are compared with each other, not with those before.
        """
        if loss < self._best:
            self._best, self._since = loss, 0
            return
        self._since += 1
        if self._since < self._patience or self.ends[1] <= 1:
            return
        self._best, self._since = math.inf, 0
        first, _ = self.ends
        self.ends = (progress, math.inf) if first > 1 else (first, progress)

    def state(self) -> dict[str, float]:
        """Return what a resumed fit needs, for `restore`."""
        first, second = self.ends
        return {'first': first, 'second': second, 'best': self._best, 'since': self._since}

    def restore(self, state: dict[str, float]) -> None:
        """Go on from `state()`."""
        self.ends = (state['first'], state['second'])
        self._best, self._since = state['best'], int(state['since'])
