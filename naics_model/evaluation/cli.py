"""The command `python -m naics_model.evaluation`: arguments in, exit code out."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from naics_model.encoder.backbones import MINILM
from naics_model.evaluation.job import Inputs, evaluate
from naics_model.jobs.command import run_command
from naics_model.jobs.reporting import open_reporter

PROGRAM = 'python -m naics_model.evaluation'


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, or 1 after one sentence on what is wrong.

    Args:
        arguments: the command line without the program; that of the process when None.
    """
    return run_command(_run, sys.argv[1:] if arguments is None else arguments)


def _run(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    descriptions: Path = options.descriptions
    inputs = Inputs(
        text_embeddings=options.text_embeddings,
        refined_embeddings=options.refined_embeddings,
        descriptions=descriptions,
        activities=options.activities,
        model=options.model,
        stage_results=tuple(options.stage_results),
        refinement_result=options.refinement_result,
        # data/<edition>/corpus/descriptions.parquet
        edition=options.edition or descriptions.absolute().parent.parent.name,
        max_queries=options.max_queries,
        zero_shot_backbone=options.zero_shot_backbone,
        command=f'{PROGRAM} {shlex.join(arguments)}',
    )
    with open_reporter(options.out / 'result.json') as reporter:
        evaluate(inputs, options.out, reporter)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description='Measure the embeddings of an edition and write a report '
        '(evaluation_report.html, evaluation_report.md, metrics.json, figures/, result.json).',
    )
    for name, what in (
        ('text-embeddings', 'text_embeddings.parquet'),
        ('refined-embeddings', 'refined_embeddings.parquet'),
        ('descriptions', 'descriptions.parquet of the edition'),
        ('activities', 'activities.parquet of the edition; only held-out entries are asked'),
    ):
        parser.add_argument(f'--{name}', type=Path, required=True, metavar='FILE', help=what)
    parser.add_argument(
        '--model',
        type=Path,
        required=True,
        metavar='DIR',
        help='the exported encoder that made the text embeddings; it encodes the queries',
    )
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='where to write')
    parser.add_argument(
        '--stage-results',
        type=Path,
        nargs='+',
        default=[],
        metavar='FILE',
        help="each training stage's result.json, in order, for loss curves and curriculum mix",
    )
    parser.add_argument(
        '--refinement-result', type=Path, metavar='FILE', help="the refinement's result.json"
    )
    parser.add_argument(
        '--edition', help='name in the title (default: from the path, <edition>/corpus/...)'
    )
    parser.add_argument(
        '--max-queries',
        type=_positive,
        metavar='N',
        help='ask only N held-out activities, drawn with a fixed seed (default: all)',
    )
    parser.add_argument(
        '--zero-shot-backbone',
        default=MINILM,
        metavar='NAME',
        help='the frozen sentence encoder to compare with (default: %(default)s)',
    )
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'{text} is not a positive number')
    return value
