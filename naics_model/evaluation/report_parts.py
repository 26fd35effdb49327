"""What each part of the report is made of: what was found, and tables, terms, pictures of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from naics_model.evaluation.document import Block, Code, Figure, Paragraph, Row, Table, Terms
from naics_model.evaluation.methods import METHODS
from naics_model.evaluation.metric import Metric
from naics_model.evaluation.runs import Run


@dataclass(frozen=True)
class Evaluation:
    """Everything that one evaluation found out.

    Attributes:
        edition: the edition's name.
        codes: number of codes; `candidates` of them have six digits.
        entries: number of entries of the index; `held_out` of them are asked.
        metrics: figures by `<method>/<group>/<name>`, and `edition/spearman_ceiling`.
        said: what there is to say of models trained to be measured, by protocol, and of
            `bi_encoder`; what is not there was not trained.
        left_out: results that are there, but were made from other files than the edition has now.
        stages: the training runs in order; `refinement`: that run, if there is one.
        ablation: details of the ablation of the dynamic curriculum; None where there is none.
        inputs: (path, sha256) of every file read.
        commands: (what, command line) of each measuring job and of the report itself.
        software: versions by name.
    """

    edition: str
    codes: int
    candidates: int
    entries: int
    held_out: int
    metrics: Mapping[str, float]
    said: Mapping[str, str]
    left_out: tuple[str, ...]
    stages: tuple[Run, ...]
    refinement: Run | None
    ablation: Mapping[str, Any] | None
    inputs: tuple[tuple[str, str], ...]
    commands: tuple[tuple[str, str], ...]
    software: Mapping[str, str]

    @property
    def runs(self) -> tuple[Run, ...]:
        return (*self.stages, self.refinement) if self.refinement else self.stages

    def measured(self, methods: Iterable[str], group: str) -> tuple[str, ...]:
        """Return those of some methods that have figures in a group."""
        return tuple(
            name for name in methods if any(m.startswith(f'{name}/{group}/') for m in self.metrics)
        )


def benchmarked(e: Evaluation, protocols: Sequence[str]) -> list[Block]:
    """Return what is known of the models of some protocols, or how to train them."""
    blocks = said(e, protocols)
    missing = [p for p in protocols if p not in e.said]
    if missing:
        blocks += [
            Paragraph(
                'No model was trained under this protocol yet, so that the baselines stand alone. '
                'This trains and measures it (or the job “benchmark” in Dagster):'
            ),
            Code(
                '\n'.join(
                    f'python -m naics_model.benchmark --edition {e.edition} --protocol {protocol}'
                    for protocol in missing
                )
            ),
        ]
    return blocks


def said(e: Evaluation, names: Sequence[str]) -> list[Block]:
    """Return what is to be said of models trained to be measured, where there are some."""
    return [Paragraph(e.said[name]) for name in names if name in e.said]


def figure(pictures: Mapping[str, bytes], name: str, alt: str, caption: str) -> list[Block]:
    """Return a picture with its caption, or nothing where it was not drawn."""
    return [Figure(name, pictures[name], alt, caption)] if name in pictures else []


def table(
    e: Evaluation,
    metrics: Sequence[Metric],
    group: str | None = None,
    methods: Sequence[str] = (),
) -> Table:
    """Return the table of some metrics, of given methods or of all that are measured in a group."""
    methods = methods or e.measured(METHODS, group or '')
    return Table(
        'Measure',
        tuple(METHODS[name].label for name in methods),
        tuple(
            Row(
                metric.label + {'higher': '\u00a0↑', 'lower': '\u00a0↓', None: ''}[metric.best],
                tuple(e.metrics.get(f'{name}/{metric.key}') for name in methods),
                metric.best,
                metric.decimals,
            )
            for metric in metrics
            if any(f'{name}/{metric.key}' in e.metrics for name in methods)
        ),
    )


def terms(metrics: Sequence[Metric]) -> Terms:
    """Return the meanings of metrics that have one."""
    return Terms(tuple((metric.label, metric.meaning) for metric in metrics if metric.meaning))


def method_terms(names: Sequence[str]) -> Terms:
    """Return what some methods do."""
    return Terms(tuple(METHODS[name] for name in names))


def percent(share: float) -> str:
    """Return a share in percent."""
    return f'{100 * share:.1f} %'
