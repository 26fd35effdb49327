"""Files of a view: made again only when they must be, and with nothing hidden in them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from naics_model.checks import BrokenGuaranteeError
from naics_model.corpus.activities import TABLE as ACTIVITIES
from naics_model.corpus.phrases import build_phrases
from naics_model.encoder.backbones import MINILM, TINY
from naics_model.encoder.tokens import TokenCache, content_digest
from naics_model.errors import ConfigurationError, DataError
from naics_model.protocols import view as views
from naics_model.protocols.leaks import check_view
from naics_model.protocols.protocol import FOLD_PROTOCOLS, PROTOCOLS, protocol
from naics_model.protocols.splits import hidden_codes
from naics_model.protocols.view import FILES, build_view
from naics_model.storage.files import read_json, read_parquet, sha256_of, write_parquet
from naics_model.storage.layout import EditionFolder
from naics_model.triplets.relation_index import RelationIndex

TEXTS = ('description', 'examples', 'excluded')


@pytest.fixture
def folder(sample: EditionFolder, tmp_path: Path) -> EditionFolder:
    """The bundled edition, which a test may change."""
    shutil.copytree(sample.path, tmp_path / 'sample')
    return EditionFolder(tmp_path, 'sample')


def build(folder: EditionFolder, name: str) -> EditionFolder:
    return build_view(folder, protocol(name), TINY)


def in_words(text: str | None) -> str:
    return ' '.join(re.split(r'[\W_]+', f' {text or ""} '.lower()))


def look_through(view: EditionFolder, source: EditionFolder, split: str) -> None:
    """Look for hidden codes and texts by loops over the files, with nothing of the library's."""
    table = read_parquet(source.descriptions)
    hidden = set(hidden_codes(read_parquet(source.code_splits), split))
    secret = table.filter(pl.col('code').is_in(hidden))
    rows = read_parquet(view.descriptions)
    assert rows['code'].to_list() == [code for code in table['code'] if code not in hidden]
    assert RelationIndex.load(view.relation_index).codes == tuple(rows['code'])
    pairs = read_parquet(view.distances)
    assert pairs.height == rows.height * (rows.height - 1) // 2
    assert not hidden & {*pairs['code_i'], *pairs['code_j']}
    assert not hidden & set(rows['excluded_codes'].explode())

    cache = TokenCache.load(view.token_cache)
    assert len(cache) == rows.height
    assert cache.content == content_digest(rows) != content_digest(table)

    entries = read_parquet(view.activities)
    assert not hidden & set(entries['code'])
    assert set(entries['split']) == {'train'}
    every = read_parquet(source.activities)
    assert entries.height == len(
        [
            1
            for code, side in every.select('code', 'split').iter_rows()
            if side == 'train' and code not in hidden
        ]
    )

    phrases = read_parquet(view.phrases)
    assert set(phrases['code']) <= set(rows['code'])
    allowed = set(entries.select('text', 'code').iter_rows())
    said = set(phrases.filter(source='entry').select('text', 'code').iter_rows())
    assert said <= allowed
    held_out = {in_words(text) for text in every.filter(split='heldout')['text']}
    in_phrases = [in_words(text) for text in phrases['text']]
    assert not held_out & set(in_phrases)
    together = '\n'.join(in_phrases)
    for words in [*map(in_words, secret['title']), *(w for w in held_out if w.count(' ') > 2)]:
        assert words not in together

    shown = {column: [in_words(text) for text in rows[column].drop_nulls()] for column in TEXTS}
    everything = '\n'.join(text for texts in shown.values() for text in texts)
    for title in secret['title']:
        assert in_words(title) not in everything
    for code in hidden:
        assert f' {code} ' not in everything
    paragraphs = [
        in_words(line)
        for column in TEXTS
        for text in secret[column].drop_nulls()
        for line in text.split('\n')
    ]
    for paragraph in {each for each in paragraphs if each.count(' ') > 9}:
        assert paragraph not in everything
    one_space = ' '.join('\n'.join(t for c in TEXTS for t in rows[c].drop_nulls()).lower().split())
    for text in every.filter(split='heldout')['text']:
        assert ' '.join(text.lower().split()) not in one_space


@pytest.mark.parametrize('name', ['heldout_codes', 'heldout_subtrees', *FOLD_PROTOCOLS])
def test_no_held_out_text_in_any_file_of_the_sample(folder: EditionFolder, name: str) -> None:
    view = build(folder, name)
    checks = check_view(view, folder, protocol(name))
    assert [check.name for check in checks if not check.passed] == []
    look_through(view, folder, str(protocol(name).hides))


@pytest.mark.parametrize('name', ['heldout_codes', 'heldout_subtrees', 'heldout_fold_1'])
@pytest.mark.parametrize('edition', ['2022', '2017'])
def test_no_held_out_text_in_any_file_of_the_real_editions(
    real: Callable[[str], EditionFolder], edition: str, name: str
) -> None:
    folder = real(edition)
    view = build(folder, name)
    look_through(view, folder, str(protocol(name).hides))
    record = read_json(view.view_record)
    lost = record['sentences_dropped']
    assert (record['hidden_codes'], record['activities'], *lost.values()) == {
        ('2022', 'heldout_codes'): (155, 14_713, 116, 8, 388),
        ('2022', 'heldout_subtrees'): (221, 14_847, 91, 1, 367),
        ('2022', 'heldout_fold_1'): (319, 12_896, 196, 45, 860),
        ('2017', 'heldout_codes'): (159, 14_637, 123, 19, 346),
        ('2017', 'heldout_subtrees'): (210, 14_826, 80, 3, 297),
        ('2017', 'heldout_fold_1'): (326, 12_760, 214, 61, 740),
    }[edition, name]
    assert (
        record['phrases']
        == {
            ('2022', 'heldout_codes'): 19_838,
            ('2022', 'heldout_subtrees'): 19_739,
            ('2022', 'heldout_fold_1'): 17_280,
            ('2017', 'heldout_codes'): 19_716,
            ('2017', 'heldout_subtrees'): 19_712,
            ('2017', 'heldout_fold_1'): 17_217,
        }[edition, name]
    )


def test_cold_and_warm_have_all_codes_and_differ_in_the_entries(folder: EditionFolder) -> None:
    views = [build(folder, name) for name in ('cold', 'warm')]
    table, entries = read_parquet(folder.descriptions), read_parquet(folder.activities)
    for view in views:
        assert read_parquet(view.descriptions).equals(table)
        assert RelationIndex.load(view.relation_index).codes == tuple(table['code'])
        assert read_json(view.view_record)['hidden_codes'] == 0
    read = [read_parquet(view.activities) for view in views]
    assert read[0].is_empty()
    assert read[0].schema == entries.schema
    assert read[1].equals(entries.filter(split='train'))
    phrases = [read_parquet(view.phrases) for view in views]
    # Of all that is read, the phrases are those of the edition; without entries, the others stay.
    assert phrases[1].equals(build_phrases(table, entries))
    assert phrases[0].equals(build_phrases(table, entries.filter(split='heldout')))
    assert set(phrases[0]['source']) == {'title', 'example', 'cross_reference'}
    assert set(phrases[0]['split']) == {'train'}


def test_editions_reads_the_edition_before_and_nothing_of_this_one(
    folder: EditionFolder, tmp_path: Path
) -> None:
    before = EditionFolder(tmp_path / 'other', '2017')
    # Other texts, so that they can be told apart.
    table = read_parquet(folder.descriptions).with_columns(examples=pl.lit('Other', pl.String))
    write_parquet(table, before.descriptions)
    view = build_view(folder, PROTOCOLS['editions'], TINY, before=before)
    assert view.path == folder.path / 'protocols' / 'editions'
    assert read_parquet(view.descriptions).equals(table)
    assert read_parquet(view.activities).is_empty()
    assert read_parquet(view.phrases).equals(build_phrases(table, read_parquet(view.activities)))
    record = read_json(view.view_record)
    assert record['edition'] == '2017'
    assert record['sources'] == {'descriptions': sha256_of(before.descriptions)}


def test_what_is_missing_is_told_with_the_command_that_makes_it(
    folder: EditionFolder, tmp_path: Path
) -> None:
    before = EditionFolder(tmp_path / 'other', '2017')
    with pytest.raises(DataError, match=r'run naics data --edition 2017 .* --through descriptions'):
        build_view(folder, PROTOCOLS['editions'], TINY, before=before)
    with pytest.raises(ConfigurationError, match=r'edition before sample, and there is none'):
        build(folder, 'editions')
    folder.code_splits.unlink()
    build(folder, 'warm')
    with pytest.raises(
        DataError, match=r'code_splits.parquet does not exist, but protocol heldout_'
    ):
        build(folder, 'heldout_codes')


def test_splits_of_other_texts_are_refused(folder: EditionFolder) -> None:
    table = read_parquet(folder.code_splits)
    write_parquet(table.reverse(), folder.code_splits)
    with pytest.raises(BrokenGuaranteeError, match=r'--through code_splits again'):
        build(folder, 'heldout_codes')


def test_a_view_is_made_again_only_where_something_differs(
    folder: EditionFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    write = views.build_token_cache
    monkeypatch.setattr(
        views,
        'build_token_cache',
        lambda *a, **options: made.append(options) or write(*a, **options),
    )
    said: list[str] = []

    def again(backbone: str = TINY) -> int:
        build_view(folder, PROTOCOLS['heldout_codes'], backbone, progress=said.append)
        return len(made)

    view = folder.view('heldout_codes')
    assert again() == 1
    first = {name: view.file(name).read_bytes() for name in FILES}
    assert again() == 1
    assert 'is there and made from these files' in said[-1]
    assert again(MINILM) == 2
    assert again() == 3
    assert {name: view.file(name).read_bytes() for name in FILES} == first
    # A file that is lost, damaged, or older than what it was made from.
    view.distances.unlink()
    assert again() == 4
    view.activities.write_bytes(folder.activities.read_bytes())
    assert again() == 5
    table = read_parquet(folder.descriptions)
    write_parquet(table.with_columns(examples=pl.lit(None, pl.String)), folder.descriptions)
    assert again() == 6
    assert again() == 6
    assert read_json(view.view_record)['files']['distances'] == sha256_of(view.distances)


def keep_texts(table: pl.DataFrame, hidden: list[str]) -> pl.DataFrame:
    left = table.filter(~pl.col('code').is_in(hidden))
    return left.drop('index').with_row_index('index')


BROKEN = {
    'nothing is taken out': (
        'visible_descriptions',
        lambda table, hidden: table,
        'only_visible_codes',
    ),
    'texts are not cleaned': (
        'visible_descriptions',
        lambda table, hidden: keep_texts(table, hidden).with_columns(
            excluded_codes=pl.lit(None, pl.List(pl.String))
        ),
        'no_hidden_number',
    ),
    'all entries are kept': ('visible_activities', lambda table, *_: table, 'only_train_entries'),
    'phrases are of all codes': (
        'visible_phrases',
        lambda phrases, secret: pl.concat(
            [phrases, build_phrases(secret, pl.DataFrame(schema=ACTIVITIES.schema))]
        ),
        'phrases_of_visible_codes',
    ),
    'held-out entries become phrases': (
        '_held_out',
        lambda source, protocol: read_parquet(source.activities).with_columns(
            split=pl.lit('train')
        ),
        'no_held_out_entry_in_phrases',
    ),
}


@pytest.mark.parametrize('kind', list(BROKEN))
def test_a_broken_redaction_stops_the_run(
    folder: EditionFolder, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    function, broken, name = BROKEN[kind]
    build(folder, 'heldout_codes')
    monkeypatch.setattr(views, function, broken)
    # What was right before is no excuse: the sources are other ones now.
    entries = read_parquet(folder.activities)
    write_parquet(entries.head(entries.height - 1), folder.activities)
    with pytest.raises(BrokenGuaranteeError, match=r'view\.json was not written: ') as stopped:
        build(folder, 'heldout_codes')
    assert name in {check.name for check in stopped.value.checks}
    assert not folder.view('heldout_codes').view_record.exists()
