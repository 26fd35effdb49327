"""Small taxonomies with random cross-references, and every triplet of them by brute force."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from hypothesis import strategies as st

from naics_model.taxonomy.distances import distance_table
from naics_model.taxonomy.tree import Taxonomy, parent_of

Exclusions = dict[str, set[str]]
Row = tuple[int, int, int, int, int, int]

# Two prefixes of one sector (31, 32), so that range sectors are among the random ones.
PREFIXES = ('11', '31', '32', '54')


@st.composite
def taxonomies(draw: st.DrawFn) -> tuple[list[str], Exclusions]:
    """Draw codes in any order, each with its ancestors, and cross-references between them."""
    leaves = draw(
        st.lists(
            st.tuples(st.sampled_from(PREFIXES), st.text('123', min_size=0, max_size=4)).map(
                ''.join
            ),
            min_size=1,
            max_size=8,
        )
    )
    found: set[str] = set()
    for leaf in leaves:
        code: str | None = '31' if leaf == '32' else leaf
        while code is not None:
            found.add(code)
            code = parent_of(code)
    codes = draw(st.permutations(sorted(found)))
    named = draw(st.lists(st.tuples(st.sampled_from(codes), st.sampled_from(codes)), max_size=12))
    exclusions: Exclusions = {}
    for code, target in named:
        if code != target:
            exclusions.setdefault(code, set()).add(target)
    return list(codes), exclusions


def write_edition(folder: Path, codes: list[str], exclusions: Exclusions) -> tuple[Path, Path]:
    """Write descriptions and distances of the codes; return their paths."""
    descriptions, distances = folder / 'descriptions.parquet', folder / 'distances.parquet'
    pl.DataFrame(
        {
            'index': range(len(codes)),
            'level': [len(code) for code in codes],
            'code': codes,
            'title': [f'Title of {code}' for code in codes],
            'excluded_codes': [
                sorted(exclusions[code]) if code in exclusions else None for code in codes
            ],
        },
        schema={
            'index': pl.UInt32,
            'level': pl.UInt8,
            'code': pl.String,
            'title': pl.String,
            'excluded_codes': pl.List(pl.String),
        },
    ).write_parquet(descriptions)
    distance_table(Taxonomy.from_codes(codes)).write_parquet(distances)
    return descriptions, distances


def _line(code: str) -> list[str]:
    """The code and its ancestors, nearest first, by its digits alone."""
    line = [code[:length] for length in range(len(code), 1, -1)]
    line[-1] = {'32': '31', '33': '31', '45': '44', '49': '48'}.get(line[-1], line[-1])
    return line


def _half_units(a: str, b: str) -> int:
    line_a, line_b = _line(a), _line(b)
    common = [code for code in line_a if code in line_b]
    if not common:
        return 20
    steps = line_a.index(common[0]) + line_b.index(common[0])
    return 2 * steps - (common[0] in (a, b))


def every_triplet(codes: list[str], exclusions: Exclusions) -> Iterator[Row]:
    """The definition, three loops deep: (anchor, positive, negative, hardness, distances)."""
    number = {code: i for i, code in enumerate(codes)}
    for a in codes:
        for p in codes:
            near = _half_units(a, p)
            if p == a or near == 20:
                continue
            for n in codes:
                far = _half_units(a, n)
                if n in _line(a) or a in _line(n) or far <= near:
                    continue
                margin = (far - near) / 2
                if n in exclusions.get(a, ()) or n in exclusions.get(p, ()):
                    hardness = 8
                elif far == 20:
                    hardness = 1
                else:
                    limits = [(7, 0.5), (6, 1), (5, 2), (4, 3), (3, 4)]
                    hardness = next((level for level, most in limits if margin <= most), 2)
                yield number[a], number[p], number[n], hardness, near, far


def _directed(i: str, j: str) -> int | None:
    """The distance of a pair of seed mode in half units, None where it is no pair."""
    if len(i) > len(j) or (i[:2] == j[:2] and int(i) >= int(j)):
        return None
    return _half_units(i, j) if int(i) < int(j) else 20


def every_seed_triplet(codes: list[str], exclusions: Exclusions) -> Iterator[Row]:
    """The definition of seed mode, three loops deep."""
    number = {code: i for i, code in enumerate(codes)}
    for a in codes:
        for p in codes:
            near = _directed(a, p)
            if near is None or near == 20:
                continue
            for n in codes:
                far, between = _directed(a, n), _directed(p, n)
                if far is None or between is None or far <= near:
                    continue
                limits = [(7, 0.5), (6, 1), (5, 2), (4, 3), (3, 4), (2, 10)]
                if n in exclusions.get(p, ()):
                    hardness = 8
                elif between == 20:
                    hardness = 1
                else:
                    hardness = next(level for level, most in limits if (far - near) / 2 <= most)
                yield number[a], number[p], number[n], hardness, near, far


@pytest.fixture(scope='session')
def brute_force() -> Callable[..., list[Row]]:
    loops = {'strict': every_triplet, 'seed': every_seed_triplet}
    return lambda codes, exclusions, mode='strict': sorted(loops[mode](codes, exclusions))


@pytest.fixture(scope='session')
def save_edition() -> Callable[[Path, list[str], Exclusions], tuple[Path, Path]]:
    return write_edition


@pytest.fixture(scope='session')
def any_taxonomy() -> st.SearchStrategy[tuple[list[str], Exclusions]]:
    return taxonomies()


@pytest.fixture
def edition(tmp_path: Path) -> tuple[Path, Path]:
    """Descriptions and distances of eleven codes in two sectors; 541511 is told from 541512."""
    codes = ['54', '541', '5415', '54151', '541511', '541512', '5416', '54161', '541611']
    return write_edition(tmp_path, [*codes, '11', '111'], {'541511': {'541512'}, '5416': {'111'}})
