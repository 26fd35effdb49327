"""The ablation: many short fits that differ in how negatives are chosen, or in a part of the model.

Every fit is of one stage, from the untrained encoder, on texts that are cut short, and its last
weights are asked: small enough that a table of them fits into two hours on two cores.

Settings may be chosen by what it finds. So searches are asked with train entries that are set aside
here, and held-out ones stay unread.
"""

from __future__ import annotations

import os
import statistics
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

import polars as pl

from naics_model import __version__
from naics_model.benchmark.asked import Asked, Log, measure, measure_warm, prepare
from naics_model.benchmark.chain import Job, run_chain
from naics_model.benchmark.job import backbone_of, embedding_jobs, fit_arguments, job
from naics_model.benchmark.variants import VARIANTS
from naics_model.corpus.phrases import build_phrases
from naics_model.curriculum.stage import BUILT_IN
from naics_model.encoder.tokens import build_token_cache
from naics_model.errors import DataError
from naics_model.evaluation.document import Document, Section, to_markdown
from naics_model.evaluation.report_ablation import FIGURES, ablation_blocks
from naics_model.jobs.command import profile_path
from naics_model.jobs.reporting import JobResult, Reporter
from naics_model.protocols.protocol import PROTOCOLS, Protocol
from naics_model.protocols.view import build_view
from naics_model.storage.files import (
    atomic_write,
    digests,
    read_json,
    read_parquet,
    sha256_of,
    write_parquet,
)
from naics_model.storage.layout import EditionFolder
from naics_model.training.cli import PROFILES
from naics_model.training.stages import LAST_STAGE, STAGES

ASKED = ('warm', 'heldout_codes')
"""The protocols that the fits are trained and asked under."""
CURRICULUM = STAGES[LAST_STAGE]
"""The widest stage: all positives of a sector, all margins, cross-references."""
MAX_TOKENS = 32
"""Texts of codes are cut to this many tokens, a quarter of the usual."""
SET_ASIDE = 5
"""One of so many train entries is asked in place of the held-out ones."""

# To be raised when a fit made before is no longer what the same settings would give.
_RULES = 2
# Of what a fit says of its negatives in its last epoch, what the table shows.
_WATCHED = ('router_entropy', 'eliminated_share')


@dataclass(frozen=True)
class AblationOptions:
    """What a person chooses.

    Attributes:
        profile: of training; `overlays/ablation.yaml` is laid over it.
        seeds: each variant is trained once with each, and compared with the others of its seed.
        variants: names of `VARIANTS`.
        at_once: how many fits run beside each other.
    """

    profile: str
    seeds: tuple[int, ...]
    variants: tuple[str, ...]
    at_once: int = 1


@dataclass(frozen=True)
class _Ground:
    """What all fits under a protocol share.

    `view` is what they may read, `short` the same codes with shorter texts, and with entries set
    aside.
    """

    protocol: Protocol
    view: EditionFolder
    short: EditionFolder
    asked: Asked
    inputs: dict[str, Any]


def ablate(folder: EditionFolder, options: AblationOptions, reporter: Reporter) -> None:
    """Train all variants under both protocols, and compare them.

    What was trained before, with the same inputs and settings, is not trained again: an ablation
    that was stopped goes on, and a seed or a variant that is added costs only itself. Seeds come
    one after the other, so that a table can be made of what is there at any time.

    Args:
        folder: the edition's files.
        options: what is compared, how often.
        reporter: told the progress, and the figures at the end.

    Raises:
        DataError: the edition is not built, or a job failed.
        ConfigurationError: there is no such profile.
    """
    ground = [_prepare(folder, PROTOCOLS[name], options.profile, reporter.log) for name in ASKED]
    fits = [
        (each, seed, variant)
        for seed in options.seeds
        for variant in options.variants
        for each in ground
    ]
    done: dict[tuple[int, str], dict[str, float]] = defaultdict(dict)
    measuring, ended = Lock(), count(1)
    reporter.log(f'{len(fits)} fits, {options.at_once} at once')

    def run(fit: tuple[_Ground, int, str]) -> None:
        each, seed, variant = fit
        figures = _fit(folder, each, options, seed, variant, measuring, reporter.log)
        done[seed, variant] |= figures
        title = _title(each.protocol, variant, seed)
        reporter.log(f'{next(ended)} of {len(fits)}: {title}: {_shown(figures)}')

    with ThreadPoolExecutor(options.at_once) as pool:
        # To the end, so that the first failure is raised.
        list(pool.map(run, fits))
    rows = _rows(done, options)
    page = folder.ablation.with_name('ablation.md')
    details = {
        **asdict(options),
        'curriculum': CURRICULUM,
        'max_tokens': MAX_TOKENS,
        'rows': rows,
        'fits': [
            {'seed': seed, 'variant': variant, **figures}
            for (seed, variant), figures in sorted(done.items())
        ],
        'set_aside': int((read_parquet(ground[0].short.activities)['split'] == 'heldout').sum()),
        'inputs': digests([folder.descriptions, folder.activities, folder.code_splits]),
    }
    blocks = ablation_blocks(details)
    document = Document(
        title=f'What the parts of training do: edition {folder.edition}',
        subtitle=f'{len(fits)} fits with the profile “{Path(options.profile).stem}”.',
        lead=(),
        sections=(Section('Ablation', blocks),),
    )
    with atomic_write(page) as temporary:
        temporary.write_text(to_markdown(document), encoding='utf-8')
    reporter.finish(
        JobResult(
            metrics={
                f'{row["variant"]}/{name}': figure['mean']
                for row in rows
                for name, figure in row['figures'].items()
            },
            files={'page': page},
            details=details,
        )
    )


def _prepare(folder: EditionFolder, protocol: Protocol, profile: str, log: Log) -> _Ground:
    """Build a protocol's view, cut its texts short, and set entries aside."""
    backbone = backbone_of(profile)
    view = build_view(folder, protocol, backbone, progress=log)
    short = EditionFolder(view.path, 'ablation')
    write_parquet(read_parquet(view.descriptions), short.descriptions)
    build_token_cache(
        short.descriptions, short.token_cache, backbone=backbone, max_length=MAX_TOKENS
    )
    entries = set_aside(read_parquet(view.activities))
    write_parquet(entries, short.activities)
    # What is asked is learned from in no form: the phrases are held against it as well.
    allowed = build_phrases(read_parquet(short.descriptions), entries)
    phrases = read_parquet(view.phrases).join(allowed, on=['text', 'code'], how='semi')
    write_parquet(phrases, short.phrases)
    asked = prepare(folder, short, protocol, backbone, max_length=MAX_TOKENS)
    inputs = {
        'view': sha256_of(view.view_record),
        'short': [sha256_of(path) for path in (short.token_cache, short.activities, short.phrases)],
        'asked': [sha256_of(path) for path in asked.token_caches],
        'settings': _settings(profile),
        'release': [__version__, _RULES],
    }
    return _Ground(protocol, view, short, asked, inputs)


def set_aside(entries: pl.DataFrame) -> pl.DataFrame:
    """Return train entries of which some are held out: every fifth, by its own digest, of those
    that no text quotes.

    Args:
        entries: those of a view, all of them `train`.
    """
    chosen = [
        not verbatim and int(sha256(f'ablation {text}'.encode()).hexdigest(), 16) % SET_ASIDE == 0
        for text, verbatim in zip(entries['text'], entries['verbatim'], strict=True)
    ]
    split = pl.Series('split', ['heldout' if asked else 'train' for asked in chosen], pl.String)
    return entries.with_columns(split)


def _settings(profile: str) -> list[str]:
    """Return the digests of the files that say how the fits are trained."""
    files = (
        profile_path(profile, PROFILES),
        PROFILES / 'overlays' / 'ablation.yaml',
        BUILT_IN / f'{CURRICULUM}.yaml',
    )
    return [sha256_of(path) for path in files]


def _fit(
    folder: EditionFolder,
    ground: _Ground,
    options: AblationOptions,
    seed: int,
    variant: str,
    measuring: Lock,
    log: Log,
) -> dict[str, float]:
    """Train one variant, and return what it was measured to do."""
    protocol, view = ground.protocol, ground.view
    run = EditionFolder(view.path / 'ablation', f'{variant}_seed_{seed}')
    title = _title(protocol, variant, seed)
    run_dir = run.stage(LAST_STAGE)
    arguments = [
        *fit_arguments([options.profile, 'ablation'], CURRICULUM, seed, view, run_dir),
        f'--data.token_cache={ground.short.token_cache}',
        f'--data.phrases={ground.short.phrases}',
        '--export=last',
        *VARIANTS[variant].arguments(),
    ]
    result = run_dir / 'result.json'
    jobs: list[Job] = [
        job(f'{title}, training', 'training', arguments, result),
        *embedding_jobs(title, run, ground.asked),
    ]
    # Several processes share the cores, rather than each asking for all of them.
    threads = max((os.cpu_count() or 1) // options.at_once, 1)
    environment = {'OMP_NUM_THREADS': str(threads)} if options.at_once > 1 else {}
    record = run.path / 'chain.json'
    run_chain(jobs, ground.inputs, record, log, environment)
    if _settings(options.profile) != ground.inputs['settings']:
        record.unlink()
        raise DataError(
            f'The settings of {options.profile} were changed while the ablation ran, and {title} '
            'may have either: start it again.'
        )
    with measuring:
        if protocol.hides is None:
            figures = measure_warm(ground.short, run, protocol, log)
        else:
            figures = measure(folder, view, run, protocol, log)
    trained = read_json(result)
    last = trained['details']['history'][-1]
    return {
        **{name: figures[name] for name in FIGURES if name in figures},
        f'{protocol.name}/seconds': float(trained['seconds']),
        **{
            f'{protocol.name}/{name}': float(last[f'train/{name}'])
            for name in _WATCHED
            if f'train/{name}' in last
        },
    }


def _rows(
    done: Mapping[tuple[int, str], Mapping[str, float]], options: AblationOptions
) -> list[dict[str, Any]]:
    """Return for each variant the mean of each figure over seeds, its spread, and what it gains on
    the variant that it is compared with, seed by seed."""
    rows = []
    for variant in options.variants:
        against = VARIANTS[variant].against
        compared = against in options.variants and variant != against
        figures: dict[str, dict[str, float]] = {}
        of_seed = [done[seed, variant] for seed in options.seeds]
        for name in of_seed[0]:
            values = [found[name] for found in of_seed]
            figures[name] = {'mean': statistics.fmean(values)}
            if len(values) > 1:
                figures[name]['spread'] = statistics.stdev(values)
            if compared:
                gains = [
                    value - done[seed, against][name]
                    for seed, value in zip(options.seeds, values, strict=True)
                    if name in done[seed, against]
                ]
                if gains:
                    figures[name]['gain'] = statistics.fmean(gains)
                if len(gains) > 1:
                    figures[name]['gain_spread'] = statistics.stdev(gains)
        rows.append(
            {
                'variant': variant,
                'label': VARIANTS[variant].label,
                'against': VARIANTS[against].label if compared else None,
                'figures': figures,
            }
        )
    return rows


def _title(protocol: Protocol, variant: str, seed: int) -> str:
    return f'{protocol.name}, {variant}, seed {seed}'


def _shown(figures: Mapping[str, float]) -> str:
    return ', '.join(f'{name} {figures[name]:.3f}' for name in FIGURES if name in figures)
