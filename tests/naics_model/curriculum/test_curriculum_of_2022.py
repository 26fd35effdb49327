"""The three built-in stages on the real taxonomy of 2022."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from naics_model.corpus.descriptions import build_descriptions, taxonomy_of
from naics_model.corpus.editions import edition
from naics_model.curriculum.checks import triplet_rows
from naics_model.curriculum.quotas import mix_of, shortfall
from naics_model.curriculum.sampler import TripletSampler
from naics_model.curriculum.stage import load_stage
from naics_model.taxonomy.distances import distance_table
from naics_model.triplets.build import build_triplets, open_published_view
from naics_model.triplets.lookup import absent_rows
from naics_model.triplets.relation_index import RelationIndex, build_relation_index

STAGES = ('01_stage_easy', '02_stage_medium', '03_stage_hard')


@pytest.fixture(scope='module')
def folder(source_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Descriptions and distances of 2022, and the relation index made of them."""
    result = tmp_path_factory.mktemp('2022')
    wanted = edition('2022')
    books = {name: source_dir / '2022' / book.file for name, book in wanted.workbooks.items()}
    descriptions = build_descriptions(
        wanted, books['codes'], books['descriptions'], books['cross_references']
    )
    descriptions.write_parquet(result / 'descriptions.parquet')
    distance_table(taxonomy_of(descriptions)).write_parquet(result / 'distances.parquet')
    build_relation_index(
        result / 'descriptions.parquet', result / 'distances.parquet', result / 'index.safetensors'
    )
    return result


@pytest.fixture(scope='module')
def index(folder: Path) -> RelationIndex:
    return RelationIndex.load(folder / 'index.safetensors')


def test_the_index_is_about_fourteen_megabytes(folder: Path, index: RelationIndex) -> None:
    assert len(index) == 2125
    assert index.exclusion_offsets[-1] == 4539
    assert 13e6 < (folder / 'index.safetensors').stat().st_size < 18e6


@pytest.mark.parametrize('name', STAGES)
def test_every_bucket_of_a_built_in_stage_comes_within_five_points(
    index: RelationIndex, name: str
) -> None:
    sampler = TripletSampler(index, load_stage(name), seed=1)
    assert sampler.pairs.too_few == 0
    assert shortfall(sampler.requested_mix, sampler.expected_mix) is None
    drawn = _mix(sampler.draw(20_000).hardness)
    for level, share in sampler.requested_mix.items():
        assert abs(sampler.expected_mix[level] - share) < 0.05
        assert abs(drawn[level] - share) < 0.05


@pytest.mark.parametrize('ranks', [2, 4])
@pytest.mark.parametrize('name', STAGES)
def test_ranks_share_the_pairs_out_and_keep_the_mix(
    index: RelationIndex, name: str, ranks: int
) -> None:
    stage = load_stage(name)
    counts, drawn = np.zeros(9, np.int64), []
    for rank in range(ranks):
        batch = TripletSampler(index, stage, seed=1, rank=rank, world_size=ranks).draw(10_000)
        counts += np.bincount(batch.hardness.ravel(), minlength=9)
        drawn.append(np.unique(batch.anchor * len(index) + batch.positive))
    assert len(np.unique(np.concatenate(drawn))) == sum(map(len, drawn))
    for level, share in mix_of(counts).items():
        assert abs(share - stage.bucket_percentages.get(level, 0.0)) < 0.05


def test_sampled_items_have_the_hardness_of_the_definition(
    index: RelationIndex, brute_hardness: Callable
) -> None:
    for name in STAGES:
        batch = TripletSampler(index, load_stage(name), seed=1).draw(80)
        for a, p, negatives, hardness in zip(*batch, strict=True):
            assert [brute_hardness(index, a, p, n) for n in negatives] == hardness.tolist()


@pytest.mark.slow
def test_all_triplets_of_2022(folder: Path, index: RelationIndex) -> None:
    """One build of all 976 million rows, and everything that is asked of it."""
    descriptions, triplets = folder / 'descriptions.parquet', folder / 'triplets.parquet'
    summary = build_triplets(descriptions, folder / 'distances.parquet', triplets)

    assert summary.rows == 975_831_605
    assert summary.rows_by_hardness == {
        1: 889_380_876,
        2: 2_487_821,
        3: 2_295_153,
        4: 7_682_904,
        5: 25_081_712,
        6: 48_228_129,
        7: 59_958,
        8: 615_052,
    }
    assert summary.bytes < 60e6

    view = open_published_view(descriptions, triplets)
    rows_of_one = view.execute("""
        select positive_code, negative_code, hardness from published_triplets
        where anchor_code = '541511'
    """).fetchall()
    of_541511 = {(p, n): hardness for p, n, hardness in rows_of_one}
    assert {
        ('541512', '513210'): 8,
        ('5415', '541519'): 7,
        ('5416', '54161'): 6,
        ('541512', '5416'): 5,
        ('541512', '54161'): 4,
        ('541512', '541611'): 3,
        ('54151', '541611'): 2,
        ('54151', '111110'): 1,
    }.items() <= of_541511.items()
    lineal = view.execute("""
        select count(*) from published_triplets
        where anchor_code = '111' and positive_code = '112' and negative_code = '111110'
    """).fetchall()
    assert lineal == [(0,)]

    # Sorted well enough that a question about one anchor reads little of the file.
    plan = view.execute("""
        explain (analyze, format json)
        from published_triplets where anchor_code = '541511' and positive_code = '541512'
    """).fetchall()
    assert json.loads(plan[0][1])['io']['total_bytes_read'] < summary.bytes / 10

    # Every negative of the samplers, looked up by anchor, positive, negative and hardness.
    batches = [TripletSampler(index, load_stage(name), seed=1).draw(2048) for name in STAGES]
    columns = [triplet_rows(index, batch) for batch in batches]
    rows = {name: np.concatenate([each[name] for each in columns]) for name in columns[0]}
    assert absent_rows(triplets, rows).is_empty()
    assert sum(b.hardness.size for b in batches) > 50_000


def _mix(hardness: np.ndarray) -> dict[int, float]:
    return mix_of(np.bincount(hardness.ravel(), minlength=9))
