from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from naics_model.errors import DataError
from naics_model.taxonomy.distances import half_distances
from naics_model.taxonomy.tree import Taxonomy
from naics_model.triplets.hardness import hardness_matrix
from naics_model.triplets.relation_index import (
    RelationIndex,
    build_relation_index,
    index_relations,
)


def _index(codes: list[str], exclusions: dict[str, set[str]]) -> RelationIndex:
    taxonomy = Taxonomy.from_codes(codes)
    named = [(taxonomy.index[c], taxonomy.index[t]) for c in exclusions for t in exclusions[c]]
    return index_relations(
        taxonomy.codes,
        taxonomy.levels,
        half_distances(taxonomy),
        np.array(named, np.int64).reshape(-1, 2),
    )


def test_the_built_index_has_what_the_codes_say(edition: tuple[Path, Path], tmp_path: Path) -> None:
    built = build_relation_index(*edition, tmp_path / 'index.safetensors')
    codes = pl.read_parquet(edition[0])['code'].to_list()
    expected = _index(codes, {'541511': {'541512'}, '5416': {'111'}})
    _assert_equal(built, expected)
    a, b = codes.index('541511'), codes.index('541512')
    assert built.excluded[a, b]
    assert not built.excluded[b, a], 'a cross-reference has a direction'
    assert built.excluded.sum() == 2


def test_a_saved_index_is_read_back(edition: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / 'index.safetensors'
    built = build_relation_index(*edition, path)
    read = RelationIndex.load(path)
    _assert_equal(read, built)
    assert [read.distance.dtype, read.order.dtype, read.offsets.dtype] == [
        np.uint8,
        np.uint16,
        np.int32,
    ]


def test_equal_relations_give_equal_bytes(edition: tuple[Path, Path], tmp_path: Path) -> None:
    first, second = tmp_path / 'first.safetensors', tmp_path / 'second.safetensors'
    build_relation_index(*edition, first)
    for path in edition:
        pl.read_parquet(path).sample(fraction=1, shuffle=True, seed=1).write_parquet(path)
    build_relation_index(*edition, second)
    assert first.read_bytes() == second.read_bytes()


def test_ranges_of_any_taxonomy_are_the_codes_with_that_key(
    any_taxonomy: st.SearchStrategy,
) -> None:
    @settings(max_examples=50, deadline=None)
    @given(any_taxonomy)
    def check(taxonomy: tuple[list[str], dict[str, set[str]]]) -> None:
        index = _index(*taxonomy)
        for a in range(len(index)):
            for key in range(21):
                found = index.order[a, index.offsets[a, key] : index.offsets[a, key + 1]]
                assert found.tolist() == np.flatnonzero(index.keys[a] == key).tolist()
            for b in range(len(index)):
                assert index.order[a, index.place[a, b]] == b
                lineal = index.codes[b] in _line(index, a) or index.codes[a] in _line(index, b)
                assert (index.keys[a, b] == 0) == lineal

    check()


def test_hardness_of_any_taxonomy_equals_brute_force(
    any_taxonomy: st.SearchStrategy, brute_force: Callable
) -> None:
    @settings(max_examples=50, deadline=None)
    @given(any_taxonomy)
    def check(taxonomy: tuple[list[str], dict[str, set[str]]]) -> None:
        index = _index(*taxonomy)
        anchor, positive = np.nonzero((index.distance > 0) & (index.distance < 20))
        levels = hardness_matrix(index, anchor, positive, np.arange(len(index)))
        found = {
            (int(anchor[row]), int(positive[row]), int(n), int(levels[row, n]))
            for row, n in np.argwhere(levels)
        }
        assert found == {row[:4] for row in brute_force(*taxonomy)}

    check()


def test_a_file_that_is_no_index_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'index.safetensors'
    with pytest.raises(DataError, match='does not exist'):
        RelationIndex.load(path)
    path.write_bytes(b'no tensors')
    with pytest.raises(DataError, match='is not a relation index'):
        RelationIndex.load(path)


@pytest.mark.parametrize(
    ('field', 'change', 'wrong'),
    [
        ('codes', lambda codes: codes[::-1], 'levels cannot be of these codes'),
        ('codes', lambda codes: codes[:-1], 'levels is uint8'),
        ('levels', lambda levels: np.full_like(levels, 6), 'levels cannot be'),
        ('distance', lambda distance: distance[:-1], 'distance is uint8'),
        ('distance', np.triu, 'distance cannot be'),
        ('order', lambda order: order.astype(np.int64), 'order is int64'),
        ('order', lambda order: order + np.uint16(1), 'order cannot be'),
        ('offsets', lambda offsets: offsets[:, ::-1].copy(), 'offsets cannot be'),
        ('exclusion_offsets', lambda ends: ends + np.int32(1), 'exclusions cannot be'),
        ('exclusion_targets', lambda targets: targets + np.uint16(9999), 'exclusion_targets can'),
    ],
)
def test_a_damaged_index_is_refused(
    edition: tuple[Path, Path],
    tmp_path: Path,
    field: str,
    change: Callable[[Any], Any],
    wrong: str,
) -> None:
    path = tmp_path / 'index.safetensors'
    index = build_relation_index(*edition, path)
    dataclasses.replace(index, **{field: change(getattr(index, field))}).save(path)
    with pytest.raises(
        DataError, match=rf'index\.safetensors is damaged \({wrong}.*build it again'
    ):
        RelationIndex.load(path)


def test_the_index_is_built_and_loaded_without_leftovers(
    edition: tuple[Path, Path],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        build_relation_index(*edition, Path(folder) / 'index.safetensors')
        assert [path.name for path in Path(folder).iterdir()] == ['index.safetensors']


def _line(index: RelationIndex, a: int) -> list[str]:
    taxonomy = Taxonomy.from_codes(index.codes)
    return [index.codes[i] for i in taxonomy.ancestors[a] if i >= 0]


def _assert_equal(a: RelationIndex, b: RelationIndex) -> None:
    assert a.codes == b.codes
    for name in (
        'levels',
        'distance',
        'order',
        'offsets',
        'exclusion_offsets',
        'exclusion_targets',
    ):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
