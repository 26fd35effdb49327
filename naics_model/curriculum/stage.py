"""A curriculum stage: which positives, how hard the negatives, and in which shares.

What belongs here: the settings, their checks, and finding them by name or path. Whether a
taxonomy can supply a stage is counted in `supply.py`.
"""

import math
import os
from collections.abc import Hashable
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from naics_model.errors import ConfigurationError

BUILT_IN = Path(__file__).parent / 'stages'
"""The folder of the built-in stages."""

Level = Annotated[int, Field(strict=True, ge=2, le=6)]
Bucket = Annotated[int, Field(strict=True, ge=1, le=8)]
# Strict, here too: true and "3.0" are mistakes, not numbers.
Distance = Annotated[float, Field(strict=True, ge=0.5, le=10.0, allow_inf_nan=False)]
Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
# Negatives are counted in 16 bits.
Count = Annotated[int, Field(strict=True, ge=1, le=65_535)]


class Stage(BaseModel):
    """The settings of one stage, under the keys of its YAML.

    Attributes:
        name: what runs and folders are called; letters from a to z, digits, `_`, `.` and `-`.
        positive_levels: levels (number of digits) that a positive may have; an anchor may have any.
        positive_distance_min: least curriculum distance of a positive, inclusive; null for none.
        positive_distance_max: greatest curriculum distance of a positive, inclusive; null for none.
        max_positives: at most this many positives of one anchor, chosen at random; null for all.
        difficulty_buckets: hardness levels that are asked for, 1 (other sector) to 8
            (cross-reference).
        bucket_percentages: the share of an item's negatives that each bucket gets; they sum to 1.
        k_negatives: negatives of one item.
        rate_start: the learning rates at the start of the stage, as a share of their peaks.
        rate_end: the same at its end; in between they move on a line.
    """

    model_config = ConfigDict(frozen=True, extra='forbid')

    name: Annotated[str, Field(pattern=r'^[A-Za-z0-9_][A-Za-z0-9_.-]*$')]
    positive_levels: tuple[Level, ...] = Field(min_length=1)
    positive_distance_min: Distance | None = None
    positive_distance_max: Distance | None = None
    max_positives: Count | None = None
    difficulty_buckets: tuple[Bucket, ...] = Field(min_length=1)
    bucket_percentages: dict[Bucket, Share]
    k_negatives: Count
    rate_start: Share = 1.0
    rate_end: Share = 0.0

    @model_validator(mode='after')
    def _agree(self) -> 'Stage':
        for key in ('positive_levels', 'difficulty_buckets'):
            values = getattr(self, key)
            if repeated := sorted({value for value in values if values.count(value) > 1}):
                raise ValueError(f'{key} has {_list(repeated)} more than once')
        low, high = self.positive_distance_min, self.positive_distance_max
        if low is not None and high is not None and low > high:
            raise ValueError(
                f'positive_distance_min {low:g} is above positive_distance_max {high:g}'
            )
        buckets, shares = set(self.difficulty_buckets), self.bucket_percentages
        if without := sorted(buckets - shares.keys()):
            raise ValueError(f'bucket {_list(without)} has no share in bucket_percentages')
        if without := sorted(shares.keys() - buckets):
            raise ValueError(
                f'bucket_percentages has a share for {_list(without)}, '
                'which difficulty_buckets does not list'
            )
        total = sum(shares.values())
        if not math.isclose(total, 1, abs_tol=1e-6):
            raise ValueError(f'the shares in bucket_percentages sum to {total:g}, not 1')
        return self


def stage_folder() -> Path:
    """Return the folder of the user's stages: NAICS_CURRICULUM_DIR, or else `./curricula`."""
    return Path(os.environ.get('NAICS_CURRICULUM_DIR') or 'curricula')


def known_stages() -> dict[str, Path]:
    """Return the file of each stage that has a name: the built-in ones, then the user's.

    Raises:
        ConfigurationError: a file of the user's takes the name of a built-in stage.
    """
    built_in, own = _files(BUILT_IN), _files(stage_folder())
    if taken := sorted(built_in.keys() & own.keys()):
        raise ConfigurationError(
            f'{own[taken[0]]} takes the name of the built-in stage {taken[0]}: rename the file, '
            'and the name in it.'
        )
    return built_in | own


def load_stage(name_or_path: str) -> Stage:
    """Read a stage.

    Args:
        name_or_path: the path of a YAML file; or the name of a built-in stage, such as
            '02_stage_medium', or of `<name>.yaml` in the folder of the user's.

    Raises:
        ConfigurationError: there is no such stage, or its settings are wrong, or a file of the
            user's takes the name of a built-in stage.
    """
    given = Path(name_or_path)
    if given.suffix == '.yaml':
        if not given.is_file():
            raise ConfigurationError(
                f'There is no stage file {given}: give the path of one that exists, or the name of '
                f'a stage: {_names(known_stages())}.'
            )
        return _read(given)
    known = known_stages()
    if name_or_path not in known:
        for path in (given, stage_folder() / f'{name_or_path}.yml'):
            if path.suffix == '.yml' and path.is_file():
                raise ConfigurationError(
                    f'{path} does not end in .yaml, as the file of a stage must: rename it to '
                    f'{path.with_suffix(".yaml").name}.'
                )
        raise ConfigurationError(
            f'There is no stage {name_or_path!r}: {_names(known)}; a path that ends in .yaml '
            'names any other.'
        )
    stage = _read(known[name_or_path])
    if stage.name != name_or_path:
        raise ConfigurationError(
            f'{known[name_or_path]} has the name {stage.name} in it, but is known as '
            f'{name_or_path}: make both the same.'
        )
    return stage


def _files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    # Hidden files are not stages: macOS and editors leave such copies behind.
    return {
        path.stem: path
        for path in sorted(folder.glob('*.yaml'))
        if path.is_file() and not path.name.startswith('.')
    }


def _names(known: dict[str, Path]) -> str:
    """Say which names there are, and where others were looked for."""
    built_in = [name for name, path in known.items() if path.parent == BUILT_IN]
    own = [name for name in known if name not in built_in]
    others = f'has {_list(own)}' if own else 'has none'
    folder = stage_folder()
    return (
        f'the built-in ones are {_list(built_in)}, and the folder {folder} '
        f'{others if folder.is_dir() else "does not exist"}'
    )


class _RepeatedKeyError(Exception):
    """A mapping has a key twice."""


class _StageLoader(yaml.SafeLoader):
    """Plain YAML that refuses a repeated key, where YAML itself would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        found = set()
        for key_node, _ in node.value:
            # Others are no key of a stage; `<<` merges mappings.
            if not isinstance(key_node, yaml.ScalarNode) or key_node.value == '<<':
                continue
            # As values, so that 1 and 0x1 are one key.
            key = self.construct_object(key_node)
            if key in found:
                raise _RepeatedKeyError(key_node.value)
            found.add(key)
        return super().construct_mapping(node, deep)


def _read(path: Path) -> Stage:
    try:
        content = yaml.load(path.read_text(encoding='utf-8'), _StageLoader)
    except OSError as error:
        raise ConfigurationError(f'{path} cannot be read: {error.strerror}.') from error
    except _RepeatedKeyError as error:
        raise ConfigurationError(f'{path} has the key {error} twice: keep one of them.') from error
    except RecursionError as error:
        raise ConfigurationError(
            f'{path} is nested too deep: the values of a stage are plain, lists, or one mapping.'
        ) from error
    # A ValueError: text that is not UTF-8, or such as the date 2022-99-99.
    except (yaml.YAMLError, ValueError) as error:
        reason = ' '.join(str(error).split())
        raise ConfigurationError(f'{path} is not YAML: {reason}.') from error
    if not isinstance(content, dict):
        raise ConfigurationError(
            f'{path} must hold the keys of a stage: {_list(Stage.model_fields)}.'
        )
    stage = parse_stage(content, str(path))
    # Reports say which stage was trained by its name alone.
    if stage.name in _files(BUILT_IN) and path.resolve().parent != BUILT_IN.resolve():
        raise ConfigurationError(
            f'{path} takes the name of the built-in stage {stage.name}: give it another name.'
        )
    return stage


def parse_stage(content: dict[str, Any], source: str) -> Stage:
    """Check the settings of a stage.

    Args:
        content: the keys and values of the YAML.
        source: where they are from, for the error.

    Raises:
        ConfigurationError: with everything that is wrong, in one sentence.
    """
    try:
        return Stage.model_validate(content)
    except ValidationError as error:
        wrong = '; '.join(_explain(detail) for detail in error.errors())
        raise ConfigurationError(f'Stage {source} is wrong: {wrong}.') from error


def _explain(detail: Any) -> str:
    key = '.'.join(str(part) for part in detail['loc'] if part != '[key]')
    # The latter where a key is no text.
    if detail['type'] in ('extra_forbidden', 'invalid_key'):
        return f'{key} is not a key of a stage, which are {_list(Stage.model_fields)}'
    if detail['type'] == 'missing':
        return f'{key} is missing'
    if detail['type'] == 'value_error':
        return str(detail['ctx']['error'])
    if detail['type'] == 'string_pattern_mismatch':
        return (
            f'{key} is {detail["input"]!r}, but must be of letters from a to z, digits, _, . and '
            '-, and not begin with . or -'
        )
    if detail['type'] == 'too_short':
        return f'{key} is empty, but must have at least one value'
    if detail['type'] == 'finite_number':
        return f'{key} is {detail["input"]!r}, but must be a finite number'
    message = detail['msg'][0].lower() + detail['msg'][1:]
    # What a person writes is YAML.
    message = message.replace('tuple', 'list').replace('dictionary', 'mapping')
    return f'{key} is {detail["input"]!r}, but {message}'


def _list(values: Any) -> str:
    return ', '.join(str(value) for value in values)
