"""The command `python -m naics_model.evaluation`: arguments in, exit code out."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from naics_model.corpus.editions import edition as known_edition
from naics_model.corpus.editions import edition_before
from naics_model.encoder.backbones import MINILM
from naics_model.jobs.command import run_command
from naics_model.jobs.reporting import open_reporter
from naics_model.storage.layout import EditionFolder, default_data_dir
from naics_model.training.stages import LAST_STAGE

if TYPE_CHECKING:
    from naics_model.evaluation import baselines_job

PROGRAM = 'python -m naics_model.evaluation'

_EPILOG = f"""\
Measured in turn, each into data/<edition>/evaluation/<what>/result.json, and then gathered:

  {PROGRAM} baselines --edition 2022
  {PROGRAM} text --edition 2022
  {PROGRAM} refined --edition 2022
  {PROGRAM} report --edition 2022

Two tables of answers to the same questions are compared by

  {PROGRAM} compare A/answers.parquet B/answers.parquet"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, or 1 after one sentence on what is wrong.

    Args:
        arguments: the command line without the program; that of the process when None.
    """
    return run_command(_run, sys.argv[1:] if arguments is None else arguments)


def _run(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    if options.what == 'compare':
        from naics_model.evaluation.compare import compare_answers, comparison_page

        found = compare_answers(
            options.a, options.b, by_code=options.by_code, draws=options.draws, seed=options.seed
        )
        print(comparison_page(found))
        return
    folder = EditionFolder(options.data_dir.absolute(), known_edition(options.edition).name)
    # Below the parser: torch and scipy take seconds, which --help need not wait for.
    if options.what == 'report':
        from naics_model.evaluation.report_job import write_report

        with open_reporter(folder.evaluation / 'result.json') as reporter:
            write_report(folder, f'{PROGRAM} {shlex.join(arguments)}', reporter)
    elif options.what == 'baselines':
        from naics_model.evaluation import baselines_job

        result = folder.evaluated('baselines')
        with open_reporter(result) as reporter:
            baselines_job.measure_baselines(
                _baseline_inputs(folder, options.zero_shot_backbone), result.parent, reporter
            )
    else:
        from naics_model.evaluation import embeddings_job

        result = folder.evaluated(options.what)
        with open_reporter(result) as reporter:
            embeddings_job.measure_embeddings(
                embeddings_job.Inputs(
                    name=options.what,
                    embeddings=folder.file(f'{options.what}_embeddings'),
                    descriptions=folder.descriptions,
                    activities=folder.activities,
                    phrases=folder.phrases,
                    model=options.model or folder.stage(LAST_STAGE) / 'model',
                    queries=folder.queries,
                    flat=options.what == 'text',
                ),
                result.parent,
                reporter,
            )


def _baseline_inputs(folder: EditionFolder, backbone: str) -> baselines_job.Inputs:
    from naics_model.evaluation import baselines_job

    before = edition_before(folder.edition)
    paths = (folder.concordance, EditionFolder(folder.root, before).descriptions) if before else ()
    concordance, old = paths if paths and all(path.is_file() for path in paths) else (None, None)
    return baselines_job.Inputs(
        descriptions=folder.descriptions,
        activities=folder.activities,
        code_splits=folder.code_splits,
        concordance=concordance,
        before=old,
        backbone=backbone,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description='Measure the embeddings of an edition and its baselines, and write the report.',
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parsers = parser.add_subparsers(dest='what', required=True, metavar='WHAT')
    for what, does in (
        ('baselines', 'what one gets without a trained model'),
        ('text', 'the text embeddings'),
        ('refined', 'the refined embeddings'),
        ('report', 'gather what was measured: Markdown, HTML and figures'),
    ):
        part = parsers.add_parser(what, help=does, description=f'{does[0].upper()}{does[1:]}.')
        part.add_argument(
            '--edition', required=True, help='a built edition, such as 2022 or sample'
        )
        part.add_argument(
            '--data-dir',
            type=Path,
            default=default_data_dir(),
            metavar='DIR',
            help='the data folder (default: NAICS_DATA_DIR, or ./data)',
        )
        if what == 'baselines':
            part.add_argument(
                '--zero-shot-backbone',
                default=MINILM,
                metavar='NAME',
                help='the frozen sentence encoder to compare with (default: %(default)s)',
            )
        elif what != 'report':
            part.add_argument(
                '--model',
                type=Path,
                metavar='DIR',
                help='the exported encoder that places questions '
                '(default: the one that made the text embeddings)',
            )
    _add_compare(parsers)
    return parser


def _add_compare(parsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    does = 'how far two methods are apart on the same questions, by a paired bootstrap'
    part = parsers.add_parser(
        'compare',
        help=does,
        description=f'{does[0].upper()}{does[1:]}: hit@1 and MRR, the differences with 95 % '
        'intervals, and the share of draws in which the sign flips.',
    )
    part.add_argument('a', type=Path, metavar='A', help='a table of answers (answers*.parquet)')
    part.add_argument('b', type=Path, metavar='B', help='another one, of the same questions')
    part.add_argument(
        '--by-code',
        action='store_true',
        help='draw codes with all their questions, not single questions',
    )
    part.add_argument('--draws', type=int, default=10_000, metavar='N', help='default: 10000')
    part.add_argument('--seed', type=int, default=0, metavar='N', help='default: 0')
