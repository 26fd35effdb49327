"""The benchmark of one protocol: models trained on what it leaves to be seen, and measured.

Every run of a seed and a geometry has a folder of its own, laid out as an edition's.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from naics_model import __version__
from naics_model.benchmark.asked import Asked, measure, prepare
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
    """Train and measure all runs of a protocol.

    Args:
        folder: the edition's files.
        protocol: what the models may see, and what they are asked.
        options: how long, how often, in which geometries.
        reporter: told the progress, and the means at the end.

    Raises:
        DataError: the edition, or the one before it, is not built, or a job failed.
        ConfigurationError: there is no such profile.
    """
    backbone = _backbone(options.profile)
    before = None
    if protocol.of_edition_before:
        name = edition_before(folder.edition)
        if name is None:
            raise DataError(
                f'Edition {folder.edition} has no edition before it to learn from: the protocol '
                f'{protocol.name} is for editions with a concordance, such as 2022.'
            )
        before = EditionFolder(folder.root, name)
    view = build_view(folder, protocol, backbone, before=before, progress=reporter.log)
    asked = prepare(folder, view, protocol, backbone)
    inputs = {
        'view': sha256_of(view.view_record),
        'asked': [sha256_of(path) for path in asked.token_caches],
        'settings': [sha256_of(path) for path in _settings(options)],
        'release': [__version__, _RULES],
    }
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    for seed in options.seeds:
        for geometry in options.geometries:
            run = EditionFolder(view.path, f'{geometry}_seed_{seed}')
            title = f'{protocol.name}, {geometry}, seed {seed}'
            jobs = _chain(title, view, run, asked, options.profile, geometry, seed)
            run_chain(jobs, inputs, run.path / 'chain.json', reporter.log)
            reporter.log(f'{title}: measuring')
            found[geometry].append(measure(folder, run, asked, protocol, reporter.log))
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


def _settings(options: Options) -> list[Path]:
    """Return the files that say how the models are trained."""
    stages = [BUILT_IN / f'{curriculum}.yaml' for curriculum in STAGES.values()]
    return [
        profile_path(options.profile, PROFILES),
        *sorted((PROFILES / 'overlays').glob('*.yaml')),
        *stages,
    ]


def _backbone(profile: str) -> str:
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
    configs = ['--config', profile, *(['--config', geometry] * (geometry != 'lorentz'))]
    previous: str | None = None
    for name, curriculum in STAGES.items():
        folder = run.stage(name)
        arguments: list[str | Path] = ['fit', *configs, '--curriculum', curriculum]
        arguments += ['--seed', str(seed), '--data.relation_index', view.relation_index]
        arguments += ['--data.token_cache', view.token_cache]
        arguments += ['--data.activities', view.activities, '--run_dir', folder]
        if previous:
            arguments += ['--model.init_from', run.stage(previous) / 'model']
        jobs.append(_job(f'{title}, {name}', 'training', arguments, folder / 'result.json'))
        previous = name
    for descriptions, cache, table in asked.to_embed(run):
        result = table.with_suffix('.json')
        arguments = ['--model', run.stage(LAST_STAGE) / 'model', '--token-cache', cache]
        arguments += ['--descriptions', descriptions, '--out', table, '--result', result]
        jobs.append(_job(f'{title}, {table.stem}', 'encoder', arguments, result))
    return jobs


def _job(name: str, room: str, arguments: Sequence[str | Path], result: Path) -> Job:
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
