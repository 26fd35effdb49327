"""The benchmark of one protocol: models trained on what it leaves to be seen, and measured.

Every run of a seed and a geometry has a folder of its own, laid out as an edition's.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from naics_model import __version__
from naics_model.benchmark.asked import Asked, Log, measure, measure_together, prepare
from naics_model.benchmark.chain import Job, run_chain
from naics_model.corpus.editions import edition_before
from naics_model.curriculum.stage import BUILT_IN
from naics_model.errors import DataError
from naics_model.jobs.command import profile_path
from naics_model.jobs.reporting import JobResult, Reporter
from naics_model.protocols.protocol import Protocol
from naics_model.protocols.view import build_view
from naics_model.storage.files import digests, sha256_of, write_json
from naics_model.storage.layout import EditionFolder
from naics_model.training.cli import PROFILES
from naics_model.training.stages import LAST_STAGE, STAGES

GEOMETRIES = ('lorentz', 'euclidean')
"""The model itself and its control; what their figures are filed under."""

# To be raised when a model trained before is no longer what the same settings would give.
_RULES = 2


@dataclass(frozen=True)
class Options:
    """What a person chooses.

    Attributes:
        profile: of training.
        seeds: of the runs; figures are means over them.
        geometries: of `GEOMETRIES`.
    """

    profile: str
    seeds: tuple[int, ...]
    geometries: tuple[str, ...]


def benchmark(
    folder: EditionFolder, protocol: Protocol, options: Options, reporter: Reporter
) -> None:
    """Train and measure all runs of a protocol; of one with parts, those of each part.

    Args:
        folder: the edition's files.
        protocol: what the models may see, and what they are asked.
        options: how long, how often, in which geometries.
        reporter: told the progress, and the means at the end.

    Raises:
        DataError: the edition, or the one before it, is not built, or a job failed.
        ConfigurationError: there is no such profile.
    """
    parts = protocol.parts or (protocol,)
    grounds = [prepare_ground(folder, part, options.profile, reporter.log) for part in parts]
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    for seed in options.seeds:
        for geometry in options.geometries:
            runs = [
                trained_run(ground, part, options.profile, geometry, seed, reporter.log)
                for ground, part in zip(grounds, parts, strict=True)
            ]
            reporter.log(f'{protocol.name}, {geometry}, seed {seed}: measuring')
            found[geometry].append(
                measure_together(folder, runs, protocol)
                if protocol.parts
                else measure(folder, grounds[0].view, runs[0], protocol, reporter.log)
            )
    metrics, spread = _means(found)
    written = folder.benchmark(protocol.name).with_name('metrics.json')
    write_json(metrics, written)
    reporter.finish(
        JobResult(
            metrics=metrics,
            files={'metrics': written},
            details={
                'protocol': protocol.name,
                **asdict(options),
                'spread': spread,
                'said': _said(protocol, options, spread),
                'inputs': digests([folder.descriptions, folder.activities, folder.code_splits]),
            },
        )
    )


@dataclass(frozen=True)
class Ground:
    """What all runs under a protocol share.

    Attributes:
        view: what they may read.
        asked: what they have to embed.
        inputs: digests of all that decides what a trained model is.
    """

    view: EditionFolder
    asked: Asked
    inputs: dict[str, Any]


def prepare_ground(folder: EditionFolder, protocol: Protocol, profile: str, log: Log) -> Ground:
    """Build a protocol's view, and the tables that its models have to embed.

    Args:
        folder: the edition's files.
        protocol: what the models may see, and what they are asked.
        profile: of training.
        log: told the progress.

    Raises:
        DataError: the edition, or the one before it, is not built.
    """
    backbone = backbone_of(profile)
    before = None
    if protocol.of_edition_before:
        name = edition_before(folder.edition)
        if name is None:
            raise DataError(
                f'Edition {folder.edition} has no edition before it to learn from: the protocol '
                f'{protocol.name} is for editions with a concordance, such as 2022.'
            )
        before = EditionFolder(folder.root, name)
    view = build_view(folder, protocol, backbone, before=before, progress=log)
    asked = prepare(folder, view, protocol, backbone)
    inputs = {
        'view': sha256_of(view.view_record),
        'asked': [sha256_of(path) for path in asked.token_caches],
        'settings': [sha256_of(path) for path in _settings(profile)],
        'release': [__version__, _RULES],
    }
    return Ground(view, asked, inputs)


def trained_run(
    ground: Ground, protocol: Protocol, profile: str, geometry: str, seed: int, log: Log
) -> EditionFolder:
    """Train one model under a protocol, if it is not there, and embed what is asked.

    Returns:
        the folder of the run.
    """
    run = EditionFolder(ground.view.path, f'{geometry}_seed_{seed}')
    title = f'{protocol.name}, {geometry}, seed {seed}'
    jobs = _chain(title, ground.view, run, ground.asked, profile, geometry, seed)
    run_chain(jobs, ground.inputs, run.path / 'chain.json', log)
    return run


def _settings(profile: str) -> list[Path]:
    """Return the files that say how the models are trained."""
    stages = [BUILT_IN / f'{curriculum}.yaml' for curriculum in STAGES.values()]
    return [
        profile_path(profile, PROFILES),
        *sorted((PROFILES / 'overlays').glob('*.yaml')),
        *stages,
    ]


def backbone_of(profile: str) -> str:
    """Return the name of the text encoder that a profile trains."""
    settings = yaml.safe_load(profile_path(profile, PROFILES).read_text('utf-8'))
    return str(settings['model']['backbone'])


def _chain(
    title: str,
    view: EditionFolder,
    run: EditionFolder,
    asked: Asked,
    profile: str,
    geometry: str,
    seed: int,
) -> list[Job]:
    """Return the jobs of one run: the stages, and the embeddings of what is asked."""
    jobs = []
    configs = [profile, *([geometry] * (geometry != 'lorentz'))]
    previous: str | None = None
    for name, curriculum in STAGES.items():
        folder = run.stage(name)
        arguments = fit_arguments(configs, curriculum, seed, view, folder)
        if previous:
            arguments += ['--model.init_from', run.stage(previous) / 'model']
        jobs.append(job(f'{title}, {name}', 'training', arguments, folder / 'result.json'))
        previous = name
    return [*jobs, *embedding_jobs(title, run, asked)]


def fit_arguments(
    configs: Sequence[str], curriculum: str, seed: int, view: EditionFolder, run_dir: Path
) -> list[str | Path]:
    """Return the command line that trains one stage on a view.

    Args:
        configs: profile and overlays.
        curriculum: the stage.
        seed: of the fit.
        view: what it may read.
        run_dir: where it writes.
    """
    arguments: list[str | Path] = ['fit']
    for config in configs:
        arguments += ['--config', config]
    arguments += ['--curriculum', curriculum, '--seed', str(seed)]
    arguments += ['--data.relation_index', view.relation_index]
    arguments += ['--data.token_cache', view.token_cache]
    return [*arguments, '--data.phrases', view.phrases, '--run_dir', run_dir]


def embedding_jobs(title: str, run: EditionFolder, asked: Asked) -> list[Job]:
    """Return the jobs that embed what is asked with the last stage's model."""
    jobs = []
    for descriptions, cache, table in asked.to_embed(run):
        result = table.with_suffix('.json')
        arguments: list[str | Path] = ['--model', run.stage(LAST_STAGE) / 'model']
        arguments += ['--token-cache', cache, '--descriptions', descriptions]
        arguments += ['--out', table, '--result', result]
        jobs.append(job(f'{title}, {table.stem}', 'encoder', arguments, result))
    return jobs


def job(name: str, room: str, arguments: Sequence[str | Path], result: Path) -> Job:
    """Return a job of a room of the library, such as `training`."""
    return Job(name, f'naics_model.{room}', tuple(map(str, arguments)), result)


def _means(
    found: Mapping[str, Sequence[Mapping[str, float]]],
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the mean and the standard deviation over seeds of each figure, as `method/figure`.

    A figure that a run leaves undefined has no mean, and of one seed nothing has a spread.
    """
    means, spread = {}, {}
    for method, runs in found.items():
        for name in set.intersection(*(set(run) for run in runs)):
            values = [run[name] for run in runs]
            means[f'{method}/{name}'] = statistics.fmean(values)
            if len(values) > 1:
                spread[f'{method}/{name}'] = statistics.stdev(values)
    return dict(sorted(means.items())), dict(sorted(spread.items()))


def _said(protocol: Protocol, options: Options, spread: Mapping[str, float]) -> str:
    """Return what the report says of these models."""
    seeds = ', '.join(map(str, options.seeds))
    columns = ' and '.join(each.capitalize() for each in options.geometries)
    profile = Path(options.profile).stem
    said = (
        f'{columns}: models trained for the protocol “{protocol.name}” with the profile “{profile}”'
    )
    if not spread:
        return f'{said}, one run with seed {seeds}.'
    first = {name: value for name, value in spread.items() if name.endswith(('hit_at_1', '/mrr'))}
    widest = max(first.values(), default=0.0)
    return (
        f'{said}, means over seeds {seeds}. Hits at 1 and MRR have a standard deviation of up to '
        f'{widest:.3f} between seeds.'
    )
