"""The embeddings table and the job that writes it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from naics_model.encoder.__main__ import main
from naics_model.encoder.backbones import TINY
from naics_model.encoder.embedder import NaicsEmbedder
from naics_model.encoder.points import CodePoints
from naics_model.encoder.table import embedding_table, read_embeddings
from naics_model.encoder.tokens import TokenCache
from naics_model.errors import ConfigurationError, DataError
from naics_model.storage.files import sha256_of, write_parquet


def test_the_table_holds_the_same_point_in_both_forms(descriptions: Path, tmp_path: Path) -> None:
    frame = pl.read_parquet(descriptions)
    tangent = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    unit = torch.nn.functional.normalize(torch.randn(6, 5), dim=1)
    table = embedding_table(frame, tangent, 0.5, unit)
    assert dict(table.schema) == {
        'index': pl.UInt32,
        'code': pl.String,
        'level': pl.UInt8,
        'title': pl.String,
        'curvature': pl.Float32,
        'radius': pl.Float32,
        'tangent': pl.Array(pl.Float32, 3),
        'lorentz': pl.Array(pl.Float32, 4),
        'unit': pl.Array(pl.Float32, 5),
    }
    points = table['lorentz'].to_numpy()
    np.testing.assert_allclose((points[:, 1:] ** 2).sum(1) - points[:, 0] ** 2, -2.0, rtol=1e-5)
    np.testing.assert_allclose(np.cosh(table['radius']), points[:, 0] * 0.5**0.5, rtol=1e-6)

    path = tmp_path / 'embeddings.parquet'
    write_parquet(table, path)
    back = read_embeddings(path)
    assert back.codes == ('11', '111', '1111', '311', '31', '22')
    assert back.levels.tolist() == [2, 3, 4, 3, 2, 2]
    assert back.levels.dtype == np.uint8
    assert back.curvature == 0.5
    assert back.tangent.dtype == np.float32
    np.testing.assert_array_equal(back.tangent, tangent.numpy())
    assert back.unit is not None
    np.testing.assert_array_equal(back.unit, unit.numpy())
    torch.from_numpy(back.tangent).add_(1)  # writable, and not the frame's own memory


def test_a_flat_table_has_no_point_on_a_hyperboloid(descriptions: Path, tmp_path: Path) -> None:
    tangent = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    table = embedding_table(pl.read_parquet(descriptions), tangent, curvature=0.0)
    assert 'lorentz' not in table.columns
    np.testing.assert_allclose(table['radius'], tangent.norm(dim=1), rtol=1e-6)
    path = tmp_path / 'embeddings.parquet'
    write_parquet(table, path)
    back = read_embeddings(path)
    assert back.curvature == 0.0
    assert back.unit is None
    np.testing.assert_array_equal(back.tangent, tangent.numpy())
    # A curved one without its points is not whole.
    write_parquet(table.with_columns(curvature=pl.lit(1.0, pl.Float32)), path)
    with pytest.raises(DataError, match='has no column lorentz'):
        read_embeddings(path)


def test_vectors_that_do_not_fit_the_codes_are_refused(descriptions: Path) -> None:
    frame = pl.read_parquet(descriptions)
    with pytest.raises(DataError, match=r'6 codes but embeddings of shape \(5, 3\)'):
        embedding_table(frame, np.zeros((5, 3), np.float32), 1.0)
    broken = np.zeros((6, 3), np.float32)
    broken[3, 1] = np.nan
    with pytest.raises(DataError, match=r'not finite \(311\)'):
        embedding_table(frame, broken, 1.0)


def test_a_foreign_table_is_refused(descriptions: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match='has no column curvature, radius, tangent, lorentz'):
        read_embeddings(descriptions)
    table = embedding_table(pl.read_parquet(descriptions), np.ones((6, 2)), 1.0)
    mixed = table.with_columns(curvature=pl.col('index').cast(pl.Float32) + 1)
    path = tmp_path / 'mixed.parquet'
    mixed.write_parquet(path)
    with pytest.raises(DataError, match='must have one curvature, but has 6'):
        read_embeddings(path)


def test_the_job_embeds_with_a_flat_model(
    cache_path: Path, descriptions: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    NaicsEmbedder(TINY, hyperbolic_dim=8, curvature=0.0).save_pretrained(tmp_path / 'flat')
    assert NaicsEmbedder.from_pretrained(tmp_path / 'flat').curvature == 0
    main(command(tmp_path / 'flat', cache_path, descriptions, tmp_path))
    embeddings = read_embeddings(tmp_path / 'text_embeddings.parquet')
    assert embeddings.curvature == 0
    result = json.loads((tmp_path / 'result.json').read_text())
    assert result['metrics']['radius_max'] == pytest.approx(
        np.linalg.norm(embeddings.tangent, axis=1).max()
    )


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    NaicsEmbedder(TINY, hyperbolic_dim=8).save_pretrained(tmp_path / 'model')
    return tmp_path / 'model'


def command(model: Path, cache: Path, descriptions: Path, out: Path) -> list[str]:
    return [
        *('--model', str(model)),
        *('--token-cache', str(cache)),
        *('--descriptions', str(descriptions)),
        *('--out', str(out / 'text_embeddings.parquet')),
        *('--result', str(out / 'result.json')),
    ]


def test_the_job_writes_every_code_and_its_result(
    model: Path, cache_path: Path, descriptions: Path, tmp_path: Path
) -> None:
    main(command(model, cache_path, descriptions, tmp_path))
    embeddings = read_embeddings(tmp_path / 'text_embeddings.parquet')
    expected = NaicsEmbedder.from_pretrained(model).encode_codes(TokenCache.load(cache_path))
    np.testing.assert_array_equal(embeddings.tangent, expected.tangent.numpy())
    assert embeddings.unit is not None
    np.testing.assert_array_equal(embeddings.unit, expected.unit.numpy())

    result = json.loads((tmp_path / 'result.json').read_text())
    written = result['files']['embeddings']
    assert written['sha256'] == sha256_of(tmp_path / 'text_embeddings.parquet')
    assert result['metrics']['codes'] == 6
    assert result['metrics']['learned_points'] == 0
    assert result['metrics']['texts_per_second'] > 0
    assert result['metrics']['dimension'] == 8
    assert set(result['metrics']) >= {'radius_level_2', 'radius_level_3', 'radius_level_4'}
    assert result['details']['truncated_texts']['description'] == 1


def with_points(model: Path, codes: tuple[str, ...]) -> CodePoints:
    """Put learned points, which are those of no text, into the folder of a model."""
    width = NaicsEmbedder.from_pretrained(model).channels.width
    points = CodePoints(codes, width, 8)
    with torch.no_grad():
        points.vectors.normal_()
        points.offsets.normal_()
    points.save(model)
    return points


def as_leaves(descriptions: Path, tmp_path: Path) -> Path:
    """Return the descriptions with every code said to have six digits."""
    table = tmp_path / 'leaves.parquet'
    pl.read_parquet(descriptions).with_columns(level=pl.lit(6, pl.UInt8)).write_parquet(table)
    return table


@pytest.mark.parametrize('leaves', [False, True])
def test_known_codes_are_at_their_points_and_others_where_their_texts_are(
    leaves: bool, model: Path, cache_path: Path, descriptions: Path, tmp_path: Path
) -> None:
    if leaves:
        descriptions = as_leaves(descriptions, tmp_path)
    # In another order than the edition, with a code that the edition does not have.
    points = with_points(model, ('31', '99', '111', '22'))
    main(command(model, cache_path, descriptions, tmp_path))
    table = read_embeddings(tmp_path / 'text_embeddings.parquet')
    assert table.unit is not None
    embedder = NaicsEmbedder.from_pretrained(model)
    texts = embedder.encode_codes(TokenCache.load(cache_path))
    with torch.no_grad():
        learned = points(embedder.projection)
    for row, code in enumerate(table.codes):
        there, place = (learned, points.codes.index(code)) if code in points.codes else (texts, row)
        np.testing.assert_allclose(table.tangent[row], there.tangent[place], atol=1e-5)
        # Phrases train the flat points of leaves alone.
        unit = there.unit[place] if leaves else texts.unit[row]
        np.testing.assert_allclose(table.unit[row], unit, atol=1e-5)
    result = json.loads((tmp_path / 'result.json').read_text())
    assert result['metrics']['learned_points'] == 3
    assert 'texts_per_second' in result['metrics']


def test_where_every_code_is_a_leaf_with_a_point_no_text_is_encoded(
    model: Path,
    cache_path: Path,
    descriptions: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_points(model, ('11', '111', '1111', '311', '31', '22'))
    monkeypatch.delattr(NaicsEmbedder, 'encode_codes')
    main(command(model, cache_path, as_leaves(descriptions, tmp_path), tmp_path))
    result = json.loads((tmp_path / 'result.json').read_text())
    assert result['metrics']['learned_points'] == result['metrics']['codes'] == 6
    assert 'texts_per_second' not in result['metrics']
    assert 'truncated_texts' not in result['details']


def test_the_job_refuses_a_cache_of_other_texts_in_one_sentence(
    model: Path,
    cache_path: Path,
    descriptions: Path,
    tmp_path: Path,
) -> None:
    changed = tmp_path / 'descriptions.parquet'
    pl.read_parquet(descriptions).with_columns(pl.col('title') + '!').write_parquet(changed)
    with pytest.raises(ConfigurationError, match='was not cut from the texts'):
        main(command(model, cache_path, changed, tmp_path))
    assert not (tmp_path / 'result.json').exists()


def test_help_teaches_by_example_and_needs_no_torch() -> None:
    code = (
        'import sys; from naics_model.encoder.__main__ import main\n'
        'try:\n'
        "    main(['--help'])\n"
        'except SystemExit as stop:\n'
        "    assert stop.code == 0 and 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert 'example:' in done.stdout
    assert 'python -m naics_model.encoder' in done.stdout
    for option in ('--model', '--token-cache', '--descriptions', '--out', '--result'):
        assert option in done.stdout
