"""A small edition for the encoder's tests: six codes, some without some channels."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from naics_model.encoder.backbones import TINY, resolve_backbone
from naics_model.encoder.tokens import TokenCache, build_token_cache

ROWS = [
    ('11', 'Agriculture', 'Growing crops and raising animals.', 'Packing is elsewhere.', None),
    ('111', 'Crop Production', 'Farms that grow crops.', None, 'Vineyards; orchards'),
    ('1111', 'Oilseed and Grain Farming', 'Growing oilseed and grain crops.', None, None),
    ('311', 'Food Manufacturing', 'Transform livestock. ' * 30, 'Farms are elsewhere.', '  '),
    ('31', 'Manufacturing', 'Mechanical or chemical transformation.', None, 'Bakeries'),
    ('22', 'Utilities', 'Electric power, gas, steam and water.', 'Waste is elsewhere.', None),
]


@pytest.fixture(scope='session')
def descriptions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('corpus') / 'descriptions.parquet'
    codes, titles, texts, excluded, examples = zip(*ROWS, strict=True)
    pl.DataFrame(
        {
            'index': pl.Series(range(len(ROWS)), dtype=pl.UInt32),
            'level': pl.Series([len(code) for code in codes], dtype=pl.UInt8),
            'code': codes,
            'title': titles,
            'description': texts,
            'excluded': excluded,
            'examples': examples,
        }
    ).write_parquet(path)
    return path


@pytest.fixture(scope='session')
def cache_path(descriptions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('tokens') / 'token_cache.safetensors'
    build_token_cache(descriptions, path, backbone=TINY, max_length=32)
    return path


@pytest.fixture(scope='session')
def cache(cache_path: Path) -> TokenCache:
    return TokenCache.load(cache_path)


@pytest.fixture(autouse=True)
def _forget_patched_backbones() -> None:
    """A test may let the hub answer with a folder of its own; the next one must not see it."""
    resolve_backbone.cache_clear()
