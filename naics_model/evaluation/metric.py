"""One metric of the report: its name, what people read, and which direction is good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """One metric: `group/name` in the metrics, its label, its meaning in plain words."""

    key: str
    label: str
    meaning: str
    best: Literal['higher', 'lower'] | None = 'higher'
    decimals: int = 3


def in_group(
    group: str, metrics: Sequence[Metric], *, explained: bool = False, note: str = ''
) -> tuple[Metric, ...]:
    """Return metrics as those of another group.

    Args:
        group: its name.
        metrics: of some group.
        explained: whether they keep their meanings.
        note: what follows on the labels.
    """
    return tuple(
        replace(
            metric,
            key=f'{group}/{metric.key.partition("/")[2]}',
            label=metric.label + note,
            meaning=metric.meaning if explained else '',
        )
        for metric in metrics
    )
