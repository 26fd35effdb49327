"""The command line of a job: profiles by name, settings that are typed, mistakes told in one
sentence.

A profile says all of a fit, an overlay only in what it differs from a profile: `--config smoke
--config euclidean` is the profile smoke in flat space. Overlays stand in the folder `overlays`
beside the profiles.

What belongs here: what the training and the refinement command share before a model exists. No
torch: the settings of the trainer and of the model are added to the parser by the jobs themselves.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from naics_model.errors import ConfigurationError, DataError, NaicsError
from naics_model.jobs.watchdog import heed_signals, watch_launcher

_CONFIG_OPTIONS = ('--config', '-c')
_OVERLAYS = 'overlays'


def profile_path(name: str, folder: Path) -> Path:
    """Return the settings file that a name or a path stands for.

    Args:
        name: a path to a YAML file, or the name of a profile in `folder` without its ending.
        folder: where the job's own profiles are.

    Raises:
        ConfigurationError: neither a file nor a profile has this name.
    """
    if Path(name).is_file():
        return Path(name)
    packaged = folder / f'{name}.yaml'
    if packaged.is_file():
        return packaged
    known = ', '.join(sorted(path.stem for path in folder.glob('*.yaml')))
    raise ConfigurationError(
        f'--config {name} is neither a file nor a profile: the profiles are {known}.'
    )


def resolve_profiles(arguments: Sequence[str], folder: Path) -> list[str]:
    """Return the arguments with each `--config` replaced by its file's path and moved to the front,
    overlays behind the others.

    They move because a later value replaces an earlier one: an overlay is meant to win over the
    profile, and what a person types beside `--config` over both, wherever it stands.

    Raises:
        ConfigurationError: see `profile_path`.
    """
    profiles: list[str] = []
    overlays: list[str] = []
    others: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        option, equals, value = argument.partition('=')
        if option not in _CONFIG_OPTIONS:
            others.append(argument)
            continue
        if not equals:
            value = next(rest, '')
        overlay = folder / _OVERLAYS / f'{value}.yaml'
        if overlay.is_file() and not Path(value).is_file():
            overlays += ['--config', str(overlay)]
        else:
            profiles += ['--config', str(profile_path(value, folder))]
    return profiles + overlays + others


def profile_name(config: Namespace) -> str | None:
    """Return the name of the last settings file of a command line that is no overlay, without its
    ending.
    """
    paths = [Path(str(path)) for path in config.config or ()]
    names = [path.stem for path in paths if path.parent.name != _OVERLAYS]
    return names[-1] if names else None


def parse(parser: ArgumentParser, arguments: Sequence[str], profiles: Path) -> Namespace:
    """Parse a job's arguments.

    Args:
        parser: made with `exit_on_error=False`.
        arguments: the command line without the program's name.
        profiles: the folder of the job's packaged profiles.

    Raises:
        ConfigurationError: an option is unknown, missing, or of the wrong type.
        SystemExit: with 0, after `--help` or `--print_config`.
    """
    try:
        return parser.parse_args(resolve_profiles(arguments, profiles))
    except argparse.ArgumentError as error:
        problem = ' '.join(str(error).split()).rstrip('.')
        raise ConfigurationError(
            f'The settings are not valid: {problem} (--help lists every option).'
        ) from None


def flat(settings: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    """Return nested settings as one level, with dotted names as on the command line."""
    result: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            result.update(flat(value, f'{prefix}{name}.'))
        else:
            result[prefix + name] = value
    return result


def require_file(path: Path, setting: str) -> None:
    """Check that a file which a setting names is there.

    Raises:
        DataError: it is not.
    """
    if not path.is_file():
        raise DataError(f'{setting} {path} does not exist: run the step that writes it first.')


def run_command(command: Callable[[Sequence[str]], None], arguments: Sequence[str]) -> int:
    """Run a job's command and return its exit code: 1, with one sentence, for what a person can
    mend.

    Any other exception keeps its traceback: it is a mistake in the program, not in what was asked
        of it.
    """
    heed_signals()
    watch_launcher()
    try:
        command(arguments)
    except NaicsError as error:
        print(f'Error: {error}', file=sys.stderr)
        return 1
    return 0
