"""Four adapters over one backbone: all trained, equal to four copies, padding and absence free."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from naics_model.encoder import packing
from naics_model.encoder.backbones import TINY, load_backbone, resolve_backbone
from naics_model.encoder.channels import (
    ChannelEncoder,
    TokenTensors,
    token_tensors,
)
from naics_model.encoder.tokens import CHANNELS, TokenCache

Tokens = dict[str, TokenTensors]


def encoder(
    backbone: Any = None, targets: Any = ('query', 'value'), **options: Any
) -> ChannelEncoder:
    settings: dict[str, Any] = {
        'lora_r': 4,
        'lora_alpha': 8,
        'lora_dropout': 0.0,
        'channel_dropout': 0.0,
        **options,
    }
    torch.manual_seed(0)
    backbone = backbone or load_backbone(resolve_backbone(TINY))
    return ChannelEncoder(CHANNELS, backbone, targets, **settings)


def mpnet() -> nn.Module:
    import transformers

    config = transformers.MPNetConfig(
        vocab_size=30527,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.3,
    )
    torch.manual_seed(1)
    return transformers.MPNetModel(config, add_pooling_layer=False).requires_grad_(False)


@pytest.fixture
def tokens(cache: TokenCache) -> Tokens:
    return {channel: token_tensors(cache.batch(channel, np.arange(6))) for channel in CHANNELS}


def step(model: ChannelEncoder, tokens: Tokens, optimiser: torch.optim.Optimizer) -> None:
    optimiser.zero_grad()
    features = model(tokens, 6)
    # A loss with a gradient through normalised vectors, whose sum and length are constant.
    (features * torch.linspace(-1, 1, features.shape[-1])).square().sum().backward()
    optimiser.step()


def lora(model: nn.Module) -> dict[str, Tensor]:
    return {name: p for name, p in model.named_parameters() if 'lora_' in name}


@pytest.mark.parametrize(
    ('backbone', 'targets', 'adapted'),
    [
        (None, ('query', 'value'), 2),
        (mpnet, ('q', 'v'), 2),
        # Query, key, value and the three dense layers of each block.
        (None, 'all-linear', 6),
        (mpnet, 'all-linear', 6),
    ],
)
def test_every_adapter_learns_in_every_step(
    backbone: Any, targets: Any, adapted: int, tokens: Tokens
) -> None:
    # Fails when peft's own switch is used alone: it freezes the three adapters it switches off.
    model = encoder(backbone and backbone(), targets)
    assert len(lora(model)) == 2 * adapted * 2 * len(CHANNELS)  # layers, maps, A and B, channels
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    step(model, tokens, optimiser)  # B starts at 0, so that A has no gradient in the first step
    step(model, tokens, optimiser)
    for name, parameter in lora(model).items():
        assert parameter.requires_grad, name
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_the_backbone_is_frozen_and_stays_as_it_was(tokens: Tokens) -> None:
    model = encoder()
    frozen = {n: p for n, p in model.backbone.named_parameters() if 'lora_' not in n}
    before = {name: parameter.clone() for name, parameter in frozen.items()}
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    step(model, tokens, optimiser)
    for name, parameter in frozen.items():
        assert not parameter.requires_grad
        assert torch.equal(parameter, before[name]), name


def test_an_adapter_frozen_on_purpose_stays_frozen(tokens: Tokens) -> None:
    model = encoder()
    for name, parameter in lora(model).items():
        parameter.requires_grad_('.title.' not in name)
    model(tokens, 6)
    assert {name for name, p in lora(model).items() if not p.requires_grad} == {
        name for name in lora(model) if '.title.' in name
    }


# peft 0.21 asks transformers 5 for an attribute by its old name.
@pytest.mark.filterwarnings('ignore:`is_gradient_checkpointing` is deprecated:FutureWarning')
def test_the_result_equals_four_separate_copies(tokens: Tokens) -> None:
    model = encoder()
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    step(model, tokens, optimiser)
    model.eval()
    shared = model(tokens, 6)

    for column, channel in enumerate(CHANNELS):
        config = LoraConfig(r=4, lora_alpha=8, target_modules=['query', 'value'])
        copy_ = get_peft_model(load_backbone(resolve_backbone(TINY)), config)
        own = dict(copy_.get_base_model().named_parameters())
        with torch.no_grad():
            for name, parameter in lora(model.backbone).items():
                if f'.{channel}.' in name:
                    own[name.replace(f'.{channel}.', '.default.')].copy_(parameter)
        copy_.eval()
        part = tokens[channel]
        # Unpacked, in one padded batch.
        hidden = copy_(
            input_ids=part.input_ids, attention_mask=part.attention_mask
        ).last_hidden_state
        mask = part.attention_mask.unsqueeze(-1)
        alone = model.norms[channel]((hidden * mask).sum(dim=1) / mask.sum(dim=1))
        torch.testing.assert_close(shared[part.rows, column], alone, rtol=0, atol=1e-5)


def test_adapters_differ_between_channels(tokens: Tokens) -> None:
    model = encoder()
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-1)
    step(model, tokens, optimiser)
    model.eval()
    part = tokens['title']
    title = model.encode('title', part.input_ids, part.attention_mask)
    examples = model.encode('examples', part.input_ids, part.attention_mask)
    assert (title - examples).abs().max() > 1e-3


def held_bytes(model: ChannelEncoder, tokens: Tokens) -> tuple[int, dict[str, Tensor]]:
    """Return the bytes that a forward pass keeps for the gradient, and all gradients."""
    held = {}

    def keep(tensor: Tensor) -> Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    torch.manual_seed(6)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        features = model(tokens, 6)
    bytes_held = sum(held.values())
    (features * torch.linspace(-1, 1, features.shape[-1])).square().sum().backward()
    return bytes_held, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize('family', ['bert', 'mpnet'])
def test_checkpointing_changes_the_memory_and_not_the_gradients(
    family: str, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A pass for each row of a channel, so that each is computed again after another channel was
    # on, and with the dropout that it had.
    monkeypatch.setitem(packing._TOKENS_PER_PASS, 'cpu', 1)
    results = []
    for gradient_checkpointing in (False, True):
        backbone, targets = (
            (None, ('query', 'value')) if family == 'bert' else (mpnet(), ('q', 'v'))
        )
        model = encoder(
            backbone,
            targets,
            lora_dropout=0.5,
            channel_dropout=0.2,
            gradient_checkpointing=gradient_checkpointing,
        ).train()
        with torch.no_grad():
            for name, parameter in lora(model).items():
                if 'lora_B' in name:
                    parameter.normal_()
        results.append(held_bytes(model, tokens))
    (plain_bytes, plain), (bytes_held, gradients) = results
    assert bytes_held < plain_bytes / 4
    assert gradients.keys() == plain.keys()
    assert len(lora(model).keys() & gradients.keys()) == 2 * 2 * 2 * len(CHANNELS)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, plain[name], rtol=1e-6, atol=1e-6)


def test_an_absent_channel_is_its_learned_vector(tokens: Tokens) -> None:
    model = encoder().eval()
    with torch.no_grad():
        model.absent.copy_(torch.arange(4.0)[:, None].expand(-1, model.width))
    features = model(tokens, 6)
    column = CHANNELS.index('examples')
    has = set(tokens['examples'].rows.tolist())
    for row in range(6):
        learned = torch.equal(features[row, column], model.absent[column])
        assert learned == (row not in has)


def test_a_title_alone_is_a_legal_input(tokens: Tokens) -> None:
    model = encoder()
    features = model({'title': tokens['title']}, 6)
    assert features.shape == (6, 4, model.width)
    features.sum().backward()
    assert model.absent.grad is not None
    assert torch.equal(model.absent.grad[0], torch.zeros(model.width))
    assert (model.absent.grad[1:] == 6).all()


def kept_channels(model: ChannelEncoder, tokens: Tokens) -> Tensor:
    """Return bool (6, 4): which channels were really encoded."""
    features = model(tokens, 6)
    return (features != model.absent).any(dim=-1)


def test_channel_dropout_leaves_each_code_at_least_one_of_its_channels(tokens: Tokens) -> None:
    model = encoder(channel_dropout=0.9)
    with torch.no_grad():
        model.absent.fill_(7.0)
    present = torch.zeros(6, 4, dtype=torch.bool)
    for column, channel in enumerate(CHANNELS):
        present[tokens[channel].rows, column] = True
    torch.manual_seed(3)
    runs = torch.stack([kept_channels(model, tokens) for _ in range(60)])
    assert not (runs & ~present).any()
    assert runs.any(dim=2).all()
    # Every present channel is sometimes the one that stays, and most are dropped.
    assert runs.any(dim=0).equal(present)
    assert runs.float().mean() < 0.6 * present.float().mean()

    model.eval()
    assert kept_channels(model, tokens).equal(present)


def test_dropped_channels_are_not_encoded(tokens: Tokens) -> None:
    model = encoder(channel_dropout=0.95)
    starts: list[int] = []
    model.backbone.register_forward_pre_hook(
        lambda _, __, kwargs: starts.append(int((kwargs['input_ids'] == 101).sum())),
        with_kwargs=True,
    )
    torch.manual_seed(4)
    model(tokens, 6)
    assert 6 <= sum(starts) < sum(len(part.rows) for part in tokens.values())


def test_a_copied_encoder_switches_its_own_adapters(tokens: Tokens) -> None:
    model = encoder().eval()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in lora(model).items():
            if 'lora_B' in name:
                parameter.fill_(0.5)
    assert (model(tokens, 6) - twin(tokens, 6)).abs().max() > 1e-3
