"""The plain bi-encoder: its loss by hand, training on a tiny encoder, and the whole job."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from naics_model.encoder.backbones import TINY, load_backbone, resolve_backbone
from naics_model.encoder.tokens import tokenize
from naics_model.errors import DataError
from naics_model.evaluation import bi_encoder, bi_encoder_training
from naics_model.evaluation.bi_encoder import main, measure
from naics_model.evaluation.bi_encoder_training import (
    BiEncoder,
    Settings,
    batches,
    in_batch_loss,
    rate_share,
    train_bi_encoder,
)
from naics_model.evaluation.guide_search import WARM, WARM_HARD
from naics_model.evaluation.questions import Questions
from naics_model.evaluation.retrieval import retrieval_metrics
from naics_model.storage.files import read_json, write_parquet
from naics_model.taxonomy.tree import Taxonomy

GOODS = ('grain', 'timber', 'steel', 'cotton', 'sugar', 'glass', 'paper', 'copper')
CODES = tuple(f'11111{number}' for number in range(1, 9))
DOCUMENTS = tuple(f'{good} farming. Establishments that make {good}.' for good in GOODS)
ENTRIES = tuple(f'{good} {what}' for good in GOODS for what in ('shop', 'works', 'mill'))
OWNERS = np.repeat(np.arange(8), 3)
TINY_SETTINGS = Settings(backbone=TINY, epochs=6, batch_size=8, learning_rate=1e-2)


def trained(
    settings: Settings = TINY_SETTINGS,
    entries: Sequence[str] = ENTRIES,
    owners: np.ndarray = OWNERS,
) -> BiEncoder:
    return train_bi_encoder(
        DOCUMENTS, entries, owners, settings, log=lambda line: None, on_epoch=lambda *_: None
    )


# --- the loss ---


def test_loss_by_hand_where_two_entries_share_a_code():
    # Entries 0 and 2 are of one code, so that neither is the other's negative.
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    owners = torch.tensor([5, 7, 5])
    one_negative = math.log(math.e + 1) - 1
    two_negatives = math.log(math.e + 2) - 1
    expected = 2 * (2 * one_negative + two_negatives) / 3
    assert in_batch_loss(x, x, owners, 1.0).item() == pytest.approx(expected)


def test_loss_is_the_brute_force_one_both_ways():
    generator = torch.Generator().manual_seed(0)
    x, y = (
        torch.nn.functional.normalize(torch.randn(6, 4, generator=generator), dim=1)
        for _ in range(2)
    )
    owners = torch.tensor([0, 1, 0, 2, 1, 3])
    total = 0.0
    for left, right in ((x, y), (y, x)):
        for b in range(6):
            kept = [j for j in range(6) if j == b or owners[j] != owners[b]]
            scores = [math.exp(float(left[b] @ right[j]) / 0.05) for j in kept]
            total -= math.log(scores[kept.index(b)] / sum(scores)) / 6
    assert in_batch_loss(x, y, owners, 0.05).item() == pytest.approx(total, rel=1e-4)


def test_entries_of_one_code_alone_cost_nothing_and_teach_nothing():
    x = torch.eye(3, requires_grad=True)
    loss = in_batch_loss(x, torch.eye(3).flip(0), torch.zeros(3, dtype=torch.long), 0.05)
    loss.backward()
    assert loss.item() == 0
    assert x.grad is not None
    assert x.grad.abs().max() == 0


# --- the order of things ---


def test_batches_are_whole_repeat_nothing_and_follow_the_seed():
    found = batches(23, 5, seed=1)
    assert [len(batch) for batch in found] == [5] * 4
    assert len(set(np.concatenate(found))) == 20
    assert np.array_equal(found, batches(23, 5, seed=1))
    assert not np.array_equal(found, batches(23, 5, seed=2))


def test_learning_rate_rises_over_a_tenth_and_falls_on_a_line():
    shares = [rate_share(step, 20) for step in range(20)]
    assert shares[:4] == pytest.approx([0.5, 0.95, 0.9, 0.85])
    assert shares[-1] == pytest.approx(0.05)
    assert rate_share(0, 1) == 1.0


# --- training ---


def test_loss_falls_and_entries_come_nearer_to_their_code():
    before = trained(Settings(backbone=TINY, learning_rate=0.0, epochs=1, batch_size=8))
    after = trained()
    losses = [epoch['train/loss'] for epoch in after.history]
    assert len(losses) == 6
    assert losses[-1] < 0.8 * losses[0]
    mrr = [
        retrieval_metrics(1 - e.encode(ENTRIES) @ e.encode(DOCUMENTS).T, OWNERS, CODES)['mrr']
        for e in (before, after)
    ]
    assert mrr[1] > mrr[0]


def test_same_seed_gives_the_same_encoder_and_another_another():
    short = Settings(backbone=TINY, epochs=1, batch_size=8, learning_rate=1e-2)
    first, again = trained(short), trained(short)
    other = trained(Settings(backbone=TINY, epochs=1, batch_size=8, learning_rate=1e-2, seed=1))
    assert np.array_equal(first.encode(GOODS), again.encode(GOODS))
    assert first.history == again.history
    assert not np.allclose(first.encode(GOODS), other.encode(GOODS))


def test_one_adapter_learns_on_every_linear_layer_and_the_backbone_stays():
    encoder = trained()
    adapted = {
        name.split('.lora_A')[0].rsplit('.', 1)[-1]
        for name, _ in encoder.model.named_parameters()
        if 'lora_A' in name
    }
    assert adapted == {'query', 'key', 'value', 'dense'}
    learned = {name for name, p in encoder.model.named_parameters() if p.requires_grad}
    assert learned == {name for name, _ in encoder.model.named_parameters() if 'lora_' in name}
    own = load_backbone(resolve_backbone(TINY)).state_dict()
    now = {k.replace('.base_layer', ''): v for k, v in encoder.model.state_dict().items()}
    assert all(torch.equal(value, now[name]) for name, value in own.items())


def test_vectors_are_unit_and_do_not_depend_on_their_company():
    encoder = trained()
    vectors = encoder.encode([*DOCUMENTS, 'x'])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(9), abs=1e-5)
    assert encoder.encode(['x'])[0] == pytest.approx(vectors[8], abs=1e-5)


def test_trial_ends_after_its_steps():
    encoder = trained(Settings(backbone=TINY, epochs=3, batch_size=8, max_steps=4))
    # Three steps an epoch, and one in the second.
    assert (encoder.steps, len(encoder.history)) == (4, 2)


def test_batch_is_never_larger_than_the_edition():
    encoder = trained(Settings(backbone=TINY, epochs=2))
    assert encoder.steps == 2


def test_one_entry_has_no_negative():
    with pytest.raises(DataError, match='two train activities'):
        trained(entries=['grain shop'], owners=np.array([0]))


# --- what is asked ---


class Placed:
    """An encoder whose texts are angles on the circle, in degrees."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        angles = np.radians([float(text) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_three_ways_to_answer_by_hand():
    # The query at 50 belongs to code 0. Own texts: code 1 is nearer (36 against 38 degrees).
    # Nearest entries: code 0 (5 against 20). The sum of 1 - cosine: code 0 (.216 against .251).
    questions = Questions(
        taxonomy=Taxonomy.from_codes(
            ['11', '111', '1111', '11111', '111111', '22', '222', '2222', '22222', '222222']
        ),
        titles=('',) * 10,
        documents=('0',) * 4 + ('12',) + ('0',) * 4 + ('86',),
        candidates=np.array([4, 9]),
        texts=('55', '30', '0', '50'),
        owners=np.array([0, 1, 0, 0]),
        held_out=np.array([False, False, False, True]),
        quoted=np.zeros(4, bool),
    )
    metrics = measure(Placed(), questions, lambda line: None)  # type: ignore[arg-type]
    assert metrics['bi_encoder_own/warm/mrr'] == 0.5
    assert metrics['bi_encoder_nearest/warm/hit_at_1'] == 1.0
    assert metrics['bi_encoder/warm/hit_at_1'] == 1.0


# --- the job ---


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    return options(write_edition(tmp_path / 'tiny', 'unseen'))


def write_edition(folder: Path, held_out: str) -> Path:
    """An edition of one branch with eight codes at its end; a word marks what is held out."""
    descriptions = pl.DataFrame(
        {
            'index': range(12),
            'level': [2, 3, 4, 5] + [6] * 8,
            'code': ['11', '111', '1111', '11111', *CODES],
            'title': [*['Farming'] * 4, *(f'{good} farming' for good in GOODS)],
            'description': ['Parent.'] * 4 + ['Establishments.'] * 8,
            'examples': [*[None] * 4, 'Example shops'] + [None] * 7,
        },
        schema_overrides={'index': pl.UInt32, 'level': pl.UInt8},
    )
    activities = pl.DataFrame(
        {
            'text': [*ENTRIES, *(f'{held_out} {good}' for good in GOODS)],
            'code': [CODES[owner] for owner in OWNERS] + list(CODES),
            'split': ['train'] * 24 + ['heldout'] * 8,
            'verbatim': False,
        }
    )
    # Mixed, as in the index.
    write_parquet(activities.sample(fraction=1.0, shuffle=True, seed=0), folder / 'a.parquet')
    write_parquet(descriptions, folder / 'd.parquet')
    return folder


def options(folder: Path, out: str = 'out') -> list[str]:
    given = ['--descriptions', str(folder / 'd.parquet'), '--activities', str(folder / 'a.parquet')]
    given += ['--out', str(folder / out), '--backbone', TINY]
    return [*given, '--epochs', '2', '--batch-size', '8']


def test_training_is_given_no_held_out_entry(tmp_path, monkeypatch):
    read: list[str] = []
    read_in_training: list[str] = []
    given: list[object] = []

    def reading(texts, *others):
        read.extend(texts)
        return tokenize(texts, *others)

    def training(*arguments, **others):
        given.extend(arguments)
        encoder = train_bi_encoder(*arguments, **others)
        read_in_training.extend(read)
        return encoder

    monkeypatch.setattr(bi_encoder_training, 'tokenize', reading)
    monkeypatch.setattr(bi_encoder, 'train_bi_encoder', training)
    main(options(write_edition(tmp_path / 'one', 'canary')))
    assert 'canary' not in repr(given)
    assert set(ENTRIES) <= set(read_in_training)
    assert not [text for text in read_in_training if 'canary' in text]
    # The spy is not deaf: they are read when they are asked.
    assert len([text for text in read if 'canary' in text]) == 8

    main(options(write_edition(tmp_path / 'other', 'different')))
    one, other = (read_json(tmp_path / n / 'out/result.json') for n in ('one', 'other'))
    # Other questions: not one bit of training changes.
    assert one['details']['history'] == other['details']['history']
    assert one['metrics'] != other['metrics']


def test_job_leaves_its_result(files, tmp_path, capsys):
    main(files)
    out = tmp_path / 'tiny' / 'out'
    assert {path.name for path in out.iterdir()} == {'result.json', 'metrics.json'}
    result, metrics = read_json(out / 'result.json'), read_json(out / 'metrics.json')
    assert set(result['metrics']) >= {
        f'{way}/{metric.key}'
        for way in ('bi_encoder', 'bi_encoder_own', 'bi_encoder_nearest')
        # It states no confidence.
        for metric in (*WARM[:-1], WARM_HARD[0])
    }
    assert all(0 <= value <= 1 for value in result['metrics'].values())
    assert metrics['metrics'] == result['metrics']
    assert result['files']['metrics']['path'] == str(out / 'metrics.json')
    assert result['details']['steps'] == 6
    assert [set(epoch) for epoch in result['details']['history']] == [{'train/loss'}] * 2
    assert result['details']['settings']['seed'] == 0
    assert 'epoch 2: train/loss' in capsys.readouterr().err


def test_same_seed_writes_the_same_metrics(files, tmp_path):
    found = []
    for seed in ('3', '3', '4'):
        main([*files, '--seed', seed, '--learning-rate', '0.01'])
        found.append((tmp_path / 'tiny' / 'out' / 'metrics.json').read_bytes())
    assert found[0] == found[1] != found[2]


def test_metric_names_are_accepted_by_mlflow(files, tmp_path):
    from mlflow.utils.validation import _validate_metric_name

    main([*files, '--max-steps', '1'])
    for name in read_json(tmp_path / 'tiny' / 'out' / 'metrics.json')['metrics']:
        _validate_metric_name(name)


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        (pl.lit('999999').alias('code'), '999999, which are not six-digit codes'),
        (pl.lit('train').alias('split'), '0 held-out activities, too few'),
        (pl.lit('heldout').alias('split'), 'two train activities'),
    ],
)
def test_activities_that_cannot_be_used_are_told(tmp_path, change, sentence):
    folder = write_edition(tmp_path, 'unseen')
    path = folder / 'a.parquet'
    write_parquet(pl.read_parquet(path).with_columns(change), path)
    with pytest.raises(DataError, match=sentence):
        main(options(folder))


def test_missing_file_is_told(tmp_path):
    with pytest.raises(DataError, match='does not exist'):
        main(options(tmp_path))


@pytest.mark.parametrize(
    'wrong', [['--batch-size', '1'], ['--max-steps', '0'], ['--epochs', 'many'], ['--seed', '-1']]
)
def test_settings_out_of_range_are_told(files, wrong, capsys):
    with pytest.raises(SystemExit, match='2'):
        main([*files, *wrong])
    assert 'is not a whole number from' in capsys.readouterr().err
