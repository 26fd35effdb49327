"""`naics evaluate` on tables of any origin: the suite's figures, one sentence where wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from scipy.spatial.distance import cdist

from naics_model.cli import main
from naics_model.corpus.descriptions import taxonomy_of
from naics_model.dataset.steps import steps_of
from naics_model.encoder.backbones import MINILM
from naics_model.encoder.table import embedding_table
from naics_model.evaluation.structure import structure_metrics
from naics_model.geometry.lorentz import pairwise_distance
from naics_model.storage.files import read_json
from naics_model.storage.layout import EditionFolder


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> EditionFolder:
    folder = EditionFolder(tmp_path_factory.mktemp('data'), 'sample')
    for step in steps_of(folder, None, MINILM):
        step.run(lambda line: None)
        if step.name == 'descriptions':
            break
    return folder


@pytest.fixture(scope='module')
def codes(folder: EditionFolder) -> pl.DataFrame:
    return pl.read_parquet(folder.descriptions)


@pytest.fixture(scope='module')
def vectors(codes: pl.DataFrame) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(len(codes), 5)).astype(np.float32)


@pytest.fixture
def evaluate(folder: EditionFolder, tmp_path: Path) -> Callable[..., dict[str, float]]:
    def run(table: pl.DataFrame, *arguments: str) -> dict[str, float]:
        table.write_parquet(tmp_path / 'table.parquet')
        command = ['evaluate', str(tmp_path / 'table.parquet'), '--edition', 'sample']
        command += ['--data-dir', str(folder.root), '--out', str(tmp_path / 'figures.json')]
        with pytest.raises(SystemExit) as ended:
            assert main([*command, *arguments]) == 0
        assert ended.value.code == 0
        return read_json(tmp_path / 'figures.json')['metrics']

    return run


def table_of(codes: pl.DataFrame, vectors: np.ndarray, name: str = 'embedding') -> pl.DataFrame:
    return pl.DataFrame({'code': codes['code'], name: vectors.tolist()})


def structure(codes: pl.DataFrame, distance: np.ndarray) -> dict[str, float]:
    figures = structure_metrics(distance, taxonomy_of(codes), codes['title'].to_list())
    return {f'structure/{name}': value for name, value in figures.items()}


def test_flat_vectors_of_anybody(
    codes: pl.DataFrame,
    vectors: np.ndarray,
    evaluate: Callable[..., dict[str, float]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    # In another order, with a code that is not of the edition, and numbers as codes.
    table = table_of(codes, vectors).vstack(
        pl.DataFrame({'code': ['999'], 'embedding': [[1.0] * 5]})
    )
    table = table.with_columns(pl.col('code').cast(pl.Int64)).sample(
        fraction=1, shuffle=True, seed=1
    )
    found = evaluate(table)
    expected = structure(codes, cdist(vectors, vectors))
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found['radius/mean_level_6'] == pytest.approx(
        np.linalg.norm(vectors, axis=1)[codes['level'] == 6].mean()
    )
    said = capsys.readouterr().out
    assert '235 codes of edition sample, column embedding, 5 numbers, euclidean' in said
    assert 'Spearman, all pairs' in said
    assert 'Search' not in said


def test_paths_are_shown_as_they_are(
    codes: pl.DataFrame,
    vectors: np.ndarray,
    folder: EditionFolder,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = '[old] [/y] :warning:'
    table, figures = tmp_path / f'{name}.parquet', tmp_path / f'{name}.json'
    table.parent.mkdir()
    table_of(codes, vectors, name).write_parquet(table)
    command = ['evaluate', str(table), '-e', 'sample', '--data-dir', str(folder.root)]
    with pytest.raises(SystemExit):
        main([*command, '--out', str(figures)])
    said = capsys.readouterr().out
    assert said.startswith(f'{table}: 235 codes of edition sample, column {name}, ')
    assert said.endswith(f'Written to {figures}\n')


def test_angles_have_no_radius(
    codes: pl.DataFrame, vectors: np.ndarray, evaluate: Callable[..., dict[str, float]]
) -> None:
    found = evaluate(table_of(codes, vectors), '--space', 'cosine')
    expected = structure(codes, cdist(vectors, vectors, 'cosine'))
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert not [name for name in found if name.startswith('radius')]


@pytest.mark.parametrize('column', ['tangent', 'lorentz'])
def test_our_own_tables_under_either_column(
    codes: pl.DataFrame,
    vectors: np.ndarray,
    evaluate: Callable[..., dict[str, float]],
    column: str,
) -> None:
    curvature = 0.5
    found = evaluate(embedding_table(codes, vectors, curvature), '--column', column)
    tangent = torch.as_tensor(vectors, dtype=torch.float64)
    expected = structure(codes, pairwise_distance(tangent, tangent, curvature).numpy())
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-4)


def test_our_own_table_of_a_flat_model(
    codes: pl.DataFrame,
    vectors: np.ndarray,
    evaluate: Callable[..., dict[str, float]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    leaves = np.flatnonzero(codes['level'] == 6)
    queries = pl.DataFrame(
        {'code': codes['code'].gather(leaves), 'tangent': vectors[leaves].tolist()}
    )
    queries.write_parquet(tmp_path / 'queries.parquet')
    table = embedding_table(codes, vectors, 0.0)
    for asked in ([], ['--space', 'lorentz']):
        found = evaluate(table, '--queries', str(tmp_path / 'queries.parquet'), *asked)
        expected = structure(codes, cdist(vectors, vectors))
        assert {name: found[name] for name in expected} == pytest.approx(expected)
        assert found['radius/mean_level_6'] == pytest.approx(
            np.linalg.norm(vectors[leaves], axis=1).mean()
        )
        assert found['retrieval/hit_at_1'] == 1
        assert 'column tangent, 5 numbers, euclidean' in capsys.readouterr().out


def test_search_with_the_encoder_of_another(
    codes: pl.DataFrame,
    vectors: np.ndarray,
    evaluate: Callable[..., dict[str, float]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    leaves = np.flatnonzero(codes['level'] == 6)
    # The first texts stand where their codes stand, the last where another code stands.
    asked = [*leaves[:3], leaves[4]]
    right = [codes['code'][int(i)] for i in (*leaves[:3], leaves[3])]
    queries = pl.DataFrame({'code': right, 'embedding': vectors[asked].tolist()})
    queries.write_parquet(tmp_path / 'queries.parquet')
    found = evaluate(table_of(codes, vectors), '--queries', str(tmp_path / 'queries.parquet'))
    assert found['retrieval/hit_at_1'] == 0.75
    assert '4 queries' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('change', 'arguments', 'sentence'),
    [
        (lambda t: t.drop('code'), [], 'has no column code'),
        (lambda t: t.drop('embedding'), [], 'must have one column of vectors'),
        (lambda t: t.with_columns(b='embedding'), [], 'but has embedding, b: name one'),
        (lambda t: t.head(200), [], 'has no vector of 35 of 235 codes'),
        (lambda t: pl.concat([t, t.head(1)]), [], 'more than one vector of code 11'),
        (
            lambda t: t.with_columns(
                embedding=pl.when(pl.col('code') == '11').then([1.0]).otherwise('embedding')
            ),
            [],
            'vectors of different lengths in embedding (1, 5)',
        ),
        (
            lambda t: t.with_columns(embedding=pl.col('embedding').list.eval(pl.element() / 0)),
            [],
            'numbers in embedding that are not finite',
        ),
        (
            lambda t: t.with_columns(curvature=pl.int_range(pl.len())),
            ['--space', 'lorentz'],
            'must have one positive number as curvature',
        ),
        (lambda t: t, ['--queries', 'nowhere.parquet'], 'nowhere.parquet does not exist'),
        (lambda t: t, ['--edition', '2017'], 'descriptions.parquet does not exist'),
    ],
)
def test_a_table_that_will_not_do_gets_one_sentence(
    codes: pl.DataFrame,
    vectors: np.ndarray,
    folder: EditionFolder,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[pl.DataFrame], pl.DataFrame],
    arguments: list[str],
    sentence: str,
) -> None:
    path = tmp_path / 'table.parquet'
    change(table_of(codes, vectors)).write_parquet(path)
    command = ['evaluate', str(path), '--data-dir', str(folder.root), '--edition', 'sample']
    assert main([*command, *arguments]) == 1
    said = capsys.readouterr().err
    assert said.startswith('Error: ')
    assert sentence in said
    assert said.count('\n') == 1
