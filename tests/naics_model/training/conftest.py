"""A synthetic edition of 60 codes, small enough to train on in a second."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
import yaml

from naics_model.curriculum.stage import Stage
from naics_model.encoder.tokens import TokenCache, build_token_cache
from naics_model.storage.files import write_parquet
from naics_model.taxonomy.distances import distance_table
from naics_model.taxonomy.tree import Taxonomy, parent_of
from naics_model.training.data import DataSettings
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


ACTIVITIES_SCHEMA = {
    'text': pl.String,
    'code': pl.String,
    'split': pl.String,
    'verbatim': pl.Boolean,
}


def activities(codes: list[str]) -> list[dict[str, object]]:
    """Three entries of each six-digit code but the last, which has none; the third held out."""
    return [
        {
            'text': f'{WORDS[int(code[-1])]} {verb} {code[:-1]}',
            'code': code,
            'split': 'heldout' if verb == 'hidden' else 'train',
            'verbatim': False,
        }
        for code in codes
        if len(code) == 6 and code != codes[-1]
        for verb in ('making', 'selling', 'hidden')
    ]


@dataclass(frozen=True)
class SmallEdition:
    """The input files of a job on the synthetic edition."""

    descriptions: Path
    activities: Path
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
        folder / 'activities.parquet',
        folder / 'relation_index.safetensors',
        folder / 'token_cache.safetensors',
    )
    rows = [describe(code, codes) for code in codes]
    write_parquet(pl.DataFrame(rows, schema=SCHEMA), files.descriptions)
    write_parquet(pl.DataFrame(activities(codes), schema=ACTIVITIES_SCHEMA), files.activities)
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


@pytest.fixture
def data_settings(edition: SmallEdition) -> DataSettings:
    return DataSettings(
        edition.relation_index,
        edition.token_cache,
        edition.activities,
        pool_size=24,
        items_per_step=32,
        queries_per_step=10,
        steps_per_epoch=5,
        val_steps=2,
    )
