"""`python -m naics_model.evaluation.bi_encoder`: train the plain bi-encoder, and measure it.

The command, what it reads, and its figures. Training is in `bi_encoder_training`, which is given
train entries alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from naics_model.encoder.backbones import resolve_backbone
from naics_model.evaluation.asking import grouped, hard_part, warm_figures
from naics_model.evaluation.baselines import nearest_and_own_distances, nearest_entry_distances
from naics_model.evaluation.bi_encoder_training import BiEncoder, Settings, train_bi_encoder
from naics_model.evaluation.questions import Questions, read_questions
from naics_model.jobs.command import run_command
from naics_model.jobs.reporting import JobResult, Reporter, open_reporter
from naics_model.storage.files import digests, write_json

_DESCRIPTION = """\
Train a plain bi-encoder, and measure how well it finds the six-digit code of an activity. It is
the bar for the hyperbolic model: one LoRA adapter on the packaged MiniLM learns to put train
activities beside the text of their code (title, description, illustrative examples), with the
other codes of a batch as negatives. Then the held-out activities, which it has not been shown, are
asked, and answered in three ways:

  bi_encoder_own      by the text of each code
  bi_encoder_nearest  by the nearest train activity of each code
  bi_encoder          by the sum of both distances

Written to DIR: result.json and metrics.json, with figures such as bi_encoder/warm/hit_at_1."""

_EPILOG = """\
example:
  python -m naics_model.evaluation.bi_encoder \\
      --descriptions data/2022/corpus/descriptions.parquet \\
      --activities data/2022/corpus/activities.parquet \\
      --out data/2022/evaluation/bi_encoder

On a machine with a CUDA device it is used: edition 2022 takes 49 seconds on one H100. On a CPU it
takes about 70 CPU-minutes (507 steps of 6 to 8 CPU-seconds on two slow cores). To see
it work first: --max-steps 5."""


def measure(
    encoder: BiEncoder, questions: Questions, log: Callable[[str], None]
) -> dict[str, float]:
    """Ask the held-out activities in three ways; return `<way>/<group>/<figure>`."""
    known = ~questions.held_out
    texts, owners = questions.entries(known), questions.owners[known]
    log(f'encoding {len(questions.candidates):,} codes and {len(texts):,} activities')
    own = encoder.encode(questions.candidate_documents)
    entries = encoder.encode(texts)
    log(f'asking {questions.held_out.sum():,} held-out activities')
    queries = encoder.encode(questions.entries(questions.held_out))
    distances: dict[str, NDArray[np.floating]] = {
        'bi_encoder_own': 1.0 - queries @ own.T,
        'bi_encoder_nearest': nearest_entry_distances(entries, owners, queries, len(own)),
        'bi_encoder': nearest_and_own_distances(own, entries, owners, queries),
    }
    hard = hard_part(questions)
    return {
        name: value
        for way, distance in distances.items()
        for name, value in grouped(way, warm_figures(distance, questions, hard)).items()
    }


def run(
    descriptions: Path, activities: Path, out: Path, settings: Settings, reporter: Reporter
) -> None:
    """Train, measure, and write `metrics.json` and the job's result.

    Raises:
        NaicsError: see `read_questions` and `train_bi_encoder`.
    """
    questions = read_questions(descriptions, activities)
    known = ~questions.held_out
    entries = questions.entries(known)
    backbone = resolve_backbone(settings.backbone)
    reporter.log(f'training on {len(entries):,} activities of {len(questions.candidates):,} codes')
    started = time.monotonic()
    encoder = train_bi_encoder(
        questions.candidate_documents,
        entries,
        questions.owners[known],
        settings,
        log=reporter.log,
        on_epoch=reporter.epoch,
    )
    training_seconds = time.monotonic() - started
    metrics = measure(encoder, questions, reporter.log)
    for way in ('bi_encoder_own', 'bi_encoder_nearest', 'bi_encoder'):
        figures = [f'{name} {metrics[f"{way}/warm/{name}"]:.3f}' for name in ('hit_at_1', 'mrr')]
        reporter.log(f'{way}: {", ".join(figures)}')
    counts = {
        'candidates': len(questions.candidates),
        'entries': len(entries),
        'queries': int(questions.held_out.sum()),
        'steps': encoder.steps,
    }
    content = {**counts, 'settings': asdict(settings), 'metrics': metrics}
    write_json(content, out / 'metrics.json')
    reporter.finish(
        JobResult(
            metrics=metrics,
            files={'metrics': out / 'metrics.json'},
            details={
                **counts,
                'settings': asdict(settings),
                'backbone_digest': backbone.digest,
                'history': list(encoder.history),
                'training_seconds': round(training_seconds, 1),
                'inputs': digests([descriptions, activities]),
                'said': _said(settings, encoder.steps),
            },
        )
    )


def _said(settings: Settings, steps: int) -> str:
    """Return what the report says of it."""
    trial = ' It is a trial, cut short by --max-steps.' if settings.max_steps else ''
    return (
        f'The bi-encoder was trained on {settings.backbone} for {settings.epochs} epochs '
        f'({steps:,} steps) with seed {settings.seed}.{trial}'
    )


def main(arguments: Sequence[str]) -> None:
    """Read the command line and run the job.

    Raises:
        NaicsError: an input is missing, damaged, or does not belong to the others.
    """
    options = _parser().parse_args(arguments)
    settings = Settings(
        backbone=options.backbone,
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        seed=options.seed,
        max_steps=options.max_steps,
    )
    with open_reporter(options.out / 'result.json') as reporter:
        run(options.descriptions, options.activities, options.out, settings, reporter)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m naics_model.evaluation.bi_encoder',
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, metavar, what in (
        ('descriptions', 'FILE', 'descriptions.parquet of the edition'),
        ('activities', 'FILE', 'activities.parquet of the edition'),
        ('out', 'DIR', 'where to write'),
    ):
        parser.add_argument(f'--{name}', type=Path, required=True, metavar=metavar, help=what)
    for name, kind, metavar, what in (
        ('epochs', _at_least(1), 'N', 'passes over the train activities'),
        ('batch-size', _at_least(2), 'N', 'activities in a step; the others are its negatives'),
        ('learning-rate', float, 'X', 'its peak; it rises over a tenth of the steps, then falls'),
        ('seed', _at_least(0), 'N', "of the adapter's start and the order of activities"),
        ('backbone', str, 'NAME', 'the sentence encoder to adapt'),
    ):
        parser.add_argument(
            f'--{name}',
            type=kind,
            default=getattr(Settings, name.replace('-', '_')),
            metavar=metavar,
            help=f'{what} (default: %(default)s)',
        )
    parser.add_argument(
        '--max-steps', type=_at_least(1), metavar='N', help='stop after N steps, for a trial'
    )
    return parser


def _at_least(smallest: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < smallest:
            raise argparse.ArgumentTypeError(f'{text} is not a whole number from {smallest} up')
        return int(text)

    return number


if __name__ == '__main__':
    sys.exit(run_command(main, sys.argv[1:]))
