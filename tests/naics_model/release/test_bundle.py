"""The released model: what passes the gate, or the text embeddings; never half of either."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch

from naics_model.encoder.backbones import TINY
from naics_model.encoder.embedder import NaicsEmbedder
from naics_model.encoder.table import embedding_table, read_embeddings
from naics_model.errors import DataError
from naics_model.evaluation.gate import Thresholds
from naics_model.jobs.command import run_command
from naics_model.release.__main__ import main
from naics_model.release.bundle import release
from naics_model.storage.files import read_json, sha256_of, write_json, write_parquet
from naics_model.storage.layout import EditionFolder
from naics_model.training.stages import LAST_STAGE

CODES = pl.DataFrame(
    {'index': [0, 1], 'code': ['11', '111'], 'level': [2, 3], 'title': ['Farming', 'Crops']}
)
FIGURES = {
    'structure/spearman': 0.98,
    'structure/spearman_within_sectors': 0.96,
    'structure/edge_map': 0.99,
    'structure/average_distortion': 0.03,
    'structure/leaf_ndcg_at_10': 0.9,
    'structure/parent_hit_at_1': 0.8,
    'warm/mrr': 0.7,
}


def measured(folder: EditionFolder, what: str, **changed: float) -> None:
    """Write what a measuring job would have."""
    figures = {**FIGURES, **changed}
    table = folder.file(f'{what}_embeddings')
    write_json(
        {
            'metrics': {
                **{f'{what}/{name}': value for name, value in figures.items()},
                f'{what}_nearest/warm/mrr': figures['warm/mrr'] + 0.1,
            },
            'details': {'inputs': {table.stem: sha256_of(table)}},
        },
        folder.evaluated(what),
    )


@pytest.fixture
def folder(tmp_path: Path) -> EditionFolder:
    edition = EditionFolder(tmp_path, 'sample')
    torch.manual_seed(0)
    encoder = NaicsEmbedder(TINY, hyperbolic_dim=4)
    encoder.save_pretrained(edition.stage(LAST_STAGE) / 'model')
    for number, what in enumerate(('text', 'refined')):
        table = embedding_table(CODES, torch.full((2, 4), 0.1 + number), 1.0)
        write_parquet(table, edition.file(f'{what}_embeddings'))
        measured(edition, what)
    return edition


def test_refined_embeddings_that_pass_are_released(folder: EditionFolder) -> None:
    released = release(folder, Thresholds())
    assert released.which == 'refined'
    found = read_embeddings(folder.release / 'embeddings.parquet')
    assert (found.tangent == read_embeddings(folder.refined_embeddings).tangent).all()
    record = read_json(folder.release / 'release.json')
    assert record['embeddings'] == 'refined'
    assert record['why'] == 'The refined embeddings pass the gate.'
    assert [verdict['passed'] for verdict in record['verdicts']] == [True] * 9
    for name, digest in record['files'].items():
        assert sha256_of(folder.release / name) == digest
    assert '**refined\nembeddings**' in (folder.release / 'README.md').read_text()


def test_the_released_encoder_places_text(folder: EditionFolder) -> None:
    release(folder, Thresholds())
    texts = ['Growing soybeans']
    released, trained = (
        NaicsEmbedder.from_pretrained(path).encode(texts).tangent
        for path in (folder.release / 'encoder', folder.stage(LAST_STAGE) / 'model')
    )
    torch.testing.assert_close(released, trained)


def test_where_the_gate_fails_the_text_embeddings_are_released_with_the_reason(
    folder: EditionFolder,
) -> None:
    release(folder, Thresholds())
    measured(folder, 'refined', **{'structure/edge_map': 0.9, 'warm/mrr': 0.6})
    released = release(folder, Thresholds())
    assert released.which == 'text'
    assert released.why == (
        'The refined embeddings do not pass the gate (edge mAP 0.900; MRR by the codes alone '
        '0.600, of the text embeddings 0.700; MRR with known activities 0.700, of the text '
        'embeddings 0.800): these are the text embeddings.'
    )
    found = read_embeddings(folder.release / 'embeddings.parquet')
    assert (found.tangent == read_embeddings(folder.text_embeddings).tangent).all()
    assert read_json(folder.release / 'release.json')['embeddings'] == 'text'
    assert '**text\nembeddings**' in (folder.release / 'README.md').read_text()
    # Asked for less, it passes.
    less = replace(Thresholds(), edge_map=0.9, mrr_drop=0.2)
    assert release(folder, less).which == 'refined'


def test_equal_content_is_one_version(folder: EditionFolder) -> None:
    first = release(folder, Thresholds())
    assert release(folder, Thresholds()).version == first.version
    measured(folder, 'refined', **{'structure/edge_map': 0.9})
    assert release(folder, Thresholds()).version != first.version


def test_figures_of_other_embeddings_release_nothing(folder: EditionFolder) -> None:
    release(folder, Thresholds())
    before = (folder.release / 'release.json').read_bytes()
    table = embedding_table(CODES, torch.full((2, 4), 0.7), 1.0)
    write_parquet(table, folder.refined_embeddings)
    with pytest.raises(DataError, match='was measured of other embeddings'):
        release(folder, Thresholds())
    assert (folder.release / 'release.json').read_bytes() == before


def test_the_command_releases_and_says_why(
    folder: EditionFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ['--edition', 'sample', '--data-dir', str(folder.root)]
    assert run_command(main, [*arguments, '--edge-map', '0.995']) == 0
    said = capsys.readouterr().out
    assert 'FAILED  edge mAP is at least 0.995. (edge mAP 0.990)' in said
    assert 'these are the text embeddings' in said
    folder.evaluated('text').unlink()
    assert run_command(main, arguments) == 1
    assert capsys.readouterr().err.startswith('Error: ')
