"""Backbones: identified, checked, loaded without touching anyone's randomness."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
import torch

from naics_model.encoder import backbones
from naics_model.encoder.backbones import (
    MINILM,
    MPNET,
    TINY,
    hub_folder,
    load_backbone,
    resolve_backbone,
)
from naics_model.errors import ConfigurationError, SourceError


@pytest.fixture(autouse=True)
def _empty_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache of the person who runs the tests may hold the production model."""
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path / 'hub'))


def test_the_packaged_model_is_the_published_one() -> None:
    backbone = resolve_backbone(MINILM)
    assert backbone.digest.startswith('53aa51172d14')
    assert backbone.lora_targets == ('query', 'value')
    assert backbone.longest == 512
    assert backbone.tokenizer.is_file()


def test_damaged_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / 'model'
    folder.mkdir()
    source = resolve_backbone(MINILM).location
    for name in ('config.json', 'tokenizer.json'):
        shutil.copy(source / name, folder)
    (folder / 'model.safetensors').write_bytes(b'something else')
    monkeypatch.setattr(backbones, '_packaged_folder', lambda: folder)
    resolve_backbone.cache_clear()
    try:
        with pytest.raises(SourceError, match='is not the published all-MiniLM-L6-v2'):
            resolve_backbone(MINILM)
    finally:
        resolve_backbone.cache_clear()


@pytest.mark.parametrize(
    ('name', 'sentence'),
    [
        ('no-such-model', 'is unknown: use all-MiniLM-L6-v2'),
        ('owner/model', 'needs a pinned revision: write owner/model@<40-digit commit>'),
        ('owner/model@main', 'is unknown'),
    ],
)
def test_names_that_can_not_be_resolved_are_explained(name: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        resolve_backbone(name)


def hub_returns(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Let the model hub answer with a folder; return the list of what was asked of it."""
    asked: list[tuple[str, str]] = []

    def download(repo: str, *, revision: str, allow_patterns: list[str]) -> str:
        assert not any(pattern.endswith(('.bin', '.pt', '.pkl')) for pattern in allow_patterns)
        asked.append((repo, revision))
        return str(folder)

    monkeypatch.setattr('huggingface_hub.snapshot_download', download)
    resolve_backbone.cache_clear()
    return asked


def tiny_mpnet(folder: Path) -> Path:
    """Write a small random MPNet with the packaged tokenizer, as the hub would lay it out."""
    import transformers

    config = transformers.MPNetConfig(
        vocab_size=30527,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=66,
    )
    transformers.MPNetModel(config).save_pretrained(folder)
    shutil.copy(resolve_backbone(TINY).tokenizer, folder)
    return folder


def test_a_hub_model_loads_from_its_pinned_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_mpnet(tmp_path)
    asked = hub_returns(folder, monkeypatch)
    name = f'someone/tiny-mpnet@{"a" * 40}'
    backbone = resolve_backbone(name)
    assert asked == [('someone/tiny-mpnet', 'a' * 40)]
    assert backbone.lora_targets == ('q', 'v')
    assert backbone.longest == 64  # two rows of the position table are reserved
    module = load_backbone(backbone)
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert module.config.attention_probs_dropout_prob == 0.0


def test_the_production_model_is_pinned_and_its_weights_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = hub_returns(tiny_mpnet(tmp_path), monkeypatch)
    with pytest.raises(SourceError, match='is not the published sentence-transformers'):
        resolve_backbone(MPNET)
    assert asked == [(MPNET, 'e8c3b32edf5434bc2275fc9bab85f82640a19130')]


def test_a_hub_model_without_safetensors_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'config.json').write_text('{}')
    hub_returns(tmp_path, monkeypatch)
    with pytest.raises(SourceError, match=r'lacks tokenizer\.json, model\.safetensors'):
        resolve_backbone(f'someone/pickled@{"b" * 40}')


def test_an_unknown_family_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_mpnet(tmp_path)
    config = json.loads((folder / 'config.json').read_text())
    (folder / 'config.json').write_text(json.dumps({**config, 'model_type': 'mamba'}))
    hub_returns(folder, monkeypatch)
    with pytest.raises(ConfigurationError, match="family 'mamba'"):
        resolve_backbone(f'someone/mamba@{"c" * 40}')


def test_a_commit_in_the_cache_is_used_without_asking_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = hub_returns(tmp_path, monkeypatch)
    folder = hub_folder('someone/tiny-mpnet', 'd' * 40)
    folder.mkdir(parents=True)
    tiny_mpnet(folder)
    name = f'someone/tiny-mpnet@{"d" * 40}'
    assert resolve_backbone(name).location == folder
    assert asked == []
    resolve_backbone.cache_clear()
    (folder / 'config.json').unlink()
    with pytest.raises(SourceError, match='lacks'):
        resolve_backbone(name)
    assert asked == [('someone/tiny-mpnet', 'd' * 40)]


def test_a_proxy_that_refuses_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: object, **__: object) -> str:
        raise httpx2.ProxyError('403 Forbidden')

    monkeypatch.setattr('huggingface_hub.snapshot_download', download)
    with pytest.raises(SourceError, match='403 Forbidden') as caught:
        resolve_backbone(MPNET)
    assert 'run `make mpnet`' in str(caught.value)


def test_no_network_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: object, **__: object) -> str:
        raise OSError('no route to host\nand a page of details')

    monkeypatch.setattr('huggingface_hub.snapshot_download', download)
    resolve_backbone.cache_clear()
    with pytest.raises(SourceError, match='could not be fetched') as caught:
        resolve_backbone(MPNET)
    assert 'no route to host' in str(caught.value)
    assert '\n' not in str(caught.value)


def test_the_tiny_backbone_is_the_same_every_time_and_leaves_randomness_alone() -> None:
    backbone = resolve_backbone(TINY)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = load_backbone(backbone)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second = load_backbone(backbone)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_backbones_and_tokens_need_no_torch() -> None:
    code = (
        'import sys\n'
        'import naics_model.encoder.tokens as t\n'
        "t.tokenize(['Retail bakery'], 'tiny-random')\n"
        "t.resolve_backbone('all-MiniLM-L6-v2')\n"
        "print({'torch', 'transformers'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == 'set()'
