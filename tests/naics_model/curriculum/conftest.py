"""Small taxonomies for stages, and the definition of a triplet by brute force."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from naics_model.curriculum.stage import Stage, parse_stage
from naics_model.taxonomy.distances import half_distances
from naics_model.taxonomy.tree import Taxonomy, parent_of, sector_of
from naics_model.triplets.relation_index import RelationIndex, index_relations


def make_index(codes: Sequence[str], exclusions: Sequence[tuple[str, str]] = ()) -> RelationIndex:
    """The relations of the codes and all their ancestors."""
    found: set[str] = set()
    for leaf in codes:
        code: str | None = leaf
        while code is not None:
            found.add(code)
            code = parent_of(code)
    taxonomy = Taxonomy.from_codes(sorted(found))
    named = sorted({(taxonomy.index[c], taxonomy.index[t]) for c, t in exclusions})
    return index_relations(
        taxonomy.codes,
        taxonomy.levels,
        half_distances(taxonomy),
        np.array(named, np.int64).reshape(-1, 2),
    )


def make_stage(**changes: object) -> Stage:
    """A stage that asks for every hardness, with the given settings changed."""
    settings: dict[str, object] = {
        'name': 'every',
        'positive_levels': [2, 3, 4, 5, 6],
        'difficulty_buckets': list(range(1, 9)),
        'bucket_percentages': dict.fromkeys(range(1, 9), 0.125),
        'k_negatives': 8,
    }
    return parse_stage(settings | changes, 'in the test')


def hardness_of(index: RelationIndex, a: int, p: int, n: int) -> int:
    """The hardness of one triplet by the definition, 0 where it is none."""
    near, far = index.distance[a, p] / 2, index.distance[a, n] / 2
    if a == p or near == 10 or far <= near or _lineal(index.codes[a], index.codes[n]):
        return 0
    if _names(index, a, n) or _names(index, p, n):
        return 8
    if far == 10:
        return 1
    limits = [(7, 0.5), (6, 1), (5, 2), (4, 3), (3, 4)]
    return next((level for level, most in limits if far - near <= most), 2)


def _lineal(a: str, b: str) -> bool:
    short, long = sorted((a, b), key=len)
    return sector_of(long) == short if len(short) == 2 else long.startswith(short)


def _names(index: RelationIndex, code: int, target: int) -> bool:
    first, last = index.exclusion_offsets[code : code + 2]
    return target in index.exclusion_targets[first:last].tolist()


def random_index(seed: int, leaves: int = 60, exclusions: int = 150) -> RelationIndex:
    """A taxonomy of four sectors, one a range, with random cross-references."""
    generator = np.random.default_rng(seed)
    prefixes = ['11', '31', '32', '54', '62']
    codes = [
        prefixes[generator.integers(5)] + ''.join(map(str, generator.integers(1, 4, 4)))
        for _ in range(leaves)
    ]
    index = make_index(codes)
    pairs = generator.integers(len(index), size=(exclusions, 2))
    named = [(index.codes[c], index.codes[t]) for c, t in pairs if c != t]
    return make_index(codes, named)


@pytest.fixture(scope='session')
def index_of() -> Callable[..., RelationIndex]:
    return make_index


@pytest.fixture(scope='session')
def stage_of() -> Callable[..., Stage]:
    return make_stage


@pytest.fixture(scope='session')
def brute_hardness() -> Callable[[RelationIndex, int, int, int], int]:
    return hardness_of


@pytest.fixture(scope='session')
def any_index() -> Callable[..., RelationIndex]:
    return random_index
