"""`python -m naics_model.release`: gather the released model of an edition."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from naics_model.corpus.editions import edition as known_edition
from naics_model.evaluation.gate import Thresholds
from naics_model.jobs.command import run_command
from naics_model.release.bundle import release
from naics_model.storage.layout import EditionFolder, default_data_dir

_DESCRIPTION = """\
Gather the released model of an edition in data/<edition>/release: the refined embeddings if they
pass the gate, otherwise the text embeddings, and the encoder that places free text beside them."""

_EPILOG = """\
  python -m naics_model.release --edition 2022
  python -m naics_model.release --edition sample --spearman 0.9"""


def main(arguments: Sequence[str]) -> None:
    """Read the command line and release.

    Raises:
        NaicsError: something is missing, or was measured of other files.
    """
    parser = argparse.ArgumentParser(
        prog='python -m naics_model.release',
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--edition', required=True, help='an edition that was evaluated')
    parser.add_argument(
        '--data-dir',
        type=Path,
        default=default_data_dir(),
        metavar='DIR',
        help='the data folder (default: NAICS_DATA_DIR, or ./data)',
    )
    gate = parser.add_argument_group('the gate', 'see naics_model.evaluation.gate')
    for field in fields(Thresholds):
        gate.add_argument(
            f'--{field.name.replace("_", "-")}',
            type=float,
            default=field.default,
            metavar='X',
            help='default: %(default)s',
        )
    given = parser.parse_args(arguments)
    folder = EditionFolder(given.data_dir.absolute(), known_edition(given.edition).name)
    names = asdict(Thresholds())
    released = release(folder, Thresholds(**{name: getattr(given, name) for name in names}))
    for check in released.verdicts:
        print(f'{"passed" if check.passed else "FAILED"}  {check.guarantee} ({check.sentence})')
    print(f'{released.why}\n{released.folder}')


if __name__ == '__main__':
    sys.exit(run_command(main, sys.argv[1:]))
