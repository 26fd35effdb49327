"""What is written to MLflow of a job, and how: figures, parameters, checkpoints, files.

Each entry can be written again where it is not known whether the try before got through.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from mlflow import MlflowClient

# As many as a server takes in one request, and as much as it takes of a parameter's value.
_METRICS_A_BATCH = 1000
_PARAMETERS_A_BATCH = 100
_PARAMETER_CHARACTERS = 6000
# One name that MLflow does not know would have it refuse all of a request.
_NOT_IN_A_NAME = re.compile(r'[^\w/.\- :]')


@dataclass(frozen=True)
class Opened:
    """A run that MLflow has made.

    Attributes:
        client: of the tracker that keeps it.
        experiment_id: of its experiment.
        run_id: of the run itself.
        parent_id: of the run of the whole Dagster run, above it.
        asset: the asset whose job it is.
        url: where a person sees it.
        new_tags: what the Dagster run is to be tagged with.
    """

    client: MlflowClient
    experiment_id: str
    run_id: str
    parent_id: str
    asset: str
    url: str
    new_tags: Mapping[str, str]


Write = Callable[[Opened], object]


class Figure(NamedTuple):
    """A figure that is still to be written.

    Attributes:
        name, value: what it is.
        step: optimiser step.
        since_epoch: when it was told, in seconds.
        of_parent: whether it is of the whole Dagster run.
    """

    name: str
    value: float
    step: int
    since_epoch: float
    of_parent: bool = False


def first_of(left: deque[Figure | Write]) -> tuple[int, Write]:
    """Return how many entries go first, and what writes them: figures in one request."""
    first = left[0]
    if not isinstance(first, Figure):
        return 1, first
    figures: list[Figure] = []
    for entry in islice(left, _METRICS_A_BATCH):
        if not isinstance(entry, Figure) or entry.of_parent != first.of_parent:
            break
        figures.append(entry)
    return len(figures), partial(_log_figures, figures)


def final_figures(metrics: Mapping[str, float], of_parent: bool = False) -> Iterator[Figure]:
    now = time.time()
    return (Figure(name, float(v), 0, now, of_parent) for name, v in metrics.items())


def entries_of(message: Mapping[str, Any]) -> list[Figure | Write]:
    """Return what of a job's message is to be written."""
    if message['kind'] == 'figures':
        step, since_epoch = message['step'], message['time']
        return [
            Figure(_NOT_IN_A_NAME.sub('', name), value, step, since_epoch)
            for name, value in message['values'].items()
        ]
    if message['kind'] == 'settings':
        return [partial(log_parameters, message['values'])]
    if message['kind'] == 'checkpoint':
        return [partial(_log_checkpoint, message)]
    return []


def _log_figures(figures: Sequence[Figure], opened: Opened) -> None:
    from mlflow.entities import Metric

    run_id = opened.parent_id if figures[0].of_parent else opened.run_id
    metrics = [Metric(f.name, f.value, int(f.since_epoch * 1000), f.step) for f in figures]
    opened.client.log_batch(run_id, metrics=metrics)


def log_parameters(values: Mapping[str, str], opened: Opened, *, of_parent: bool = False) -> None:
    """Log parameters, but for those already there: MLflow keeps a first value for good."""
    from mlflow.entities import Param

    run_id = opened.parent_id if of_parent else opened.run_id
    known = opened.client.get_run(run_id).data.params
    params = [Param(k, v[:_PARAMETER_CHARACTERS]) for k, v in values.items() if k not in known]
    for start in range(0, len(params), _PARAMETERS_A_BATCH):
        opened.client.log_batch(run_id, params=params[start : start + _PARAMETERS_A_BATCH])


def _log_checkpoint(told: Mapping[str, Any], opened: Opened) -> None:
    """Make a kept checkpoint a logged model of the run.

    It stays where it is, and is named with its digest: with the optimiser's state it is three times
    the model. The exported one has its model as its artifacts, which can be loaded.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric

    client, run_id, step = opened.client, opened.run_id, told['step']
    # Names take no dots and slashes.
    stem = Path(told['path']).stem.partition('-val_loss')[0]
    name = f'{opened.asset}-{stem}'.replace('=', '_')
    # One that was made, and not finished, by a try that broke off.
    found = client.search_logged_models(
        [opened.experiment_id], f"name = '{name}' AND source_run_id = '{run_id}'"
    )
    model = (
        found[0]
        if found
        else client.create_logged_model(
            opened.experiment_id,
            name=name,
            source_run_id=run_id,
            model_type='exported' if told['exported'] else 'checkpoint',
            tags={'checkpoint': told['path'], 'checkpoint_sha256': told['sha256']},
        )
    )
    if told['score'] is not None:
        # Not under the name of the epochs' own figure, whose curve it would bend.
        at = int(told['time'] * 1000)
        score = Metric(
            'checkpoint/val_loss', told['score'], at, step, model.model_id, run_id=run_id
        )
        client.log_batch(run_id, metrics=[score])
    if told['exported']:
        client.log_model_artifacts(model.model_id, told['exported'])
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step)])


def log_file(path: Path, opened: Opened) -> None:
    """Attach a file. MLflow sets pictures of one key side by side, those of one run beside
    another's.
    """
    from PIL import Image

    if path.suffix == '.png':
        with Image.open(path) as picture:
            opened.client.log_image(opened.run_id, picture, key=path.stem, step=0)
        opened.client.log_artifact(opened.run_id, str(path), 'figures')
    else:
        opened.client.log_artifact(opened.run_id, str(path))
