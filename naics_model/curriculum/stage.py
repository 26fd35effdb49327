"""A curriculum stage: which positives, how hard the negatives, and in which shares.

What belongs here: the settings, their checks, and finding them by name or path. Whether a
taxonomy can supply a stage is the sampler's business.
"""

import math
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from naics_model.errors import ConfigurationError

_BUILT_IN = Path(__file__).parent / 'stages'

Level = Annotated[int, Field(strict=True, ge=2, le=6)]
Bucket = Annotated[int, Field(strict=True, ge=1, le=8)]
Distance = Annotated[float, Field(ge=0.5, le=10.0)]
Count = Annotated[int, Field(strict=True, ge=1)]


class Stage(BaseModel):
    """The settings of one stage, under the keys of its YAML.

    Attributes:
        name: what runs and folders are called.
        positive_levels: levels (number of digits) that a positive may have; an anchor may have any.
        positive_distance_min: least curriculum distance of a positive, inclusive; null for none.
        positive_distance_max: greatest curriculum distance of a positive, inclusive; null for none.
        max_positives: at most this many positives of one anchor, chosen at random; null for all.
        difficulty_buckets: hardness levels that are asked for, 1 (other sector) to 8
            (cross-reference).
        bucket_percentages: the share of an item's negatives that each bucket gets; they sum to 1.
        k_negatives: negatives of one item.
    """

    model_config = ConfigDict(frozen=True, extra='forbid')

    name: Annotated[str, Field(min_length=1)]
    positive_levels: tuple[Level, ...] = Field(min_length=1)
    positive_distance_min: Distance | None = None
    positive_distance_max: Distance | None = None
    max_positives: Count | None = None
    difficulty_buckets: tuple[Bucket, ...] = Field(min_length=1)
    bucket_percentages: dict[Bucket, Annotated[float, Field(ge=0, le=1)]]
    k_negatives: Count

    @model_validator(mode='after')
    def _agree(self) -> 'Stage':
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


def load_stage(name_or_path: str) -> Stage:
    """Read a stage.

    Args:
        name_or_path: the name of a built-in one, such as '02_stage_medium', or the path of a YAML
            file.

    Raises:
        ConfigurationError: there is no such stage, or its settings are wrong.
    """
    given = Path(name_or_path)
    if given.suffix in ('.yaml', '.yml'):
        if not given.is_file():
            raise ConfigurationError(f'There is no stage file {given}.')
        return _read(given)
    built_in = {path.stem: path for path in _BUILT_IN.glob('*.yaml')}
    if name_or_path in built_in:
        return _read(built_in[name_or_path])
    raise ConfigurationError(
        f'There is no stage {name_or_path!r}: the known ones are {_list(sorted(built_in))}, and a '
        'path that ends in .yaml names a stage of your own.'
    )


def _read(path: Path) -> Stage:
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except yaml.YAMLError as error:
        reason = ' '.join(str(error).split())
        raise ConfigurationError(f'{path} is not YAML: {reason}.') from error
    if not isinstance(content, dict):
        raise ConfigurationError(
            f'{path} must hold the keys of a stage: {_list(Stage.model_fields)}.'
        )
    return parse_stage(content, str(path))


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
    if detail['type'] == 'extra_forbidden':
        return f'{key} is not a key of a stage, which are {_list(Stage.model_fields)}'
    if detail['type'] == 'missing':
        return f'{key} is missing'
    if detail['type'] == 'value_error':
        return str(detail['ctx']['error'])
    message = detail['msg'][0].lower() + detail['msg'][1:]
    return f'{key} is {detail["input"]!r}, but {message}'


def _list(values: Any) -> str:
    return ', '.join(str(value) for value in values)
