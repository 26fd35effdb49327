"""The whole encoder: called, saved, loaded, refused; once with the real language model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file

from naics_model.encoder.backbones import MINILM, TINY
from naics_model.encoder.channels import TokenTensors, token_tensors
from naics_model.encoder.embedder import EmbedderOutput, NaicsEmbedder
from naics_model.encoder.tokens import CHANNELS, DOCUMENT, Ragged, TokenCache, token_cache, tokenize
from naics_model.errors import ConfigurationError, DataError
from naics_model.geometry import lorentz


def tiny(**settings: Any) -> NaicsEmbedder:
    torch.manual_seed(0)
    return NaicsEmbedder(**{'backbone': TINY, 'hyperbolic_dim': 8, 'lora_r': 2, **settings})


def four(**settings: Any) -> NaicsEmbedder:
    """Return a model with four channels and a mixture of experts."""
    return tiny(**{'channels': 'four', 'fusion': 'moe', **settings})


def disturb(embedder: NaicsEmbedder) -> NaicsEmbedder:
    """Move every trainable weight away from its start (LoRA's B is 0 there)."""
    with torch.no_grad():
        for parameter in embedder.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return embedder


def all_tokens(cache: TokenCache) -> dict[str, TokenTensors]:
    channels = (*CHANNELS, DOCUMENT)
    return {c: token_tensors(cache.batch(c, np.arange(len(cache)))) for c in channels}


def assert_same(found: EmbedderOutput, expected: EmbedderOutput) -> None:
    torch.testing.assert_close(found.unit, expected.unit, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.tangent, expected.tangent, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    'settings', [{}, {'channels': 'four'}, {'channels': 'four', 'fusion': 'moe'}]
)
def test_both_readings_are_a_unit_vector_and_its_projection(
    cache: TokenCache, settings: dict[str, str]
) -> None:
    embedder = disturb(tiny(**settings)).eval()
    out = embedder(all_tokens(cache), 6)
    assert out.unit.shape == (6, embedder.channels.width)
    torch.testing.assert_close(out.unit.norm(dim=1), torch.ones(6))
    torch.testing.assert_close(out.tangent, embedder.projection(out.unit))


def test_one_channel_is_the_document_and_its_vector_is_not_fused(cache: TokenCache) -> None:
    embedder = disturb(tiny()).eval()
    assert embedder.channels.names == (DOCUMENT,)
    assert embedder.text_channel == DOCUMENT
    tokens = token_tensors(cache.batch(DOCUMENT, np.arange(6)))
    vectors = embedder.channels.encode(DOCUMENT, tokens.input_ids, tokens.attention_mask)
    out = embedder({DOCUMENT: tokens}, 6)
    torch.testing.assert_close(out.unit, torch.nn.functional.normalize(vectors, dim=1))
    assert out.gate_probabilities is None


def test_the_mean_of_four_channels_is_the_flat_reading(cache: TokenCache) -> None:
    embedder = disturb(tiny(channels='four')).eval()
    assert embedder.text_channel == 'title'
    mean = embedder.channels(all_tokens(cache), 6).mean(dim=1)
    out = embedder(all_tokens(cache), 6)
    torch.testing.assert_close(out.unit, torch.nn.functional.normalize(mean, dim=1))


def test_forward_gives_points_inside_the_clip_and_gate_statistics(cache: TokenCache) -> None:
    out = four()(all_tokens(cache), 6)
    assert out.tangent.shape == (6, 8)
    assert out.tangent.dtype == torch.float32
    assert lorentz.radius(out.tangent).max() < 6.0
    assert out.gate_probabilities is not None
    torch.testing.assert_close(out.gate_probabilities.sum(dim=1), torch.ones(6))


def test_linear_fusion_has_no_gate(cache: TokenCache) -> None:
    out = tiny(channels='four', fusion='linear')(all_tokens(cache), 6)
    assert out.tangent.shape == (6, 8)
    assert out.gate_probabilities is None


@pytest.mark.parametrize('channels', ['one', 'four'])
def test_a_training_step_reaches_every_trainable_weight(cache: TokenCache, channels: str) -> None:
    fusion = 'moe' if channels == 'four' else 'mean'
    embedder = disturb(tiny(top_k=4, channels=channels, fusion=fusion)).train()
    out = embedder(all_tokens(cache), 6)
    target = torch.randn(6, 8)
    lorentz.distance(out.tangent, target).sum().backward()
    for name, parameter in embedder.named_parameters():
        # A code always has a document, so that nothing stands in for it.
        if parameter.requires_grad and (channels, name) != ('one', 'channels.absent'):
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.abs().max() > 0, name


def test_bfloat16_autocast_gives_float32_points(cache: TokenCache) -> None:
    embedder = four().eval()
    with torch.autocast('cpu', torch.bfloat16):
        narrow = embedder(all_tokens(cache), 6)
    assert narrow.tangent.dtype == torch.float32
    assert narrow.gate_probabilities is not None
    assert narrow.gate_probabilities.dtype == torch.float32
    wide = embedder(all_tokens(cache), 6)
    torch.testing.assert_close(narrow.tangent, wide.tangent, rtol=0.1, atol=0.1)


@pytest.mark.parametrize('batch_size', [1, 4, 64])
def test_encode_keeps_the_order_whatever_the_batch(batch_size: int) -> None:
    embedder = disturb(tiny())
    texts = ['Utilities', 'Growing soybeans and many other crops, too', 'x', 'Retail bakery', 'a b']
    together = embedder.encode(texts, batch_size=batch_size)
    assert together.tangent.shape == (5, 8)
    for row, text in enumerate(texts):
        alone = embedder.encode([text])
        assert_same(alone, EmbedderOutput(together.unit[[row]], together.tangent[[row]], None))
    nothing = embedder.encode([])
    assert nothing.tangent.shape == (0, 8)
    assert nothing.unit.shape == (0, embedder.channels.width)


@pytest.mark.parametrize(('channels', 'first'), [('one', DOCUMENT), ('four', 'title')])
def test_encode_is_forward_through_the_first_channel_alone(channels: str, first: str) -> None:
    embedder = disturb(tiny(channels=channels)).eval()
    tokens = token_tensors(tokenize(['Retail bakery', 'Crop farm'], TINY))
    with torch.no_grad():
        expected = embedder({first: tokens}, 2)
    assert_same(embedder.encode(['Retail bakery', 'Crop farm']), expected)


def test_an_empty_text_is_refused_and_a_long_one_is_told() -> None:
    embedder = NaicsEmbedder(TINY, hyperbolic_dim=4)
    with pytest.raises(DataError, match='Text 2 of 3 is empty'):
        embedder.encode(['corn', ' \n', 'wheat'])
    long = 'corn ' * 200
    with pytest.warns(UserWarning, match='1 of 2 texts were read to 128 tokens only'):
        told = embedder.encode([long, 'wheat'])
    torch.testing.assert_close(told.unit[:1], embedder.encode(['corn ' * 126]).unit)
    said: list[str] = []
    embedder.encode([long], log=said.append)
    assert len(said) == 1


@pytest.mark.parametrize('batch_size', [1, 2, 64])
@pytest.mark.parametrize(('channels', 'texts'), [('one', 6), ('four', 6 + 6 + 3 + 2)])
def test_encode_codes_equals_forward_in_eval_mode(
    cache: TokenCache, channels: str, texts: int, batch_size: int
) -> None:
    embedder = disturb(tiny(channels=channels, channel_dropout=0.5, lora_dropout=0.5)).eval()
    with torch.no_grad():
        expected = embedder(all_tokens(cache), 6)
    seen: list[tuple[int, int]] = []
    codes = embedder.encode_codes(cache, batch_size, progress=lambda *step: seen.append(step))
    assert_same(codes, expected)
    assert seen[-1] == (texts, texts)


@pytest.mark.parametrize('channels', ['one', 'four'])
def test_some_codes_are_encoded_as_they_are_among_all(cache: TokenCache, channels: str) -> None:
    embedder = disturb(tiny(channels=channels))
    everything = embedder.encode_codes(cache)
    rows = np.array([4, 1, 3])
    some = embedder.encode_codes(cache, rows=rows)
    assert_same(some, EmbedderOutput(everything.unit[rows], everything.tangent[rows], None))


def test_a_start_along_documents_projects_them_to_the_start_radius(cache: TokenCache) -> None:
    embedder = disturb(tiny(hyperbolic_dim=3, start_radius=1.5, max_radius=8.0)).eval()
    features = embedder.document_features(cache, np.arange(6))
    before = embedder.encode_codes(cache)
    started = embedder.start_along(features)
    torch.testing.assert_close(started.unit, before.unit)
    assert_same(started, embedder.encode_codes(cache))
    radii = lorentz.radius(started.tangent)
    # Less the clip of the radius.
    assert radii.square().mean().sqrt().item() == pytest.approx(1.5, rel=0.05)


def test_a_text_that_two_codes_share_is_encoded_once(
    cache: TokenCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first and the last code get the same title, in a batch with other lengths between.
    indices = np.array([0, 1, 2, 3, 4, 0])
    titles = cache.batch('title', indices)
    shared = Ragged(
        titles.input_ids[titles.attention_mask == 1].astype(np.int32),
        np.concatenate([[0], titles.attention_mask.sum(axis=1).cumsum()]),
    )
    twice = replace(cache, channels={**cache.channels, 'title': shared})
    embedder = disturb(tiny(channels='four')).eval()
    with torch.no_grad():
        expected = embedder(all_tokens(twice), 6)
    rows: list[int] = []
    encode = embedder.channels.encode

    def counted(channel: str, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        rows.append(len(ids) if channel == 'title' else 0)
        return encode(channel, ids, mask)

    monkeypatch.setattr(embedder.channels, 'encode', counted)
    assert_same(embedder.encode_codes(twice, 2), expected)
    assert sum(rows) == 5


def test_codes_are_encoded_from_their_table_as_well(descriptions: Path) -> None:
    embedder = disturb(tiny())
    frame = pl.read_parquet(descriptions)
    cut = token_cache(frame, backbone=TINY)
    assert_same(embedder.encode_codes(frame), embedder.encode_codes(cut))


def test_encoding_leaves_the_mode_and_the_gradients_alone(cache: TokenCache) -> None:
    embedder = disturb(four(lora_dropout=0.5, channel_dropout=0.5)).train()
    first, second = embedder.encode_codes(cache).tangent, embedder.encode_codes(cache).tangent
    assert torch.equal(first, second)  # no dropout inside
    assert embedder.training
    assert embedder.channels.training
    assert not first.requires_grad
    assert embedder(all_tokens(cache), 6).tangent.requires_grad
    assert not embedder.eval().training
    embedder.encode(['a'])
    assert not embedder.training


def test_a_cache_of_another_backbone_is_refused(cache: TokenCache) -> None:
    with pytest.raises(ConfigurationError, match='build the cache again'):
        tiny().encode_codes(replace(cache, backbone=MINILM, digest='0' * 64))


@pytest.mark.parametrize(
    'settings', [{'curvature': 0.5}, {'channels': 'four', 'fusion': 'moe', 'curvature': 0.5}]
)
def test_a_saved_model_comes_back_the_same_without_its_backbone(
    cache: TokenCache, tmp_path: Path, settings: dict[str, Any]
) -> None:
    embedder = disturb(tiny(**settings))
    embedder.save_pretrained(tmp_path / 'model')
    back = NaicsEmbedder.from_pretrained(tmp_path / 'model')
    assert not back.training
    found, expected = back.encode_codes(cache), embedder.encode_codes(cache)
    assert torch.equal(found.unit, expected.unit)
    assert torch.equal(found.tangent, expected.tangent)

    weights = load_file(tmp_path / 'model' / 'model.safetensors')
    trainable = {n: p for n, p in embedder.named_parameters() if p.requires_grad}
    assert weights.keys() == trainable.keys()
    config = json.loads((tmp_path / 'model' / 'config.json').read_text())
    assert config['backbone']['name'] == TINY
    assert config['backbone']['digest'] == embedder.backbone.digest
    assert config['settings']['curvature'] == 0.5
    counts = embedder.parameter_counts()
    assert config['parameters'] == {'trainable': counts.trainable, 'frozen': counts.frozen}
    assert counts.trainable == sum(tensor.numel() for tensor in weights.values())


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    embedder = tiny()
    embedder.save_pretrained(tmp_path / 'a')
    embedder.save_pretrained(tmp_path / 'b')
    for name in ('config.json', 'model.safetensors'):
        assert (tmp_path / 'a' / name).read_bytes() == (tmp_path / 'b' / name).read_bytes()


def test_weights_of_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    tiny().save_pretrained(tmp_path)
    with pytest.raises(ConfigurationError, match='has lora_r = 2, but 4 is asked for'):
        tiny(lora_r=4).load_weights(tmp_path)
    with pytest.raises(ConfigurationError, match="has channels = 'one', but 'four' is asked for"):
        tiny(channels='four').load_weights(tmp_path)
    free = {'lora_dropout': 0.3, 'channel_dropout': 0.2, 'start_radius': 1.0}
    tiny(gradient_checkpointing=True, **free).load_weights(tmp_path)


def edit(path: Path, **changes: Any) -> None:
    config = json.loads(path.read_text())
    for key, value in changes.items():
        config[key] = {**config[key], **value}
    path.write_text(json.dumps(config))


def test_a_model_of_another_release_is_refused_in_one_sentence(tmp_path: Path) -> None:
    tiny().save_pretrained(tmp_path)
    edit(tmp_path / 'config.json', settings={'head': 'linear'})
    with pytest.raises(ConfigurationError, match='settings this version does not know'):
        NaicsEmbedder.from_pretrained(tmp_path)


def test_a_model_of_other_backbone_weights_is_refused(tmp_path: Path) -> None:
    tiny().save_pretrained(tmp_path)
    edit(tmp_path / 'config.json', backbone={'digest': 'f' * 64})
    with pytest.raises(ConfigurationError, match='tiny-random with weights ffffffffffff…'):
        NaicsEmbedder.from_pretrained(tmp_path)


def test_settings_that_do_not_fit_the_weights_are_refused(tmp_path: Path) -> None:
    tiny().save_pretrained(tmp_path)
    edit(tmp_path / 'config.json', settings={'hyperbolic_dim': 16})
    with pytest.raises(ConfigurationError, match='do not fit the settings beside them'):
        NaicsEmbedder.from_pretrained(tmp_path)
    edit(tmp_path / 'config.json', settings={'hyperbolic_dim': 8, 'depth': 3})
    with pytest.raises(ConfigurationError, match='settings this version does not know'):
        NaicsEmbedder.from_pretrained(tmp_path)


def test_missing_and_damaged_folders_are_explained(tmp_path: Path) -> None:
    with pytest.raises(DataError, match='does not exist'):
        NaicsEmbedder.from_pretrained(tmp_path / 'none')
    tiny().save_pretrained(tmp_path)
    (tmp_path / 'model.safetensors').write_bytes(b'cut short')
    with pytest.raises(DataError, match='is damaged'):
        NaicsEmbedder.from_pretrained(tmp_path)
    save_file({'stray': torch.zeros(1)}, tmp_path / 'model.safetensors')
    with pytest.raises(ConfigurationError, match='do not fit'):
        NaicsEmbedder.from_pretrained(tmp_path)
    (tmp_path / 'config.json').write_text('[]')
    with pytest.raises(DataError, match='does not describe an embedder'):
        NaicsEmbedder.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ('setting', 'value'),
    [
        ('top_k', 5),
        ('top_k', 0),
        ('lora_r', 0),
        ('lora_dropout', 1.0),
        ('channel_dropout', -0.1),
        ('fusion', 'sum'),
        ('channels', 'two'),
        ('start_radius', 0.0),
        ('start_radius', 6.0),
        ('curvature', -1.0),
        ('max_radius', 20.0),
        ('hyperbolic_dim', 1),
    ],
)
def test_settings_out_of_range_are_refused_by_name(setting: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f'{setting} is {value!r}, but must be'):
        NaicsEmbedder(**{'backbone': TINY, setting: value})


def test_with_the_real_language_model() -> None:
    torch.manual_seed(0)
    embedder = NaicsEmbedder()
    counts = embedder.parameter_counts()
    assert counts.frozen == 22_565_376
    assert counts.trainable == 99_520
    texts = ['Soybean farming', 'Growing soybeans', 'Commercial banking', 'Savings banks']
    found = embedder.encode(texts)
    radii = lorentz.radius(found.tangent)
    assert radii.min() > 1.0
    assert radii.max() < 3.0
    # The untrained projection keeps what the language model knows.
    for matrix in (
        lorentz.pairwise_distance(found.tangent, found.tangent),
        1 - found.unit @ found.unit.T,
    ):
        assert matrix[0, 1] < matrix[0, 2:].min()
        assert matrix[2, 3] < matrix[2, :2].min()
