"""What refinement is worth: one trained model a protocol, refined in several ways, and measured.

Under `warm` it is asked what it does to codes that it has seen; under `heldout_codes`, whether
codes that it has not seen gain from it, too: those are attached by their texts
(`refinement.attach`).
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Lock

import numpy as np
import polars as pl

from naics_model import __version__
from naics_model.benchmark.asked import Log, embeddings_of, measure
from naics_model.benchmark.chain import Job, run_chain
from naics_model.benchmark.job import Ground, job, prepare_ground, trained_run
from naics_model.encoder.queries import encode_texts
from naics_model.encoder.table import read_embeddings
from naics_model.evaluation.asking import grouped
from naics_model.evaluation.document import to_markdown
from naics_model.evaluation.measure import points_of
from naics_model.evaluation.placement import unseen_metrics
from naics_model.evaluation.questions import Questions, read_questions
from naics_model.evaluation.report_refinement import FIGURES, comparison
from naics_model.geometry.arrays import distances_to
from naics_model.jobs.command import profile_path
from naics_model.jobs.reporting import JobResult, Reporter
from naics_model.protocols.protocol import PROTOCOLS, Protocol
from naics_model.protocols.splits import hidden_codes, read_code_splits
from naics_model.refinement.cli import PROFILES
from naics_model.storage.files import (
    atomic_write,
    digests,
    read_parquet,
    sha256_of,
    write_parquet,
)
from naics_model.storage.layout import EditionFolder
from naics_model.training.stages import LAST_STAGE

ASKED = ('warm', 'heldout_codes')
GEOMETRY, MODEL_SEED = 'lorentz', 0
"""The trained model that is refined; only refinements have several seeds."""
TEXT = 'text'
"""In place of a variant: the text embeddings, not refined."""

# To be raised when a refinement made before is no longer what the same settings would give.
_RULES = 1


@dataclass(frozen=True)
class Variant:
    """One way of refining.

    Attributes:
        label: for people.
        settings: options of the refinement command, what differs from the profile.
    """

    label: str
    settings: Mapping[str, str] = field(default_factory=dict)

    def arguments(self) -> list[str]:
        """Return the settings as the refinement command takes them."""
        return [f'--model.{name}={value}' for name, value in self.settings.items()]


VARIANTS = {
    'refined': Variant('refined (centroid, 2 layers)'),
    'tangent': Variant('… tangent aggregation', {'aggregation': 'tangent'}),
    'one_layer': Variant('… 1 layer', {'layers': '1'}),
    'no_layers': Variant('… free vectors alone, no layers', {'layers': '0'}),
    'no_free_vectors': Variant('… layers alone, no free vectors', {'bare_share': '1.0'}),
    'exclusions': Variant('… with signed exclusion edges', {'edges.exclusions': 'true'}),
    'siblings': Variant('… with sibling edges', {'edges.siblings': 'true'}),
    'no_bare': Variant('… no codes bare in training', {'bare_share': '0.0'}),
    'no_phrases': Variant('… without the phrases', {'weights.phrases': '0.0'}),
    'no_tree': Variant(
        '… without the tree',
        {f'weights.{name}': '0.0' for name in ('hierarchy_fit', 'triplet', 'radius_ladder')},
    ),
}
"""By the name that a command line has for it."""


@dataclass(frozen=True)
class RefinementOptions:
    """What a person chooses.

    Attributes:
        profile: of training.
        refinement: of refinement.
        protocols: of `ASKED`.
        seeds: each variant is refined once with each.
        variants: names of `VARIANTS`.
        at_once: how many refinements run beside each other.
    """

    profile: str
    refinement: str
    protocols: tuple[str, ...]
    seeds: tuple[int, ...]
    variants: tuple[str, ...]
    at_once: int = 1


@dataclass(frozen=True)
class _Trained:
    """A trained model under a protocol, and what of it is refined.

    `run` is its folder; `seen` the text embeddings of the codes that the protocol shows, `new` of
    those that it hides (None where it hides none).
    """

    protocol: Protocol
    ground: Ground
    run: EditionFolder
    seen: Path
    new: Path | None


def compare_refinements(
    folder: EditionFolder, options: RefinementOptions, reporter: Reporter
) -> None:
    """Refine in all ways under each protocol, and compare.

    Models, and refinements of the same inputs and settings, that are there already are not made
    again.

    Args:
        folder: the edition's files.
        options: what is compared, how often.
        reporter: told the progress, and the figures at the end.

    Raises:
        DataError: the edition is not built, or a job failed.
        ConfigurationError: there is no such profile.
    """
    trained = [
        _train(folder, PROTOCOLS[name], options.profile, reporter.log) for name in options.protocols
    ]
    questions = read_questions(folder.descriptions, folder.activities)
    done: dict[tuple[str, int], dict[str, float]] = {(TEXT, 0): {}}
    measuring = Lock()
    for each in trained:
        table = embeddings_of(each.run, 'embeddings')
        done[TEXT, 0] |= _measure(folder, each, table, questions, reporter.log)
    _say(reporter.log, TEXT, 0, done[TEXT, 0])

    def refine(variant_seed: tuple[str, int]) -> None:
        variant, seed = variant_seed
        figures: dict[str, float] = {}
        for each in trained:
            table = _refine(each, options, variant, seed, reporter.log)
            with measuring:
                figures |= _measure(folder, each, table, questions, reporter.log)
        done[variant_seed] = figures
        _say(reporter.log, variant, seed, figures)

    fits = [(variant, seed) for seed in options.seeds for variant in options.variants]
    with ThreadPoolExecutor(options.at_once) as pool:
        list(pool.map(refine, fits))  # to the end, so that the first failure is raised
    found = {
        variant: [figures for (name, _), figures in sorted(done.items()) if name == variant]
        for variant in (TEXT, *options.variants)
    }
    labels = {TEXT: 'text embeddings', **{name: VARIANTS[name].label for name in options.variants}}
    document = comparison(
        folder.edition,
        {labels[variant]: figures for variant, figures in found.items()},
        profiles=(Path(options.profile).stem, Path(options.refinement).stem),
        seeds=options.seeds,
    )
    page = folder.refinement_comparison.with_name('refinement.md')
    with atomic_write(page) as temporary:
        temporary.write_text(to_markdown(document), encoding='utf-8')
    reporter.finish(
        JobResult(
            metrics={
                f'{variant}/{name}': statistics.fmean(each[name] for each in figures)
                for variant, figures in found.items()
                for name in figures[0]
            },
            files={'page': page},
            details={
                **asdict(options),
                'found': found,
                'inputs': digests([folder.descriptions, folder.activities, folder.code_splits]),
            },
        )
    )


def _train(folder: EditionFolder, protocol: Protocol, profile: str, log: Log) -> _Trained:
    """Return the trained model of a protocol, its embeddings cut into seen and hidden codes."""
    ground = prepare_ground(folder, protocol, profile, log)
    run = trained_run(ground, protocol, profile, GEOMETRY, MODEL_SEED, log)
    whole = embeddings_of(run, 'embeddings')
    if protocol.hides is None:
        return _Trained(protocol, ground, run, whole, None)
    seen, new = embeddings_of(run, 'embeddings_seen'), embeddings_of(run, 'embeddings_new')
    rows = read_parquet(whole)
    shown = pl.col('code').is_in(read_parquet(ground.view.descriptions)['code'].to_list())
    write_parquet(rows.filter(shown), seen)
    write_parquet(rows.filter(~shown), new)
    return _Trained(protocol, ground, run, seen, new)


def _refine(each: _Trained, options: RefinementOptions, variant: str, seed: int, log: Log) -> Path:
    """Refine in one way, and return the table of all codes."""
    view, run = each.ground.view, each.run
    out = EditionFolder(run.path / 'refinements', f'{variant}_seed_{seed}')
    title = f'{each.protocol.name}, {variant}, seed {seed}'
    graph: list[str | Path] = ['--embeddings', each.seen, '--descriptions', view.descriptions]
    result = out.refinement / 'result.json'
    arguments = ['--config', options.refinement, '--seed', str(seed), *graph]
    arguments += ['--phrases', view.phrases, '--encoder', run.stage(LAST_STAGE) / 'model']
    arguments += ['--queries', run.queries, '--out', out.refined_embeddings]
    arguments += ['--run_dir', out.refinement, *VARIANTS[variant].arguments()]
    jobs: list[Job] = [job(f'{title}, refinement', 'refinement', arguments, result)]
    placed = embeddings_of(out, 'placed')
    if each.new is not None:
        attach = ['attach', '--run_dir', out.refinement, *graph]
        attach += ['--new', each.new, '--out', placed]
        jobs.append(job(f'{title}, attaching', 'refinement', attach, placed))
    inputs = {
        'trained': each.ground.inputs,
        'embeddings': sha256_of(each.seen),
        'settings': sha256_of(profile_path(options.refinement, PROFILES)),
        'release': [__version__, _RULES],
    }
    # Several processes share the cores, rather than each asking for all of them.
    threads = max((os.cpu_count() or 1) // options.at_once, 1)
    environment = {'OMP_NUM_THREADS': str(threads)} if options.at_once > 1 else {}
    run_chain(jobs, inputs, out.path / 'chain.json', log, environment)
    if each.new is None:
        return out.refined_embeddings
    whole = out.path / 'all.parquet'
    rows = pl.concat([read_parquet(out.refined_embeddings), read_parquet(placed).drop('parent')])
    # Of all codes in their own order: the view has numbered its codes anew.
    order = read_parquet(embeddings_of(run, 'embeddings')).select('index', 'code')
    write_parquet(order.join(rows.drop('index'), on='code', maintain_order='left'), whole)
    return whole


def _measure(
    folder: EditionFolder, each: _Trained, table: Path, questions: Questions, log: Log
) -> dict[str, float]:
    """Return the figures of `FIGURES` that a protocol has."""
    figures = measure(folder, each.ground.view, each.run, each.protocol, log, table)
    if each.protocol.hides:
        embeddings = read_embeddings(table)
        hidden = set(hidden_codes(read_code_splits(folder.code_splits), each.protocol.hides))
        asked = np.array([code in hidden for code in embeddings.codes])
        mine = asked[questions.candidates][questions.owners]
        texts = questions.entries(mine)
        model = each.run.stage(LAST_STAGE) / 'model'
        encoded = encode_texts(model, list(dict.fromkeys(texts)), each.run.queries, log)
        figures |= grouped(
            'unseen',
            unseen_metrics(
                points_of(embeddings, TEXT, '').distance,
                questions.taxonomy,
                asked,
                distances_to(
                    encoded.of(texts),
                    embeddings.tangent[questions.candidates],
                    embeddings.curvature,
                ),
                questions.owners[mine],
                questions.candidate_codes,
            ),
        )
    return {name: figures[name] for name in FIGURES if name in figures}


def _say(log: Log, variant: str, seed: int, figures: Mapping[str, float]) -> None:
    shown = ', '.join(
        f'{label} {figures[name]:.3f}' for name, label in FIGURES.items() if name in figures
    )
    log(f'{variant}, seed {seed}: {shown}')
