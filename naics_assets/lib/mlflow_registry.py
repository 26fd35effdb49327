"""Released models as versions of one registered model of MLflow, under aliases.

An alias goes from one version to another only where the new one is better: `edition-2022` to the
best of an edition, `champion` to the best of the newest edition that has one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import dagster as dg

from naics_assets.lib.mlflow_entries import Opened
from naics_model.corpus.editions import load_editions
from naics_model.errors import first_line

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

MODEL = 'naics-lorentz'
CHAMPION = 'champion'
EDITION = 'naics/edition'
CONTENT = 'naics/data_version'
SCORE = 'naics/score'


class Release(NamedTuple):
    """What is to be registered.

    Attributes:
        folder: its files, which are copied to where MLflow keeps models.
        edition: its edition.
        content: its data version; a version with the same one is taken as this.
        score: by which versions are compared, more is better.
        facts: what else is to stand on the version, as tags.
    """

    folder: Path
    edition: str
    content: str
    score: float
    facts: Mapping[str, str]


class Registered(NamedTuple):
    """A released model in the registry.

    Attributes:
        version: its number.
        aliases: that lead to it now.
        is_new: whether it was registered just now; the same content is registered once.
    """

    version: str
    aliases: tuple[str, ...]
    is_new: bool

    @property
    def sentence(self) -> str:
        what = 'registered' if self.is_new else 'was registered before'
        led = f'; it is {", ".join(self.aliases)}' if self.aliases else '; a better one is there'
        return f'{MODEL} version {self.version} {what}{led}.'


def register(opened: Opened, release: Release) -> Registered:
    """Register a released model, and have the aliases lead to it where it is better.

    Args:
        opened: the run that made it.
        release: the model.

    Raises:
        dagster.Failure: MLflow refuses, or does not answer. Another try goes on from there.
    """
    from mlflow.exceptions import MlflowException

    try:
        return _register(opened, release)
    except (MlflowException, OSError) as error:
        # requests' errors are of the second kind; they name the address with its password.
        raise dg.Failure(
            f'The model is in {release.folder}, but MLflow did not register it: '
            f'{first_line(error)}. See to its server, then materialise this again.',
            allow_retries=False,
        ) from None


def _register(opened: Opened, release: Release) -> Registered:
    client = opened.client
    if not client.search_registered_models(f"name = '{MODEL}'"):
        client.create_registered_model(
            MODEL, description='NAICS codes in hyperbolic space, and the encoder of free text.'
        )
    found = client.search_model_versions(
        f"name = '{MODEL}' AND tags.`{CONTENT}` = '{release.content}'"
    )
    version = found[0] if found else _new_version(opened, release)
    for alias in _aliases(client, release.edition):
        holder = _holder(client, alias)
        if holder is None or _is_better(release, holder):
            client.set_registered_model_alias(MODEL, alias, version.version)
    held = client.get_model_version(MODEL, version.version)
    return Registered(str(version.version), tuple(sorted(held.aliases)), not found)


def _new_version(opened: Opened, release: Release) -> ModelVersion:
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    client = opened.client
    model = client.create_logged_model(
        opened.experiment_id,
        name=f'release-{re.sub("[^0-9A-Za-z_-]", "_", release.edition)}',
        source_run_id=opened.run_id,
        model_type='release',
        tags={CONTENT: release.content, **release.facts},
    )
    client.log_model_artifacts(model.model_id, str(release.folder))
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    client.log_outputs(opened.run_id, [LoggedModelOutput(model.model_id, 0)])
    return client.create_model_version(
        MODEL,
        source=f'models:/{model.model_id}',
        run_id=opened.run_id,
        model_id=model.model_id,
        tags={
            EDITION: release.edition,
            CONTENT: release.content,
            SCORE: repr(release.score),
            **release.facts,
        },
    )


def _aliases(client: MlflowClient, edition: str) -> list[str]:
    """Return the aliases that a model of an edition may have: the bundled one is no champion."""
    packaged = load_editions()[edition].packaged
    return [f'edition-{edition}', *([] if packaged else [CHAMPION])]


def _holder(client: MlflowClient, alias: str) -> ModelVersion | None:
    version = client.get_registered_model(MODEL).aliases.get(alias)
    return None if version is None else client.get_model_version(MODEL, version)


def _is_better(release: Release, holder: ModelVersion) -> bool:
    """Whether a model is better than another: of a newer edition, or of the same with more."""
    order = list(load_editions())
    theirs = holder.tags[EDITION]
    if theirs != release.edition:
        return theirs not in order or order.index(release.edition) > order.index(theirs)
    return release.score > float(holder.tags[SCORE])
