"""The variants of the dynamic curriculum that the ablation compares, as settings of training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SUBJECT = 'sadc'
"""The variant that the others are compared with."""


@dataclass(frozen=True)
class Variant:
    """One way of choosing negatives.

    Attributes:
        label: for people.
        settings: of `NegativeSettings`, what differs from its defaults.
        optional: whether it runs only when it is named.
    """

    label: str
    settings: dict[str, Any] = field(default_factory=dict)
    optional: bool = False

    def arguments(self) -> list[str]:
        """Return the settings as the training command takes them."""
        return [f'--model.negatives.{name}={value}' for name, value in self.settings.items()]


def _sadc(label: str, optional: bool = False, **settings: Any) -> Variant:
    return Variant(label, {'strategy': 'sadc', **settings}, optional)


VARIANTS = {
    'uniform': Variant('uniform', {'strategy': 'uniform'}),
    'sans_static': Variant(
        'fixed near and far (sans_static)', {'strategy': 'sans_static', 'near_share': 0.5}
    ),
    SUBJECT: _sadc('SADC'),
    'sadc_without_tree_weights': _sadc('… without weights of the tree', alpha=0.0),
    'sadc_without_sibling_mask': _sadc('… without the sibling mask', mask_siblings='false'),
    'sadc_without_distance_mining': _sadc('… without mining by distance', router=1.0),
    'sadc_without_router_mining': _sadc('… without mining by router', router=0.0),
    'sadc_without_elimination': _sadc('… without elimination', false_negatives='off'),
    'sadc_two_phases': _sadc('… in two phases', optional=True, phases='two'),
    'sadc_annealed': _sadc('… annealed', optional=True, phases='annealed'),
    'sadc_plateau': _sadc('… phases by plateau', optional=True, phases='plateau'),
    'sadc_attract': _sadc('… attracting', optional=True, false_negatives='attract'),
    'sadc_hybrid': _sadc('… hybrid', optional=True, false_negatives='hybrid'),
    'sadc_cosine': _sadc('… router by cosine', optional=True, router_measure='cosine'),
}
"""By the name that a command line has for it."""
DEFAULT = tuple(name for name, variant in VARIANTS.items() if not variant.optional)
