from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import duckdb
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from naics_model.errors import ConfigurationError, DataError
from naics_model.triplets import build
from naics_model.triplets.build import Mode, build_triplets, open_published_view
from naics_model.triplets.lookup import rows_by_hardness
from naics_model.triplets.relations import sql_text

# With one cross-reference, 311 to 3121, every hardness of both modes is among its triplets.
MANUFACTURING = sorted(
    {'31', '11'}
    | {leaf[:digits] for leaf in ('311111', '312111', '312112', '321111') for digits in range(3, 7)}
)


@pytest.mark.parametrize('mode', ['strict', 'seed'])
def test_the_sql_equals_brute_force_on_any_taxonomy(
    mode: Mode, any_taxonomy: st.SearchStrategy, save_edition: Callable, brute_force: Callable
) -> None:
    seen: Counter[int] = Counter()

    @settings(max_examples=60, deadline=None)
    @given(any_taxonomy)
    @example((MANUFACTURING, {'311': {'3121'}}))
    def check(taxonomy: tuple[list[str], dict[str, set[str]]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / 'triplets.parquet'
            paths = save_edition(Path(folder), *taxonomy)
            summary = build_triplets(*paths, out, mode=mode, threads=1)
            expected = brute_force(*taxonomy, mode)
            assert sorted(pl.read_parquet(out).rows()) == expected
            assert summary.rows == len(expected)
            counts = Counter(row[3] for row in expected)
            assert summary.rows_by_hardness == {level: counts[level] for level in range(1, 9)}
            seen.update(counts)

    check()
    # The taxonomies must be rich enough to reach every branch of the definition.
    assert set(seen) == set(range(1, 9))


def test_hardness_of_triplets_worked_by_hand(edition: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / 'triplets.parquet'
    build_triplets(*edition, out)
    found = _by_code(edition[0], out)
    # To 541511: 54151 0.5, 5415 1.5, 541512 2, 5416 4, 54161 5, 541611 6, 11 and 111 10.
    assert found['541511', '54151', '541512'] == 8
    # To 5415: 54 1.5, 5416 2.
    assert found['5415', '54', '5416'] == 7
    assert found['541511', '541512', '5416'] == 5
    assert found['541511', '541512', '54161'] == 4
    assert found['541511', '541512', '541611'] == 3
    assert found['541511', '54151', '541611'] == 2
    assert found['541511', '5416', '54161'] == 6
    assert found['541511', '541', '541611'] == 3
    assert found['541511', '541512', '111'] == 1
    # The positive's cross-references count as well, in any sector.
    assert found['541511', '5416', '111'] == 8
    assert found['541511', '5416', '11'] == 1


def test_what_is_no_triplet(edition: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / 'triplets.parquet'
    build_triplets(*edition, out)
    found = _by_code(edition[0], out)
    assert ('541511', '54151', '541') not in found, 'an ancestor of the anchor is no negative'
    assert ('541', '5415', '541511') not in found, 'a descendant of the anchor is no negative'
    assert ('541511', '541611', '541512') not in found, 'a nearer code is no negative'
    assert ('541511', '111', '11') not in found, 'a code of another sector is no positive'


def test_seed_mode_worked_by_hand(tmp_path: Path, save_edition: Callable) -> None:
    out = tmp_path / 'triplets.parquet'
    codes = [*MANUFACTURING, '331']
    paths = save_edition(tmp_path, codes, {'3111': {'3121'}, '312': {'3211'}})
    build_triplets(*paths, out, mode='seed')
    found = _by_code(paths[0], out)
    # 321 -> 311 goes down within a range sector: 10.0, which makes a negative but no positive.
    assert found['321', '331', '311'] == 1
    assert not [key for key in found if key[:2] == ('321', '311')]
    # 321 -> 3121 goes up and is 3.0, but 3211 -> 3121 goes down and is 10.0.
    assert found['321', '3211', '3121'] == 1
    # 311 -> 312 is 2.0, and a descendant of the anchor is 2.5 away.
    assert found['311', '312', '311111'] == 7
    # The positive's cross-reference counts, and the anchor's does not (0.5 and 3.0).
    assert found['311', '3111', '3121'] == 8
    assert found['312', '3121', '3211'] == 4
    # No pair goes to a shorter code.
    assert ('311', '3111', '312') not in found


def test_the_file_has_the_types_and_the_layout_of_the_design(
    edition: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / 'triplets.parquet'
    summary = build_triplets(*edition, out)
    assert pl.read_parquet_schema(out) == {
        'anchor_idx': pl.UInt16,
        'positive_idx': pl.UInt16,
        'negative_idx': pl.UInt16,
        'hardness': pl.UInt8,
        'positive_distance': pl.UInt8,
        'negative_distance': pl.UInt8,
    }
    file = duckdb.connect()
    columns = file.execute(
        'select distinct compression, encodings from parquet_metadata(?)', [str(out)]
    )
    assert columns.fetchall() == [('ZSTD', 'PLAIN')]
    assert summary.bytes == out.stat().st_size
    stored = file.execute('select value::varchar from parquet_kv_metadata(?)', [str(out)])
    assert (summary.digest,) in stored.fetchall()
    assert [path.name for path in tmp_path.iterdir() if 'partial' in path.name] == []


def test_the_digest_names_the_content(
    edition: tuple[Path, Path], tmp_path: Path, save_edition: Callable
) -> None:
    def digest(paths: tuple[Path, Path], **options: Any) -> str:
        return build_triplets(*paths, tmp_path / 'triplets.parquet', **options).digest

    first = digest(edition, threads=1)
    assert digest(edition, threads=2) == first

    descriptions = pl.read_parquet(edition[0])
    retitled = tmp_path / 'retitled.parquet'
    descriptions.with_columns(title=pl.lit('x')).sample(fraction=1, shuffle=True).write_parquet(
        retitled
    )
    assert digest((retitled, edition[1])) == first, 'titles and row order are not in the triplets'

    other = save_edition(tmp_path, descriptions['code'].to_list(), {'541511': {'541611'}})
    assert digest(other) != first


def test_the_digest_of_seed_mode_knows_its_sql_and_the_digits(
    tmp_path: Path, save_edition: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def digest(codes: list[str], mode: Mode) -> str:
        paths = save_edition(tmp_path, codes, {})
        return build_triplets(*paths, tmp_path / 'triplets.parquet', mode=mode).digest

    # The same tree and the same distances twice, but the numbers fall in the second.
    up, down = ['31', '311', '321'], ['31', '321', '311']
    assert digest(up, 'strict') == digest(down, 'strict')
    assert digest(up, 'seed') != digest(down, 'seed')

    before = {mode: digest(up, mode) for mode in get_args(Mode)}
    ending = {'seed_triplets': 'select 1;'}
    monkeypatch.setattr(build, 'sql_text', lambda name: sql_text(name) + ending.get(name, ''))
    assert {mode for mode in before if digest(up, mode) != before[mode]} == {'seed'}


def test_examples_show_one_triplet_of_each_hardness_in_words(
    edition: tuple[Path, Path], tmp_path: Path
) -> None:
    examples = build_triplets(*edition, tmp_path / 'triplets.parquet').examples
    assert examples[0] == (
        'hardness 8: 541511 Title of 541511 is 0.5 from 54151 Title of 54151 '
        'and 2 from 541512 Title of 541512'
    )
    assert [example[:10] for example in examples] == [f'hardness {h}' for h in range(8, 0, -1)]


def test_the_published_view_shows_codes_and_whole_distances(
    edition: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / 'triplets.parquet'
    build_triplets(*edition, out)
    view = open_published_view(edition[0], out)
    query = """from published_triplets
        where anchor_code = '541511' and positive_code = '5416' and negative_code = '111'"""
    found = view.execute(query)
    columns = [column[0] for column in found.description]
    assert [dict(zip(columns, row, strict=True)) for row in found.fetchall()] == [
        {
            'anchor_code': '541511',
            'positive_code': '5416',
            'negative_code': '111',
            'hardness': 8,
            'excluded': True,
            'unrelated': True,
            'positive_distance': 4.0,
            'negative_distance': 10.0,
            'distance_diff': 6.0,
        }
    ]
    assert view.execute('select count(*) from published_triplets').fetchall() == [
        (pl.read_parquet(out).height,)
    ]


def test_a_folder_with_brackets_is_no_pattern_that_another_folder_fits(
    tmp_path: Path, save_edition: Callable, brute_force: Callable
) -> None:
    # The one that the pattern would find is there first.
    editions = {'bo': (['11'], {}), 'b[o]': (['11', '111', '112', '21', '211'], {'111': {'211'}})}
    for name, edition in editions.items():
        folder = tmp_path / name
        folder.mkdir()
        out = folder / 'triplets.parquet'
        paths = save_edition(folder, *edition)
        summary = build_triplets(*paths, out)
        expected = brute_force(*edition, 'strict')
        assert summary.rows == len(expected)
        counts = Counter(row[3] for row in expected)
        assert rows_by_hardness(out) == {level: counts[level] for level in range(1, 9)}
        view = open_published_view(paths[0], out)
        query = 'select count(*) from published_triplets'
        assert view.execute(query).fetchall() == [(len(expected),)]


def test_a_taxonomy_without_triplets_gives_an_empty_file(
    tmp_path: Path, save_edition: Callable
) -> None:
    out = tmp_path / 'triplets.parquet'
    summary = build_triplets(*save_edition(tmp_path, ['11'], {}), out)
    assert (summary.rows, summary.examples) == (0, ())
    assert summary.rows_by_hardness == dict.fromkeys(range(1, 9), 0)
    assert pl.read_parquet(out).height == 0


@pytest.mark.parametrize(
    ('table', 'change', 'message'),
    [
        ('descriptions', lambda f: f.drop('excluded_codes'), 'expected columns'),
        ('descriptions', lambda f: f.head(5).with_columns(excluded_codes=pl.lit(None)), 'once'),
        ('descriptions', lambda f: f.tail(5), 'without a gap'),
        (
            'descriptions',
            lambda f: f.with_columns(excluded_codes=pl.lit(['999999'])),
            'must be other codes of the edition, but 11 names 999999',
        ),
        ('distances', lambda f: f.head(5), 'it has 5 rows'),
        ('distances', lambda f: pl.concat([f.head(1), f.head(54)]), 'once'),
        ('distances', lambda f: f.with_columns(distance=pl.lit(11.0)), '0.5 to 10 apart'),
    ],
)
def test_input_that_contradicts_itself_is_refused_and_the_old_file_stays(
    edition: tuple[Path, Path],
    tmp_path: Path,
    table: str,
    change: Callable[[pl.DataFrame], pl.DataFrame],
    message: str,
) -> None:
    out = tmp_path / 'triplets.parquet'
    build_triplets(*edition, out)
    before = out.read_bytes()
    path = tmp_path / f'{table}.parquet'
    change(pl.read_parquet(path)).write_parquet(path)
    with pytest.raises(DataError, match=message):
        build_triplets(*edition, out)
    assert out.read_bytes() == before


def test_a_missing_input_is_named(edition: tuple[Path, Path], tmp_path: Path) -> None:
    missing = tmp_path / 'nowhere.parquet'
    with pytest.raises(DataError, match=r'nowhere\.parquet does not exist'):
        build_triplets(edition[0], missing, tmp_path / 'triplets.parquet')


def test_too_little_memory_is_told_in_a_sentence(
    edition: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match='raise memory_limit'):
        build_triplets(*edition, tmp_path / 'triplets.parquet', memory_limit='1MB')


def test_progress_tells_the_size_so_far(
    edition: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = build.wait
    times = iter([0])

    def slow_at_first(*arguments: Any, **options: Any) -> Any:
        # The small edition is written before one can look; so the first look finds nothing.
        done = wait(*arguments, **options)
        return done._replace(done=set()) if next(times, None) == 0 else done

    monkeypatch.setattr(build, 'wait', slow_at_first)
    told: list[str] = []
    build_triplets(*edition, tmp_path / 'triplets.parquet', progress=told.append)
    assert len(told) == 1
    assert re.fullmatch(r'Triplets: 0\.0 MB after \d s', told[0])


def _by_code(descriptions: Path, triplets: Path) -> dict[tuple[str, str, str], int]:
    view = open_published_view(descriptions, triplets)
    rows = view.execute(
        'select anchor_code, positive_code, negative_code, hardness from published_triplets'
    ).fetchall()
    return {(a, p, n): hardness for a, p, n, hardness in rows}


def test_a_full_disk_is_told_in_a_sentence_and_the_old_file_stays(
    edition: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / 'triplets.parquet'
    out.write_bytes(b'old')
    # A process of its own, in which no file can grow: as on a full disk.
    program = f"""
import resource, signal
from pathlib import Path
from naics_model.errors import StorageError
from naics_model.triplets.build import build_triplets
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    build_triplets(Path({str(edition[0])!r}), Path({str(edition[1])!r}), Path({str(out)!r}))
except StorageError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f'{out} could not be written (File too large): free space')
    assert out.read_bytes() == b'old'
    assert not list(tmp_path.glob('.*'))
