"""A synthetic edition of 60 codes, small enough to train on in a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from naics_model.curriculum.stage import Stage
from naics_model.encoder.tokens import DOCUMENT, TokenCache, build_token_cache
from naics_model.storage.files import write_parquet
from naics_model.taxonomy.distances import distance_table
from naics_model.taxonomy.tree import Taxonomy, parent_of
from naics_model.training.data import DataSettings, StepDataModule
from naics_model.training.phrases import read_phrases
from naics_model.triplets.relation_index import RelationIndex, build_relation_index

WORDS = [
    'grain',
    'timber',
    'steel',
    'cotton',
    'sugar',
    'glass',
    'paper',
    'cement',
    'dairy',
    'copper',
    'leather',
    'rubber',
]


def small_codes() -> list[str]:
    """Three sectors of 20 codes: 2 subsectors, 3 groups, 4 industries, 10 national industries."""
    codes: list[str] = []
    for sector in ('11', '22', '54'):
        codes.append(sector)
        for subsector, groups in (('1', '12'), ('2', '1')):
            codes.append(sector + subsector)
            for group in groups:
                codes.append(sector + subsector + group)
                for industry in '12' if group == '1' and subsector == '1' else '1':
                    codes.append(sector + subsector + group + industry)
                    national = '123' if industry == '1' and subsector == '1' else '12'
                    codes += [sector + subsector + group + industry + last for last in national]
    return codes


def describe(code: str, codes: list[str]) -> dict[str, object]:
    """A code's row: relatives share words, so that there is something to learn."""
    number = codes.index(code)
    title = ' '.join(WORDS[int(digit)] for digit in code)
    other = next((c for c in codes if len(c) == 6 and c[:5] == code[:5] and c != code), None)
    excluded = len(code) == 6 and other is not None
    return {
        'index': number,
        'level': len(code),
        'code': code,
        'title': title,
        'description': f'This comprises establishments engaged in {title}.',
        'examples': f'{title} shop; {title} works' if number % 3 == 0 else None,
        'excluded': f'{title} of another kind is in {other}' if excluded else None,
        'excluded_codes': [other] if excluded else None,
        'printed_code': code,
        'parent': parent_of(code),
    }


SCHEMA = {
    'index': pl.UInt32,
    'level': pl.UInt8,
    'code': pl.String,
    'title': pl.String,
    'description': pl.String,
    'examples': pl.String,
    'excluded': pl.String,
    'excluded_codes': pl.List(pl.String),
    'printed_code': pl.String,
    'parent': pl.String,
}


PHRASES_SCHEMA = dict.fromkeys(('text', 'code', 'source', 'split'), pl.String)


def phrases(codes: list[str]) -> list[dict[str, object]]:
    """Three entries of each six-digit code but the last, which has none, one of them set aside;
    the title of every code, and a clause of each four-digit one.
    """
    rows = [
        (f'{WORDS[int(code[-1])]} {verb} {code[:-1]}', code, 'entry', split)
        for code in codes
        if len(code) == 6 and code != codes[-1]
        for verb, split in (('making', 'train'), ('selling', 'train'), ('keeping', 'validation'))
    ]
    rows += [(describe(code, codes)['title'], code, 'title', 'train') for code in codes]
    rows += [
        (f'all kinds of {describe(code, codes)["title"]}', code, 'description', 'train')
        for code in codes
        if len(code) == 4
    ]
    return [dict(zip(PHRASES_SCHEMA, row, strict=True)) for row in rows]


@dataclass(frozen=True)
class SmallEdition:
    """The input files of a job on the synthetic edition."""

    descriptions: Path
    phrases: Path
    relation_index: Path
    token_cache: Path

    @property
    def index(self) -> RelationIndex:
        return RelationIndex.load(self.relation_index)

    @property
    def cache(self) -> TokenCache:
        return TokenCache.load(self.token_cache)


@pytest.fixture(scope='session')
def edition(tmp_path_factory: pytest.TempPathFactory) -> SmallEdition:
    folder = tmp_path_factory.mktemp('edition')
    codes = small_codes()
    files = SmallEdition(
        folder / 'descriptions.parquet',
        folder / 'phrases.parquet',
        folder / 'relation_index.safetensors',
        folder / 'token_cache.safetensors',
    )
    rows = [describe(code, codes) for code in codes]
    write_parquet(pl.DataFrame(rows, schema=SCHEMA), files.descriptions)
    write_parquet(pl.DataFrame(phrases(codes), schema=PHRASES_SCHEMA), files.phrases)
    distances = folder / 'distances.parquet'
    write_parquet(distance_table(Taxonomy.from_codes(codes)), distances)
    build_relation_index(files.descriptions, distances, files.relation_index)
    build_token_cache(files.descriptions, files.token_cache, backbone='tiny-random', max_length=24)
    return files


@pytest.fixture(scope='session')
def stage() -> Stage:
    """Siblings and parents against other sectors and cousins: what 60 codes can supply."""
    return Stage(
        name='small',
        positive_levels=(5, 6),
        positive_distance_max=3.0,
        difficulty_buckets=(1, 5),
        bucket_percentages={1: 0.75, 5: 0.25},
        k_negatives=4,
    )


@pytest.fixture(scope='session')
def stage_file(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('stage') / 'small.yaml'
    settings = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in stage.model_dump().items()
    }
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.fixture(scope='session')
def data_settings(edition: SmallEdition) -> DataSettings:
    return DataSettings(
        edition.relation_index,
        edition.token_cache,
        edition.phrases,
        phrases_per_step=20,
        other_share=0.4,
        documents_per_step=6,
        items_per_step=16,
        steps_per_epoch=5,
        val_phrases=16,
    )


@pytest.fixture(scope='session')
def make_data(
    edition: SmallEdition, stage: Stage, data_settings: DataSettings
) -> Callable[..., StepDataModule]:
    """Make a data module of the edition, with other settings where they are given."""
    phrases = read_phrases(edition.phrases, edition.index.codes, 'tiny-random')

    def build(settings: DataSettings = data_settings, **options: Any) -> StepDataModule:
        given = {'channels': [DOCUMENT], 'seed': 7, 'phrases': phrases, 'stage': stage, **options}
        return StepDataModule(edition.index, edition.cache, settings=settings, **given)

    return build
