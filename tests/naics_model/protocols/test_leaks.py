"""Each check of a view finds its fault, and a word that only hidden codes have is in no file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tokenizers import Tokenizer

from naics_model.curriculum.sampler import TripletSampler
from naics_model.curriculum.stage import load_stage
from naics_model.encoder.backbones import TINY, resolve_backbone
from naics_model.encoder.tokens import CHANNELS, TokenCache
from naics_model.protocols.leaks import check_view
from naics_model.protocols.protocol import PROTOCOLS
from naics_model.protocols.splits import hidden_codes
from naics_model.protocols.view import FILES, build_view
from naics_model.refinement.graph import EdgeSettings, tree_edges
from naics_model.storage.files import read_parquet, write_parquet
from naics_model.storage.layout import EditionFolder
from naics_model.taxonomy.tree import Taxonomy, parent_of
from naics_model.training.data import DataSettings, StepDataModule
from naics_model.training.phrases import read_phrases
from naics_model.triplets.relation_index import RelationIndex

CODES, WARM = PROTOCOLS['heldout_codes'], PROTOCOLS['warm']
Damage = Callable[[EditionFolder, EditionFolder, str], None]


@pytest.fixture(scope='module')
def built(sample: EditionFolder, tmp_path_factory: pytest.TempPathFactory) -> EditionFolder:
    """The bundled edition with the views of two protocols."""
    root = tmp_path_factory.mktemp('views')
    shutil.copytree(sample.path, root / 'sample')
    folder = EditionFolder(root, 'sample')
    for protocol in (WARM, CODES):
        build_view(folder, protocol, TINY)
    return folder


@pytest.fixture
def hidden(built: EditionFolder) -> list[str]:
    return hidden_codes(read_parquet(built.code_splits), 'stratified')


def say(text: str, column: str = 'description') -> Damage:
    """Add a text to the first visible code, with what it says of a hidden one in braces."""

    def damage(view: EditionFolder, folder: EditionFolder, code: str) -> None:
        secret = read_parquet(folder.descriptions).filter(code=code).to_dicts()[0]
        sentence = secret['description'].split('. ')[0].rstrip('.')
        said = text.format(number=code, title=secret['title'].upper(), sentence=sentence)
        both = pl.concat_str(pl.lit(said), column, separator='\n', ignore_nulls=True)
        change(view, both.alias(column))

    return damage


def change(view: EditionFolder, value: pl.Expr) -> None:
    table = read_parquet(view.descriptions)
    name = value.meta.output_name()
    first = pl.when(pl.col('index') == 0).then(value).otherwise(name).alias(name)
    write_parquet(table.with_columns(first), view.descriptions)


def from_all(name: str) -> Damage:
    """Put a file of all codes, as another protocol has it, in the place of one of the view."""
    return lambda view, folder, code: (
        shutil.copy(folder.view('warm').file(name), view.file(name)) and None
    )


def entry(view: EditionFolder, rows: pl.DataFrame) -> None:
    write_parquet(pl.concat([read_parquet(view.activities), rows]), view.activities)


def held_out_entry(view: EditionFolder, folder: EditionFolder, code: str) -> None:
    entry(view, read_parquet(folder.activities).filter(split='heldout').head(1))


def entry_of_the_hidden(view: EditionFolder, folder: EditionFolder, code: str) -> None:
    entry(view, read_parquet(folder.activities).filter(split='train', code=code).head(1))


def entry_on_the_wrong_side(view: EditionFolder, folder: EditionFolder, code: str) -> None:
    rows = read_parquet(folder.activities).filter(split='heldout').head(1)
    entry(view, rows.with_columns(split=pl.lit('train')))


def phrase(text: str, code: str = '', source: str = 'example') -> Damage:
    """Add a phrase of the first visible code, or of another: of a hidden code in braces."""

    def damage(view: EditionFolder, folder: EditionFolder, hidden: str) -> None:
        held_out = read_parquet(folder.activities).filter(split='heldout')['text']
        words = {
            'number': hidden,
            'title': title_of(folder, hidden).upper(),
            'short': next(text for text in held_out if len(text.split()) > 1).upper(),
            'seen': read_parquet(view.activities)['text'][0],
        }
        phrases = read_parquet(view.phrases)
        row = (text.format(**words), code.format(**words) or '11', source, 'train')
        new = pl.DataFrame([row], schema=phrases.schema, orient='row')
        write_parquet(pl.concat([phrases, new]), view.phrases)

    return damage


def quoted_entry(view: EditionFolder, folder: EditionFolder, code: str) -> None:
    text = read_parquet(folder.activities).filter(split='heldout')['text'][0]
    say(f'For instance  {text.upper()}', 'examples')(view, folder, code)


def other_tokens(view: EditionFolder, folder: EditionFolder, code: str) -> None:
    change(view, pl.lit('Another text.').alias('description'))


DAMAGE: dict[str, tuple[Damage, str]] = {
    'the texts of all codes': (from_all('descriptions'), 'only_visible_codes'),
    'the distances of all codes': (from_all('distances'), 'only_visible_codes'),
    'the relations of all codes': (from_all('relation_index'), 'only_visible_codes'),
    'the tokens of all codes': (from_all('token_cache'), 'tokens_of_these_texts'),
    'tokens of another text': (other_tokens, 'tokens_of_these_texts'),
    'a number in a sentence': (say('See ({number}).'), 'no_hidden_number'),
    'a number in a list': (say('{number}', 'excluded'), 'no_hidden_number'),
    'an excluded code': (
        lambda view, _, code: change(view, pl.lit([code]).alias('excluded_codes')),
        'no_hidden_number',
    ),
    'a title in a sentence': (say('As {title}, and so on'), 'no_hidden_title'),
    'a title as an example': (say('{title}', 'examples'), 'no_hidden_title'),
    'a title as a title': (
        lambda view, folder, code: change(view, pl.lit(title_of(folder, code)).alias('title')),
        'no_hidden_title',
    ),
    'a sentence': (say('{sentence}.'), 'no_hidden_sentence'),
    'a sentence inside another': (
        say('It is said that {sentence}; yes', 'excluded'),
        'no_hidden_sentence',
    ),
    'a held-out entry': (held_out_entry, 'only_train_entries'),
    'an entry of a hidden code': (entry_of_the_hidden, 'only_train_entries'),
    'a held-out entry that is called train': (entry_on_the_wrong_side, 'only_train_entries'),
    'the phrases of all codes': (from_all('phrases'), 'phrases_of_visible_codes'),
    'a phrase of a hidden code': (phrase('New', '{number}'), 'phrases_of_visible_codes'),
    'a phrase of an entry that is not there': (
        phrase('New', source='entry'),
        'phrases_of_visible_entries',
    ),
    'an entry under another code': (phrase('{seen}', source='entry'), 'phrases_of_visible_entries'),
    'a title as a phrase': (phrase('{title}', source='title'), 'no_hidden_title_in_phrases'),
    'a title in a phrase': (phrase('Old {title}, new'), 'no_hidden_title_in_phrases'),
    'a held-out entry as a phrase': (phrase('{short}'), 'no_held_out_entry_in_phrases'),
    'a held-out entry in a phrase': (
        phrase('Old - {short}; new', source='description'),
        'no_held_out_entry_in_phrases',
    ),
    'a held-out entry as an example': (quoted_entry, 'no_held_out_entry'),
}


def title_of(folder: EditionFolder, code: str) -> str:
    return str(read_parquet(folder.descriptions).filter(code=code)['title'][0])


@pytest.mark.parametrize('kind', list(DAMAGE))
def test_each_check_finds_its_fault(
    built: EditionFolder, hidden: list[str], tmp_path: Path, kind: str
) -> None:
    damage, name = DAMAGE[kind]
    shutil.copytree(built.path, tmp_path / 'sample')
    folder = EditionFolder(tmp_path, 'sample')
    view = folder.view(CODES.name)
    assert all(check.passed and check.blocking for check in check_view(view, folder, CODES))
    with_entries = set(read_parquet(folder.activities).filter(split='train')['code'])
    damage(view, folder, next(code for code in hidden if code in with_entries))
    found = {check.name: check for check in check_view(view, folder, CODES)}
    assert not found[name].passed
    assert found[name].offending


# A word that no tokenizer knows and no text has, spelt in pieces of its own.
CANARY = 'zyzzogeton'


@pytest.fixture
def marked(sample: EditionFolder, hidden: list[str], tmp_path: Path) -> EditionFolder:
    """The sample, where a hidden code is all about the canary and its neighbours refer to it."""
    shutil.copytree(sample.path, tmp_path / 'sample')
    folder = EditionFolder(tmp_path, 'sample')
    code = next(code for code in hidden if len(code) == 6 and parent_of(code) not in hidden)
    refers = {
        'description': f'It has all. Among them are {CANARY.upper()} Farms, the best. That is it.',
        'examples': f'Aviaries\n{CANARY} nests for sale',
        'excluded': f'Breeding {CANARY}s--is classified in U.S. Industry {code}, {CANARY} Farms.',
    }
    of_its_own = {
        'title': f'{CANARY.title()} Farms',
        'description': f'This U.S. industry breeds the {CANARY}.',
        'examples': f'{CANARY.title()} nests for sale',
        'excluded': f'Feeding {CANARY}s elsewhere.',
    }
    own, above = pl.col('code') == code, pl.col('code') == parent_of(code)
    table = read_parquet(folder.descriptions).with_columns(
        pl.when(own)
        .then(pl.lit(text))
        .when(above)
        .then(pl.lit(refers.get(column)) if column in refers else pl.col(column))
        .otherwise(column)
        .alias(column)
        for column, text in of_its_own.items()
    )
    named = pl.when(above).then(pl.lit([code])).otherwise('excluded_codes')
    write_parquet(table.with_columns(excluded_codes=named), folder.descriptions)
    entries = read_parquet(folder.activities)
    texts = pl.when(own).then(pl.format('{} {}', pl.lit(CANARY), 'text')).otherwise('text')
    write_parquet(entries.with_columns(text=texts), folder.activities)
    return folder


def words_in(view: EditionFolder) -> dict[str, str]:
    """Return all that each file of a view says, tokens spelt out, in small letters."""
    tokenizer = Tokenizer.from_file(str(resolve_backbone(TINY).tokenizer))
    said = {}
    for name in FILES:
        path = view.file(name)
        said[name] = path.read_bytes().decode('latin-1').lower()
        if path.suffix == '.parquet':
            said[name] += read_parquet(path).write_json().lower()
    cache = TokenCache.load(view.token_cache)
    for channel in CHANNELS:
        said['token_cache'] += tokenizer.decode(cache.channels[channel].ids.tolist())
    said['view.json'] = view.view_record.read_text('utf-8').lower()
    return said


def test_a_word_of_a_hidden_code_is_in_no_byte_of_its_view(marked: EditionFolder) -> None:
    holding = {
        protocol.name: [
            name
            for name, said in words_in(build_view(marked, protocol, TINY)).items()
            if CANARY in said
        ]
        for protocol in (WARM, CODES)
    }
    # Where nothing is hidden it is found, so it is looked for well.
    assert holding == {
        'warm': ['descriptions', 'activities', 'phrases', 'token_cache'],
        'heldout_codes': [],
    }
    row = read_parquet(marked.view(CODES.name).descriptions).filter(
        pl.col('description') == 'It has all. That is it.'
    )
    assert row['examples'].to_list() == ['Aviaries']
    assert row['excluded'].to_list() == row['excluded_codes'].to_list() == [None]


def test_no_draw_meets_a_hidden_code(built: EditionFolder, hidden: list[str]) -> None:
    stage = load_stage('01_stage_easy')
    met = {}
    for protocol in (WARM, CODES):
        index = RelationIndex.load(built.view(protocol.name).relation_index)
        batch = TripletSampler(index, stage, seed=3).draw(2_000)
        drawn = np.unique(np.concatenate([batch.anchor, batch.positive, batch.negatives.ravel()]))
        met[protocol.name] = {index.codes[number] for number in drawn} & set(hidden)
    assert met['heldout_codes'] == set()
    # Of all codes, nearly every one comes up.
    assert len(met['warm']) > 0.9 * len(hidden)


def test_no_step_of_training_meets_a_hidden_code_or_its_title(
    built: EditionFolder, hidden: list[str]
) -> None:
    tokenizer = Tokenizer.from_file(str(resolve_backbone(TINY).tokenizer))
    secret = {title_of(built, code).lower() for code in hidden}
    view = built.view(CODES.name)
    index, cache = RelationIndex.load(view.relation_index), TokenCache.load(view.token_cache)
    settings = DataSettings(view.relation_index, view.token_cache, view.phrases)
    data = StepDataModule(
        index,
        cache,
        read_phrases(view.phrases, index.codes, TINY),
        load_stage('01_stage_easy'),
        settings,
        channels=CHANNELS,
        seed=3,
    )
    titles = dict(read_parquet(view.descriptions).select('code', 'title').iter_rows())
    met: set[str] = set()
    # One pass over all documents.
    for step in islice(data.steps(0), len(index) // settings.documents_per_step + 1):
        assert step.documents is not None
        spelt_out = tokenizer.decode_batch(step.phrases.tokens.input_ids.tolist())
        assert not secret & set(spelt_out)
        codes = [index.codes[number] for number in step.documents.codes.tolist()]
        ids = step.documents.tokens['title'].input_ids.tolist()
        for code, spelt in zip(codes, tokenizer.decode_batch(ids), strict=True):
            assert spelt.replace(' ', '') in titles[code].lower().replace(' ', '')
            assert spelt not in secret
        met.update(codes)
    assert not met & set(hidden)
    assert len(met) > 0.9 * len(index)


def test_the_graph_of_refinement_has_the_visible_codes_as_nodes(
    built: EditionFolder, hidden: list[str]
) -> None:
    codes = read_parquet(built.view(CODES.name).descriptions)['code'].to_list()
    graph = tree_edges(Taxonomy.from_codes(codes).parents, EdgeSettings())
    nodes = {codes[node] for node in {*graph.source.tolist(), *graph.target.tolist()}}
    assert nodes == set(codes)
    assert not nodes & set(hidden)
