"""`python -m naics_model.evaluation.bi_encoder`: train the plain bi-encoder, and measure it.

The command, what it reads, and its figures. Training is in `bi_encoder_training`, which is given
train entries alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from naics_model.encoder.backbones import resolve_backbone
from naics_model.errors import DataError
from naics_model.evaluation.baselines import nearest_and_own_distances, nearest_entry_distances
from naics_model.evaluation.bi_encoder_training import BiEncoder, Settings, train_bi_encoder
from naics_model.evaluation.retrieval import retrieval_metrics
from naics_model.jobs.command import run_command
from naics_model.jobs.reporting import JobResult, Reporter, open_reporter
from naics_model.storage.files import read_parquet, write_json

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

On a machine with a CUDA device it is used; on a CPU edition 2022 takes about 70 CPU-minutes. To see
it work first: --max-steps 5."""


@dataclass(frozen=True)
class Material:
    """What is learned from and what is asked, in numbers of the candidates.

    Attributes:
        codes: the c six-digit codes; documents: (c,) what is published of each: title,
            description, illustrative examples. Exclusions are left out: they name what a code is
            not.
        entries: the e train activities; owners: (e,) the code of each.
        queries: the q held-out activities; truth: (q,) the right code of each.
    """

    codes: tuple[str, ...]
    documents: tuple[str, ...]
    entries: tuple[str, ...]
    owners: NDArray[np.intp]
    queries: tuple[str, ...]
    truth: NDArray[np.intp]


def read_material(descriptions: Path, activities: Path) -> Material:
    """Read an edition's six-digit codes and the two sides of its activities.

    Raises:
        DataError: a file is missing or damaged, an activity's code is not a six-digit code of the
            edition, or a side of the split is empty.
    """
    leaves = read_parquet(descriptions).filter(pl.col('level') == 6).sort('index')
    documents = leaves.select('title', 'description', 'examples').iter_rows()
    position = {code: row for row, code in enumerate(leaves['code'])}
    frame = read_parquet(activities)
    unknown = sorted(set(frame['code']) - position.keys())
    if unknown:
        raise DataError(
            f'{activities} has activities of {", ".join(unknown[:5])}, which are not six-digit '
            f'codes of {descriptions}: build both for the same edition.'
        )
    sides: dict[str, tuple[tuple[str, ...], NDArray[np.intp]]] = {}
    for split in ('train', 'heldout'):
        side = frame.filter(pl.col('split') == split)
        if side.is_empty():
            raise DataError(f'{activities} has no {split} activity: build the activities again.')
        owners = np.array([position[code] for code in side['code']], np.intp)
        sides[split] = tuple(side['text']), owners
    return Material(
        tuple(leaves['code']),
        tuple(f'{title}. {text} {examples or ""}'.strip() for title, text, examples in documents),
        *sides['train'],
        *sides['heldout'],
    )


def measure(encoder: BiEncoder, material: Material, log: Callable[[str], None]) -> dict[str, float]:
    """Ask the held-out activities in three ways; return `<way>/warm/<retrieval metric>`."""
    log(f'encoding {len(material.documents):,} codes and {len(material.entries):,} activities')
    own = encoder.encode(material.documents)
    entries = encoder.encode(material.entries)
    log(f'asking {len(material.queries):,} held-out activities')
    queries = encoder.encode(material.queries)
    owners = material.owners
    distances: dict[str, NDArray[np.floating]] = {
        'bi_encoder_own': 1.0 - queries @ own.T,
        'bi_encoder_nearest': nearest_entry_distances(entries, owners, queries, len(own)),
        'bi_encoder': nearest_and_own_distances(own, entries, owners, queries),
    }
    return {
        f'{way}/warm/{name}': value
        for way, distance in distances.items()
        for name, value in retrieval_metrics(distance, material.truth, material.codes).items()
    }


def run(
    descriptions: Path, activities: Path, out: Path, settings: Settings, reporter: Reporter
) -> None:
    """Train, measure, and write `metrics.json` and the job's result.

    Raises:
        NaicsError: see `read_material` and `train_bi_encoder`.
    """
    material = read_material(descriptions, activities)
    backbone = resolve_backbone(settings.backbone)
    reporter.log(
        f'training on {len(material.entries):,} activities of {len(material.codes):,} codes'
    )
    started = time.monotonic()
    encoder = train_bi_encoder(
        material.documents,
        material.entries,
        material.owners,
        settings,
        log=reporter.log,
        on_epoch=reporter.epoch,
    )
    training_seconds = time.monotonic() - started
    metrics = measure(encoder, material, reporter.log)
    for way in ('bi_encoder_own', 'bi_encoder_nearest', 'bi_encoder'):
        figures = [f'{name} {metrics[f"{way}/warm/{name}"]:.3f}' for name in ('hit_at_1', 'mrr')]
        reporter.log(f'{way}: {", ".join(figures)}')
    counts = {
        'candidates': len(material.codes),
        'entries': len(material.entries),
        'queries': len(material.queries),
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
            },
        )
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
