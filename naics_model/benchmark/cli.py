"""The command of the benchmark: one protocol, from an edition's data to its figures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from naics_model.benchmark.job import GEOMETRIES, Options, benchmark
from naics_model.corpus.editions import edition as known_edition
from naics_model.jobs.reporting import open_reporter
from naics_model.protocols.protocol import PROTOCOLS
from naics_model.storage.layout import EditionFolder, default_data_dir

_EPILOG = """\
Each run is a chain of the ordinary jobs on what the protocol leaves to be seen; it prints their
commands. A benchmark that was stopped goes on where it was: jobs that ended are not run again.

  python -m naics_model.benchmark --edition sample --protocol heldout_codes
  python -m naics_model.benchmark --edition 2022 --protocol cold --profile cpu --seeds 0 1 2"""


def main(arguments: Sequence[str]) -> None:
    """Read the command line and run the benchmark.

    Raises:
        NaicsError: a setting or an input is not usable, or a job of the chain failed.
    """
    parser = argparse.ArgumentParser(
        prog='python -m naics_model.benchmark',
        description='Train models under a protocol, and measure what it asks.',
        epilog='protocols:\n'
        + '\n'.join(f'  {name:<18}{each.meaning}' for name, each in PROTOCOLS.items())
        + '\n\n'
        + _EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--edition', required=True, help='a built edition')
    parser.add_argument('--protocol', required=True, choices=list(PROTOCOLS))
    parser.add_argument(
        '--profile', default='smoke', help='settings of training (default: %(default)s)'
    )
    parser.add_argument('--seeds', type=int, nargs='+', default=[0], metavar='N', help='default: 0')
    parser.add_argument(
        '--geometries',
        nargs='+',
        default=list(GEOMETRIES),
        choices=list(GEOMETRIES),
        help='the model itself, its Euclidean control, or both (default: both)',
    )
    parser.add_argument(
        '--data-dir',
        type=Path,
        default=default_data_dir(),
        metavar='DIR',
        help='the data folder (default: NAICS_DATA_DIR, or ./data)',
    )
    given = parser.parse_args(arguments)
    folder = EditionFolder(given.data_dir.absolute(), known_edition(given.edition).name)
    options = Options(
        profile=given.profile,
        seeds=tuple(dict.fromkeys(given.seeds)),
        geometries=tuple(dict.fromkeys(given.geometries)),
    )
    with open_reporter(folder.benchmark(given.protocol)) as reporter:
        benchmark(folder, PROTOCOLS[given.protocol], options, reporter)
