"""The variants that the ablation compares, as settings of training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Variant:
    """One way of training.

    Attributes:
        label: for people.
        settings: options of the training command, what differs from profile and overlay.
        against: the variant that it is compared with.
        optional: whether it runs only when it is named.
    """

    label: str
    settings: dict[str, Any] = field(default_factory=dict)
    against: str = 'sadc'
    optional: bool = False

    def arguments(self) -> list[str]:
        """Return the settings as the training command takes them."""
        return [f'--{name}={value}' for name, value in self.settings.items()]


def _negatives(label: str, strategy: str, optional: bool = False, **settings: Any) -> Variant:
    named = {'strategy': strategy, **settings}
    return Variant(
        label,
        {f'model.negatives.{name}': value for name, value in named.items()},
        optional=optional,
    )


def _sadc(label: str, optional: bool = False, **settings: Any) -> Variant:
    return _negatives(label, 'sadc', optional, **settings)


def _model(label: str, **settings: Any) -> Variant:
    """Return a variant of the model without experts, all of whose negatives weigh alike."""
    settings = {'fusion': 'mean', **settings}
    named = {f'model.{name}': value for name, value in settings.items()}
    return Variant(label, named, against='plain', optional=True)


VARIANTS = {
    'uniform': _negatives('uniform', 'uniform'),
    'sans_static': _negatives('fixed near and far (sans_static)', 'sans_static', near_share=0.5),
    'sadc': _sadc('SADC'),
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
    'plain': _model('one text, no experts'),
    'experts': _model('… with experts', fusion='moe'),
    'four_channels': _model('… four channels', channels='four'),
    'four_channels_experts': _model('… four channels, with experts', channels='four', fusion='moe'),
    'levels': _model('… contrasted at all levels (HiMulCon)', levels='true'),
    'margin': _model('… margin of .2', margin=0.2),
    'kernel_distance': _model('… logits −d / τ', kernel='distance'),
    'width_64': _model('… hyperbolic width 64', hyperbolic_dim=64),
    'width_384': _model('… hyperbolic width 384', hyperbolic_dim=384),
    'euclidean': _model('… flat space in place of hyperbolic', curvature=0.0),
}
"""By the name that a command line has for it."""
DEFAULT = tuple(name for name, variant in VARIANTS.items() if not variant.optional)
