"""The part of the report about how the model came to be: jobs, losses, curriculum, commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from naics_model.evaluation.document import Block, Code, Paragraph, Row, Table
from naics_model.evaluation.report_parts import figure
from naics_model.evaluation.runs import Run
from naics_model.triplets.hardness import HARDNESS


def training(
    stages: Sequence[Run], runs: Sequence[Run], pictures: Mapping[str, bytes]
) -> list[Block]:
    """Return what is to be said of the jobs that trained a model.

    Args:
        stages: those with a curriculum, in order.
        runs: all of them.
        pictures: PNG bytes by file name, of their losses and negatives where there are such.
    """
    if not runs:
        return [Paragraph('No results of training jobs were given to this report.')]
    blocks: list[Block] = [
        Table(
            'Job',
            ('Epochs', 'Duration'),
            tuple(
                Row(
                    run.name,
                    (str(len(run.history)) if run.history else None, duration(run.seconds)),
                )
                for run in runs
            ),
        )
    ]
    losses = figure(
        pictures,
        'losses.png',
        'Loss by epoch',
        'Loss by epoch, one panel for each job. Heights compare within a panel only: each job '
        'weighs other losses, and other negatives are other losses, too.',
    )
    blocks += losses or [Paragraph('The jobs kept no loss by epoch.')]
    blocks += figure(
        pictures,
        'negatives.png',
        'The plan of the dynamic curriculum, and the negatives it led to',
        'The dynamic curriculum. Above, the plan: the exponent α of the weights d^-α of the tree, '
        'the weight of siblings, the share of negatives that is mined, and when codes of the '
        "anchor's cluster are left out. Below, what the loss saw in each epoch, and the share of "
        'candidates that were left out as false negatives.',
    )
    mixes = [_mix(run) for run in stages if run.requested and run.effective]
    if mixes:
        blocks.append(
            Paragraph(
                'Curriculum: the share of negatives of each hardness that a stage asks for, and '
                'the share that it saw in its last epoch. The margin is how many steps farther '
                'from the anchor the negative is than the positive.'
            )
        )
    return blocks + mixes


def _mix(run: Run) -> Table:
    requested, effective = run.requested or {}, run.effective or {}
    return Table(
        f'{run.name} (%)',
        ('requested', 'effective', 'gap'),
        tuple(
            Row(
                f'{hardness}: {HARDNESS.get(hardness, "")}'.rstrip(': '),
                (
                    100 * (asked := requested.get(hardness, 0.0)),
                    100 * (got := effective.get(hardness, 0.0)),
                    f'{100 * (got - asked):+.1f}',
                ),
                decimals=1,
            )
            for hardness in sorted(set(requested) | set(effective))
            if requested.get(hardness) or effective.get(hardness)
        ),
    )


def provenance(
    runs: Sequence[Run],
    measured: Sequence[tuple[str, str]],
    inputs: Sequence[tuple[str, str]],
    software: Mapping[str, str],
) -> list[Block]:
    """Return the exact commands, files and versions behind a report.

    Args:
        runs: the jobs that trained the model.
        measured: (what, command line) of the jobs that measured it.
        inputs: (path, sha256) of every file read.
        software: versions by name.
    """
    commands = [f'# {run.name}\n{run.command}' for run in runs if run.command]
    return [
        Paragraph('The exact commands:'),
        Code('\n\n'.join([*commands, *(f'# {what}\n{said}' for what, said in measured)])),
        Paragraph('The files that were read, by sha256:'),
        Code('\n'.join(f'{path}\n    {digest}' for path, digest in inputs)),
        Paragraph('Software: ' + ', '.join(f'{n} {v}' for n, v in software.items()) + '.'),
    ]


def duration(seconds: float) -> str:
    """Return seconds in the unit that a person would use."""
    if seconds < 90:
        return f'{seconds:.0f} s'
    return f'{seconds / 60:.0f} min' if seconds < 5400 else f'{seconds / 3600:.1f} h'
