"""The benchmark of a protocol with real training processes, a tiny encoder, and few steps."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import torch
import yaml
from torch.nn.functional import normalize

from naics_model.benchmark.asked import Asked, embeddings_of, measure
from naics_model.benchmark.cli import main
from naics_model.benchmark.job import Ground, Options, _means, _said, benchmark
from naics_model.dataset.steps import steps_of
from naics_model.encoder.backbones import TINY
from naics_model.encoder.embedder import NaicsEmbedder
from naics_model.encoder.table import embedding_table, read_embeddings
from naics_model.errors import DataError
from naics_model.geometry.lorentz import pairwise_distance
from naics_model.jobs.reporting import open_reporter
from naics_model.protocols.protocol import FOLD_PROTOCOLS, PROTOCOLS, Protocol
from naics_model.protocols.view import build_view
from naics_model.storage.files import read_json, write_parquet
from naics_model.storage.layout import EditionFolder
from naics_model.training.cli import PROFILES
from naics_model.training.stages import LAST_STAGE

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures('forked_jobs')]

FIGURES = ('all_levels_asked', 'trivial_asked', 'all_levels_parent_mrr')


@pytest.fixture(scope='module')
def sample(tmp_path_factory: pytest.TempPathFactory) -> EditionFolder:
    """The corpus of the bundled edition."""
    folder = EditionFolder(tmp_path_factory.mktemp('data'), 'sample')
    for step in steps_of(folder, None, TINY):
        if step.name.endswith('_workbook') or folder.file(step.name).parent.name == 'corpus':
            step.run(lambda line: None)
    return folder


@pytest.fixture(scope='module')
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smoke profile on a tiny encoder, two steps long."""
    settings = yaml.safe_load((PROFILES / 'smoke.yaml').read_text())
    settings['model']['backbone'] = TINY
    settings['data'] |= {'phrases_per_step': 8, 'items_per_step': 16, 'steps_per_epoch': 1}
    settings['trainer']['max_epochs'] = 1
    path = tmp_path_factory.mktemp('profile') / 'tiny.yaml'
    path.write_text(yaml.safe_dump(settings))
    return path


def test_hidden_codes_are_placed_by_their_texts(
    sample: EditionFolder, profile: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ['--edition', 'sample', '--data-dir', str(sample.root)]
    arguments += ['--protocol', 'heldout_codes', '--profile', str(profile)]
    # The other geometry is trained below.
    arguments += ['--geometries', 'euclidean']
    main(arguments)
    result = read_json(sample.benchmark('heldout_codes'))
    splits = pl.read_parquet(sample.code_splits)
    hidden = splits.filter(pl.col('stratified') == 'heldout')['code'].to_list()
    figures = {name: result['metrics'][f'euclidean/heldout_codes/{name}'] for name in FIGURES}
    assert figures['all_levels_asked'] + figures['trivial_asked'] == len(hidden)
    assert 0 <= figures['all_levels_parent_mrr'] <= 1
    assert 'seed 0' in result['details']['said']

    view = sample.view('heldout_codes')
    run = EditionFolder(view.path, 'euclidean_seed_0')
    trained = read_json(run.stage('stage_3_hard') / 'result.json')
    # What was trained on is the view: fewer codes than the edition has.
    assert trained['details']['settings']['data']['relation_index'] == str(view.relation_index)
    flat = read_json(run.stage('stage_1_easy') / 'model' / 'config.json')
    assert flat['settings']['curvature'] == 0
    placed = pl.read_parquet(run.path / 'training' / 'embeddings.parquet')
    assert placed['code'].to_list() == splits['code'].to_list()

    capfd.readouterr()
    main(arguments)
    said = capfd.readouterr().err
    # Three stages and one table of embeddings.
    assert said.count('done before') == 4
    assert 'fit --config' not in said
    assert read_json(sample.benchmark('heldout_codes'))['metrics'] == result['metrics']


def test_what_each_protocol_asks(sample: EditionFolder, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = NaicsEmbedder(TINY, hyperbolic_dim=4)
    model.save_pretrained(tmp_path / 'run' / 'training' / LAST_STAGE / 'model')
    codes = pl.read_parquet(sample.descriptions)
    points = model.encode(codes['title'].to_list())
    run = EditionFolder(tmp_path, 'run')
    table = embedding_table(codes, points.tangent, 1.0, points.unit)
    write_parquet(table, embeddings_of(run, 'embeddings'))
    asked = ('cold', 'warm', 'heldout_subtrees')
    views = {name: build_view(sample, PROTOCOLS[name], TINY) for name in asked}
    groups = {
        name: {
            key.split('/')[0] for key in measure(sample, views[name], run, PROTOCOLS[name], print)
        }
        for name in asked
    }
    assert groups == {
        name: {
            'structure',
            *(f'{reading}{name}{part}' for reading in ('', 'flat_', 'known_') for part in parts),
        }
        for name, parts in (('cold', ('', '_unquoted')), ('warm', ('', '_hard')))
    } | {
        # No structure: seen and unseen codes in one figure would say nothing of either.
        'heldout_subtrees': {'heldout_subtrees', 'flat_heldout_subtrees'},
    }


def test_folds_are_trained_one_by_one_and_counted_together(
    sample: EditionFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = pl.read_parquet(sample.descriptions)
    folder = EditionFolder(tmp_path, 'sample')
    for name in ('descriptions', 'activities', 'code_splits'):
        write_parquet(pl.read_parquet(sample.file(name)), folder.file(name))
    trained = []

    def ground(_: EditionFolder, part: Protocol, *__: object) -> Ground:
        return Ground(folder.view(part.name), Asked({}), {})

    def train(ground: Ground, part: Protocol, _: str, geometry: str, seed: int, __: object):
        """Put every code at a place of its own, another one in each fold."""
        trained.append((part.name, geometry, seed))
        run = EditionFolder(ground.view.path, f'{geometry}_seed_{seed}')
        torch.manual_seed(len(trained))
        points, unit = torch.randn(len(codes), 3), normalize(torch.randn(len(codes), 5))
        table = embedding_table(codes, points, 1.0, unit)
        write_parquet(table, embeddings_of(run, 'embeddings'))
        return run

    monkeypatch.setattr('naics_model.benchmark.job.prepare_ground', ground)
    monkeypatch.setattr('naics_model.benchmark.job.trained_run', train)
    whole = PROTOCOLS['heldout_folds']
    with open_reporter(folder.benchmark(whole.name)) as reporter:
        benchmark(folder, whole, Options('smoke', (0, 1), ('lorentz',)), reporter)
    assert trained == [(name, 'lorentz', seed) for seed in (0, 1) for name in FOLD_PROTOCOLS]
    figures = read_json(folder.benchmark(whole.name))['metrics']
    splits = pl.read_parquet(folder.code_splits)
    hidden = splits.filter(pl.col('fold') > 0).height
    for reading in ('', 'flat_'):
        counted = {name: figures[f'lorentz/{reading}heldout_folds/{name}'] for name in FIGURES}
        assert counted['all_levels_asked'] + counted['trivial_asked'] == hidden
        # The same by the figures of each part, weighed by how many codes it asked.
        total = 0.0
        for seed in (0, 1):
            for part in whole.parts:
                run = EditionFolder(folder.view(part.name).path, f'lorentz_seed_{seed}')
                found = measure(folder, folder.view(part.name), run, part, print)
                asked = found[f'{reading}{part.name}/all_levels_asked']
                total += asked * found[f'{reading}{part.name}/all_levels_parent_mrr'] / 2
        expected = pytest.approx(total / counted['all_levels_asked'])
        assert counted['all_levels_parent_mrr'] == expected


def test_new_codes_look_for_their_predecessors(
    sample: EditionFolder, profile: Path, tmp_path: Path
) -> None:
    new, old = EditionFolder(tmp_path, '2022'), EditionFolder(tmp_path, '2017')
    codes = pl.read_parquet(sample.descriptions)
    leaves = codes.filter(pl.col('level') == 6)['code'].to_list()
    # In the edition before, one code had another number.
    renamed = next(c for c in leaves if c[:5] + '9' not in leaves)
    was = renamed[:5] + '9'
    write_parquet(codes, new.descriptions)
    write_parquet(pl.read_parquet(sample.activities), new.activities)
    write_parquet(pl.read_parquet(sample.code_splits), new.code_splits)
    write_parquet(
        codes.with_columns(
            code=pl.col('code').replace(renamed, was),
            excluded_codes=pl.lit(None, pl.List(pl.String)),
            excluded=pl.lit(None, pl.String),
        ),
        old.descriptions,
    )
    pairs = [(was if code == renamed else code, '', code, '') for code in leaves]
    columns = ['from_code', 'from_title', 'to_code', 'to_title']
    write_parquet(pl.DataFrame(pairs, schema=columns, orient='row'), new.concordance)
    options = Options(str(profile), (0,), ('lorentz',))
    with open_reporter(new.benchmark('editions')) as reporter:
        benchmark(new, PROTOCOLS['editions'], options, reporter)
    metrics = read_json(new.benchmark('editions'))['metrics']
    assert metrics['lorentz/editions/asked'] == 1
    trained = EditionFolder(new.view('editions').path, 'lorentz_seed_0')
    before = read_embeddings(embeddings_of(trained, 'before'))
    after = read_embeddings(embeddings_of(trained, 'embeddings'))
    point = torch.from_numpy(after.tangent[[after.codes.index(renamed)]])
    distance = pairwise_distance(point, torch.from_numpy(before.tangent))[0]
    among = [i for i, level in enumerate(before.levels) if level == 6]
    rank = sum(bool(distance[i] <= distance[before.codes.index(was)]) for i in among)
    assert metrics['lorentz/editions/mrr'] == pytest.approx(1 / rank)


def test_an_edition_with_none_before_it_says_so(sample: EditionFolder, tmp_path: Path) -> None:
    options = Options('smoke', (0,), ('lorentz',))
    with (
        open_reporter(tmp_path / 'result.json') as reporter,
        pytest.raises(DataError, match='Edition sample has no edition before it'),
    ):
        benchmark(sample, PROTOCOLS['editions'], options, reporter)


def test_figures_are_means_over_the_seeds_that_all_have_them() -> None:
    found = {
        'lorentz': [{'cold/mrr': 0.5, 'structure/worst_distortion': 9.0}, {'cold/mrr': 0.7}],
        'euclidean': [{'a/b': 1.0}],
    }
    means, spread = _means(found)
    assert means == pytest.approx({'lorentz/cold/mrr': 0.6, 'euclidean/a/b': 1})
    # Of one seed nothing is known about the spread.
    assert spread == pytest.approx({'lorentz/cold/mrr': 0.2 / 2**0.5})


def test_what_is_said_of_models_names_profile_seeds_and_spread() -> None:
    one = Options('smoke', (0,), ('lorentz', 'euclidean'))
    assert _said(PROTOCOLS['cold'], one, {}) == (
        'Lorentz and Euclidean: models trained for the protocol “cold” with the '
        'profile “smoke”, one run with seed 0.'
    )
    three = Options('/some/where/long.yaml', (0, 1, 2), ('lorentz',))
    said = _said(PROTOCOLS['cold'], three, {'lorentz/cold/mrr': 0.01, 'lorentz/cold/share': 0.5})
    assert 'profile “long”, means over seeds 0, 1, 2.' in said
    assert 'up to 0.010 between seeds' in said
