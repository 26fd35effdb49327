"""The refinement command: its mistakes in this process, its work in one of its own."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from naics_model.encoder.backbones import TINY
from naics_model.encoder.embedder import NaicsEmbedder
from naics_model.encoder.table import embedding_table, read_embeddings
from naics_model.geometry.lorentz import pairwise_distance, soft_clip
from naics_model.jobs.command import run_command
from naics_model.refinement.attach import attach
from naics_model.refinement.cli import refine
from naics_model.storage.files import sha256_of, write_parquet
from naics_model.storage.tensors import read_tensors
from tests.forked import run_module

CODES = [
    code
    for sector in ('11', '22', '54')
    for code in (
        sector,
        *(sector + tail for tail in ('1', '11', '111', '1111', '1112', '112', '1121')),
        *(sector + tail for tail in ('2', '21', '211', '2111', '2112')),
    )
]
SMALL = [
    '--model.codes_per_step=30',
    '--steps_per_epoch=150',
    '--model.learning_rate=0.03',
    '--trainer.max_epochs=3',
    '--trainer.log_every_n_steps=50',
]


@dataclass(frozen=True)
class Job:
    descriptions: Path
    embeddings: Path
    folder: Path

    def arguments(self, *more: str, name: str = 'run') -> list[str]:
        inputs = ['--embeddings', self.embeddings, '--descriptions', self.descriptions]
        outputs = ['--out', self.folder / name / 'refined.parquet', '--run_dir', self.folder / name]
        return [str(a) for a in ('--config', 'smoke', *inputs, *outputs, *SMALL, *more)]


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return run_module('naics_model.refinement', arguments, clean_environment())


def clean_environment() -> dict[str, str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(('MLFLOW', 'DAGSTER', 'NAICS'))}
    return {**env, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}


@pytest.fixture(scope='module')
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp('refinement')
    files = Job(folder / 'descriptions.parquet', folder / 'text.parquet', folder)
    descriptions = pl.DataFrame(
        {
            'index': range(len(CODES)),
            'code': CODES,
            'level': [len(code) for code in CODES],
            'title': [f'Title of {code}' for code in CODES],
            'excluded_codes': [['111']] + [None] * (len(CODES) - 1),
        }
    )
    write_parquet(descriptions, files.descriptions)
    noise = torch.randn(len(CODES), 8, generator=torch.Generator().manual_seed(0))
    write_parquet(embedding_table(descriptions, soft_clip(noise), 1.0), files.embeddings)
    return files


@pytest.fixture(scope='module')
def result(job: Job) -> Any:
    done = run(job.arguments())
    assert done.returncode == 0, done.stderr
    assert 'epoch 3: ' in done.stderr
    return json.loads((job.folder / 'run' / 'result.json').read_text())


def test_refinement_brings_the_tree_into_the_space(result: Any) -> None:
    metrics = result['metrics']
    assert metrics['spearman_before'] < 0.3
    assert metrics['spearman_after'] > 0.8
    history = result['details']['history']
    assert history[-1]['val/loss'] < history[0]['val/loss']
    by_tree = {'val/hierarchy_fit', 'val/triplet', 'val/radius_ladder', 'val/anchoring'}
    assert by_tree <= set(history[0])
    assert 'val/phrases' not in history[0]
    assert history[0]['train/curvature_0'] != history[-1]['train/curvature_0']


def test_the_table_has_every_code_in_the_text_s_space(result: Any, job: Job) -> None:
    before = read_embeddings(job.embeddings)
    after = read_embeddings(Path(result['files']['embeddings']['path']))
    assert after.codes == before.codes
    assert after.tangent.shape == before.tangent.shape
    assert after.curvature == before.curvature
    assert np.linalg.norm(after.tangent, axis=1).max() < 6
    for entry in result['files'].values():
        assert sha256_of(Path(entry['path'])) == entry['sha256']


def test_anchoring_keeps_codes_near_their_texts(job: Job) -> None:
    done = run(job.arguments('--model.weights.anchoring=100', name='anchored'))
    assert done.returncode == 0, done.stderr
    before = read_embeddings(job.embeddings).tangent
    moved = {
        name: np.linalg.norm(
            read_embeddings(job.folder / name / 'refined.parquet').tangent - before, axis=1
        ).mean()
        for name in ('run', 'anchored')
    }
    assert moved['anchored'] < 0.2 * moved['run']


def test_flat_embeddings_are_refined_in_flat_space(job: Job) -> None:
    descriptions = pl.read_parquet(job.descriptions)
    noise = torch.randn(len(CODES), 8, generator=torch.Generator().manual_seed(0))
    flat = job.folder / 'flat.parquet'
    write_parquet(embedding_table(descriptions, soft_clip(noise, curvature=0.0), 0.0), flat)
    done = run(job.arguments('--embeddings', str(flat), name='control'))
    assert done.returncode == 0, done.stderr
    metrics = json.loads((job.folder / 'control' / 'result.json').read_text())['metrics']
    assert metrics['train_curvature_0'] == 0
    assert metrics['spearman_after'] > max(0.8, metrics['spearman_before'])
    after = read_embeddings(job.folder / 'control' / 'refined.parquet')
    assert after.curvature == 0
    assert np.linalg.norm(after.tangent, axis=1).max() < 6


def test_two_ranks_have_the_result_of_one(job: Job) -> None:
    short = ('--steps_per_epoch=30', '--trainer.max_epochs=1')
    for name, more in (('alone', short), ('ranks', (*short, '--trainer.devices=2'))):
        done = run(job.arguments(*more, name=name))
        assert done.returncode == 0, done.stderr
        assert done.stderr.count('epoch 1: ') == 1
    alone, ranks = (
        read_embeddings(job.folder / name / 'refined.parquet').tangent
        for name in ('alone', 'ranks')
    )
    assert np.abs(alone - read_embeddings(job.embeddings).tangent).max() > 0.1
    np.testing.assert_allclose(ranks, alone, atol=1e-3)


@pytest.fixture(scope='module')
def asked(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Codes of all levels with a tiny encoder, and phrases in words of their own."""
    folder = tmp_path_factory.mktemp('asked')
    files = Job(folder / 'descriptions.parquet', folder / 'text.parquet', folder)
    descriptions = pl.DataFrame(
        {
            'index': range(len(CODES)),
            'code': CODES,
            'level': [len(code) for code in CODES],
            'title': [f'Title of {code}' for code in CODES],
            'excluded_codes': [['2211'], *[None] * (len(CODES) - 1)],
        },
        schema_overrides={'excluded_codes': pl.List(pl.String)},
    )
    write_parquet(descriptions, files.descriptions)
    torch.manual_seed(0)
    encoder = NaicsEmbedder(TINY, hyperbolic_dim=8)
    encoder.save_pretrained(folder / 'model')
    found = encoder.encode(descriptions['title'].to_list())
    table = embedding_table(descriptions, found.tangent, 1.0, found.unit)
    write_parquet(table, files.embeddings)
    six = [code for code in CODES if len(code) == 6]
    entries = [(f'{word} {code[::-1]}', code) for code in six for word in ('making', 'selling')]
    # The titles of sectors are phrases, too, and of no code that can be an answer.
    above = [(f'title {code}', code) for code in CODES if len(code) == 2]
    phrases = pl.DataFrame(
        {
            'text': [text for text, _ in (*entries, *above)],
            'code': [code for _, code in (*entries, *above)],
            'split': ['train', 'validation'] * len(six) + ['train'] * len(above),
        }
    )
    write_parquet(phrases, folder / 'phrases.parquet')
    return files


SEARCH = ('--model.weights.phrases=30', '--model.weights.anchoring=0')


def with_phrases(job: Job) -> list[str]:
    return [
        f'--phrases={job.folder / "phrases.parquet"}',
        f'--encoder={job.folder / "model"}',
        f'--queries={job.folder / "queries.safetensors"}',
    ]


@pytest.fixture(scope='module')
def refined_for_search(asked: Job) -> Any:
    done = run(asked.arguments(*with_phrases(asked), '--model.edges.exclusions=true', *SEARCH))
    assert done.returncode == 0, done.stderr
    return json.loads((asked.folder / 'run' / 'result.json').read_text())


def test_phrases_are_found_better_and_those_set_aside_are_never_read(
    refined_for_search: Any, asked: Job
) -> None:
    history = refined_for_search['details']['history']
    # A random encoder leaves little room: it puts all phrases of a kind near each other.
    assert history[-1]['val/phrases'] < history[0]['val/phrases'] - 0.03
    assert abs(history[-1]['train/repulsion_0']) > 0
    phrases = pl.read_parquet(asked.folder / 'phrases.parquet')
    learned = phrases.filter(pl.col('split') == 'train', pl.col('code').str.len_chars() == 6)
    assert refined_for_search['details']['phrases'] == len(learned)
    header, _ = read_tensors(asked.folder / 'queries.safetensors', 'queries')
    assert set(header['texts']) == set(learned['text'])
    # The flat reading is carried over.
    before = read_embeddings(asked.embeddings)
    after = read_embeddings(asked.folder / 'run' / 'refined.parquet')
    assert before.unit is not None
    np.testing.assert_array_equal(after.unit, before.unit)


def test_a_code_that_is_new_is_attached_by_its_text(refined_for_search: Any, asked: Job) -> None:
    # New codes with the texts of known ones: what they belong to is known.
    table = pl.read_parquet(asked.embeddings)
    like = ['1111', '2211', '541111']
    rows = pl.concat([table.filter(pl.col('code') == code) for code in like])
    new = asked.folder / 'new.parquet'
    write_parquet(rows.with_columns(code=pl.Series(['1199', '2299', '541199'])), new)
    out = asked.folder / 'placed.parquet'
    arguments = ['--run_dir', asked.folder / 'run', '--embeddings', asked.embeddings]
    arguments += ['--descriptions', asked.descriptions, '--new', new, '--out', out]
    before = (asked.folder / 'run' / 'refined.parquet').read_bytes()
    assert run_command(attach, [str(word) for word in arguments]) == 0
    placed = pl.read_parquet(out)
    assert placed['code'].to_list() == ['1199', '2299', '541199']
    nearest = {}
    text = table['tangent'].to_numpy()
    for code in like:
        above = np.flatnonzero(table['level'] == len(code) - 1)
        own = torch.from_numpy(text[table['code'].to_list().index(code)][None].copy())
        distance = pairwise_distance(own, torch.from_numpy(text[above]), 1.0)[0]
        nearest[code] = table['code'][int(above[int(distance.argmin())])]
    assert placed['parent'].to_list() == [nearest[code] for code in like]
    # The network has moved them, and no other code.
    assert (np.linalg.norm(placed['tangent'].to_numpy() - rows['tangent'].to_numpy(), axis=1)).min()
    assert (asked.folder / 'run' / 'refined.parquet').read_bytes() == before
    again = [*map(str, arguments[:-4]), '--new', str(asked.embeddings), '--out', str(out)]
    assert run_command(attach, again) == 1


@pytest.mark.parametrize('missing', [0, 1, 2])
def test_phrases_encoder_and_queries_go_together(
    asked: Job, missing: int, capsys: pytest.CaptureFixture[str]
) -> None:
    some = [word for place, word in enumerate(with_phrases(asked)) if place != missing]
    assert run_command(refine, asked.arguments(*some, name='some')) == 1
    assert '--phrases, --encoder and --queries go together' in capsys.readouterr().err


def test_a_dry_run_writes_nothing(asked: Job, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = asked.arguments(*with_phrases(asked)[:2], name='dry')
    arguments += [f'--queries={asked.folder / "dry.safetensors"}', '--dry-run']
    assert run_command(refine, arguments) == 0
    assert not (asked.folder / 'dry').exists()
    assert not (asked.folder / 'dry.safetensors').exists()


@pytest.mark.parametrize(
    ('more', 'sentence'),
    [
        (('--embeddings', 'gone.parquet'), '--embeddings gone.parquet does not exist'),
        (('--model.layers', 'two'), 'model.layers'),
        (('--config', 'tiny'), 'the profiles are cpu, gpu, smoke'),
        (('--ckpt_path', 'gone.ckpt'), '--ckpt_path gone.ckpt does not exist'),
    ],
)
def test_a_wrong_setting_is_one_sentence_and_exit_code_1(
    job: Job, more: tuple[str, str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(refine, job.arguments(*more, name='wrong')) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert sentence in lines[0]


def test_embeddings_of_another_edition_are_refused(
    job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shorter = tmp_path / 'descriptions.parquet'
    write_parquet(pl.read_parquet(job.descriptions).head(20), shorter)
    arguments = job.arguments('--descriptions', str(shorter), name='wrong')
    assert run_command(refine, arguments) == 1
    assert 'do not hold the same codes' in capsys.readouterr().err
