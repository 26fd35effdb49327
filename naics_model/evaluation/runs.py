"""What the report needs to know of the jobs that trained the embeddings, read from `result.json`.

A job that did not record something leaves it out; nothing is guessed in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from naics_model.errors import DataError
from naics_model.storage.files import read_json


@dataclass(frozen=True)
class Run:
    """One finished job.

    Attributes:
        name: that of the run's folder, such as `stage_1_easy`.
        requested, effective: share of negatives by hardness class, as the curriculum asks for and
            as the sampler could supply; None where the job has no curriculum.
        plan: how negatives were to be chosen at moments of the fit; empty where a stage's shares
            decided, or where there are none.
        history: the figures of each epoch in order, `train/loss` and `val/loss` among them.
        seconds: how long the job ran.
        command: the command line; None where it was not recorded.
        profile: the settings profile; None where it was not recorded.
    """

    name: str
    requested: Mapping[int, float] | None
    effective: Mapping[int, float] | None
    history: tuple[Mapping[str, float], ...]
    seconds: float
    command: str | None
    profile: str | None
    plan: tuple[Mapping[str, float], ...] = ()


def read_run(path: Path) -> Run:
    """Read a job's `result.json`.

    Args:
        path: the file; its folder names the run, such as `stage_1_easy` or `refinement`.

    Raises:
        DataError: the file is missing, or is not the result of a job.
    """
    result = read_json(path)
    if not isinstance(result, dict) or not isinstance(result.get('details'), dict):
        raise DataError(f'{path} is not the result of a job: run the job that writes it again.')
    details = result['details']
    mix = details.get('curriculum_mix') or {}
    return Run(
        name=path.absolute().parent.name,
        requested=_shares(mix.get('requested')),
        effective=_shares(mix.get('effective')),
        history=tuple(details.get('history') or ()),
        seconds=float(result.get('seconds', 0.0)),
        command=result.get('command'),
        profile=details.get('profile'),
        plan=tuple(details.get('negatives_plan') or ()),
    )


def _shares(value: Mapping[str, float] | None) -> dict[int, float] | None:
    """Return shares by hardness class; JSON has turned the classes into text."""
    return {int(hardness): float(share) for hardness, share in value.items()} if value else None
