"""The commands of the room: the benchmark of one protocol, the ablation of the curriculum, and the
comparison of refinements.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from naics_model.benchmark.ablation import AblationOptions, ablate
from naics_model.benchmark.job import GEOMETRIES, Options, benchmark
from naics_model.benchmark.refinement import ASKED, RefinementOptions, compare_refinements
from naics_model.benchmark.refinement import VARIANTS as REFINEMENTS
from naics_model.benchmark.variants import DEFAULT, VARIANTS
from naics_model.corpus.editions import edition as known_edition
from naics_model.errors import ConfigurationError
from naics_model.jobs.reporting import open_reporter
from naics_model.protocols.protocol import FOLD_PROTOCOLS, PROTOCOLS, protocol
from naics_model.storage.layout import EditionFolder, default_data_dir

_EPILOG = """\
`python -m naics_model.benchmark ablation --help` is about the parts of training,
`python -m naics_model.benchmark refinement --help` about the graph network.

Each run is a chain of the ordinary jobs on what the protocol leaves to be seen; it prints their
commands. A benchmark that was stopped goes on where it was: jobs that ended are not run again.

  python -m naics_model.benchmark --edition sample --protocol heldout_codes
  python -m naics_model.benchmark --edition 2022 --protocol cold --profile cpu --seeds 0 1 2
  python -m naics_model.benchmark --edition 2022 --protocol heldout_folds --profile cpu --seeds 0

`heldout_folds` trains five models where `heldout_codes` trains one. `heldout_fold_1` to
`heldout_fold_5` train and measure one of them; `heldout_folds` then takes it as it is."""


_ABLATION_EPILOG = """\
Texts are cut short, and each fit is of the last stage alone: some minutes on one core. An ablation
that was stopped goes on where it was, and one with more seeds or variants trains only those.

  python -m naics_model.benchmark ablation --edition sample --seeds 0
  python -m naics_model.benchmark ablation --edition 2022 --profile cpu --seeds 0 1 --at-once 2
  python -m naics_model.benchmark ablation --edition 2022 --profile cpu --seeds 0 1 2 --at-once 2 \\
      --variants plain experts four_channels levels"""


_REFINEMENT_EPILOG = """\
The models that are refined are those of the protocols `warm` and `heldout_codes`, seed 0: trained
first, if they are not there. Refinements that are there are not made again.

  python -m naics_model.benchmark refinement --edition sample --seeds 0
  python -m naics_model.benchmark refinement --edition 2022 --profile cpu --seeds 0 1 --at-once 2"""


def main(arguments: Sequence[str]) -> None:
    """Read the command line and run the benchmark, or the ablation.

    Raises:
        NaicsError: a setting or an input is not usable, or a job of the chain failed.
    """
    comparisons = {'ablation': _ablation, 'refinement': _refinement}
    if arguments and arguments[0] in comparisons:
        comparisons[arguments[0]](arguments[1:])
        return
    parser = argparse.ArgumentParser(
        prog='python -m naics_model.benchmark',
        description='Train models under a protocol, and measure what it asks.',
        epilog='protocols:\n'
        + '\n'.join(f'  {name:<18}{each.meaning}' for name, each in PROTOCOLS.items())
        + '\n\n'
        + _EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--protocol', required=True, choices=[*PROTOCOLS, *FOLD_PROTOCOLS])
    _common(parser)
    parser.add_argument(
        '--geometries',
        nargs='+',
        default=list(GEOMETRIES),
        choices=list(GEOMETRIES),
        help='the model itself, its Euclidean control, or both (default: both)',
    )
    given = parser.parse_args(arguments)
    folder = _folder(given)
    options = Options(
        profile=given.profile,
        seeds=tuple(dict.fromkeys(given.seeds)),
        geometries=tuple(dict.fromkeys(given.geometries)),
    )
    with open_reporter(folder.benchmark(given.protocol)) as reporter:
        benchmark(folder, protocol(given.protocol), options, reporter)


def _refinement(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog='python -m naics_model.benchmark refinement',
        description='Refine a trained model in several ways, and compare what seen and unseen '
        'codes gain.',
        epilog='variants:\n'
        + '\n'.join(f'  {name:<20}{each.label}' for name, each in REFINEMENTS.items())
        + '\n\n'
        + _REFINEMENT_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _common(parser)
    _several(parser, REFINEMENTS, list(REFINEMENTS))
    parser.add_argument(
        '--refinement-profile', metavar='PROFILE', help='of refinement (default: as --profile)'
    )
    parser.add_argument(
        '--protocols',
        nargs='+',
        default=list(ASKED),
        choices=list(ASKED),
        help='what seen codes gain, what unseen codes gain, or both (default: both)',
    )
    given = parser.parse_args(arguments)
    _require_some(given.at_once)
    folder = _folder(given)
    options = RefinementOptions(
        profile=given.profile,
        refinement=given.refinement_profile or given.profile,
        protocols=tuple(dict.fromkeys(given.protocols)),
        seeds=tuple(dict.fromkeys(given.seeds)),
        variants=tuple(dict.fromkeys(given.variants)),
        at_once=given.at_once,
    )
    with open_reporter(folder.refinement_comparison) as reporter:
        compare_refinements(folder, options, reporter)


def _ablation(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog='python -m naics_model.benchmark ablation',
        description='Train short fits that differ in how negatives are chosen or in a part of the '
        'model, and compare them.',
        epilog='variants:\n'
        + '\n'.join(
            f'  {name:<30}{each.label}{" (when named)" if each.optional else ""}'
            for name, each in VARIANTS.items()
        )
        + '\n\n'
        + _ABLATION_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _common(parser)
    _several(parser, VARIANTS, list(DEFAULT))
    given = parser.parse_args(arguments)
    _require_some(given.at_once)
    folder = _folder(given)
    options = AblationOptions(
        profile=given.profile,
        seeds=tuple(dict.fromkeys(given.seeds)),
        variants=tuple(dict.fromkeys(given.variants)),
        at_once=given.at_once,
    )
    with open_reporter(folder.ablation) as reporter:
        ablate(folder, options, reporter)


def _common(parser: argparse.ArgumentParser) -> None:
    """Add what both commands take."""
    parser.add_argument('--edition', required=True, help='a built edition')
    parser.add_argument(
        '--profile', default='smoke', help='settings of training (default: %(default)s)'
    )
    parser.add_argument('--seeds', type=int, nargs='+', default=[0], metavar='N', help='default: 0')
    parser.add_argument(
        '--data-dir',
        type=Path,
        default=default_data_dir(),
        metavar='DIR',
        help='the data folder (default: NAICS_DATA_DIR, or ./data)',
    )


def _several(parser: argparse.ArgumentParser, known: Iterable[str], default: list[str]) -> None:
    """Add what a comparison of variants takes."""
    parser.add_argument(
        '--variants',
        nargs='+',
        default=default,
        choices=list(known),
        metavar='NAME',
        help='see below (default: all but those that run when named)',
    )
    parser.add_argument(
        '--at-once',
        type=int,
        default=1,
        metavar='N',
        help='fits beside each other; two on two cores end sooner than one after the other '
        '(default: 1)',
    )


def _require_some(at_once: int) -> None:
    if at_once < 1:
        raise ConfigurationError(f'--at-once {at_once} runs nothing: give 1 or more.')


def _folder(given: argparse.Namespace) -> EditionFolder:
    return EditionFolder(given.data_dir.absolute(), known_edition(given.edition).name)
