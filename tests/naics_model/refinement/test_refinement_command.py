"""The refinement command: its mistakes in this process, its work in one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from naics_model.encoder.table import embedding_table, read_embeddings
from naics_model.geometry.lorentz import soft_clip
from naics_model.jobs.command import run_command
from naics_model.refinement.cli import refine
from naics_model.storage.files import sha256_of, write_parquet

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


def run(arguments: list[str], *launcher: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(('MLFLOW', 'DAGSTER', 'NAICS'))}
    return subprocess.run(
        [sys.executable, '-m', *launcher, 'naics_model.refinement', *arguments],
        env={**env, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''},
        capture_output=True,
        text=True,
        timeout=300,
    )


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
    assert {'val/hierarchy_fit', 'val/triplet', 'val/radius_ladder', 'val/anchoring'} <= set(
        history[0]
    )
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


def test_under_torchrun_the_result_is_the_same(result: Any, job: Job) -> None:
    torchrun = ('torch.distributed.run', '--standalone', '--nproc-per-node', '2', '-m')
    done = run(job.arguments(name='ranks'), *torchrun)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count('epoch 3: ') == 1
    alone, ranks = (
        read_embeddings(job.folder / name / 'refined.parquet').tangent for name in ('run', 'ranks')
    )
    np.testing.assert_allclose(ranks, alone, atol=1e-3)


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
