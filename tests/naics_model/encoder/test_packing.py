"""Packed texts: every token once, and the vectors of texts that are encoded alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from naics_model.encoder import packing
from naics_model.encoder.backbones import first_position
from naics_model.encoder.packing import mean_vectors, pack

LENGTHS = [3, 17, 1, 40, 9, 9, 26, 5]


def texts(lengths: list[int]) -> tuple[Tensor, Tensor]:
    """Return padded ids and masks; no token stands twice."""
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    ids = torch.zeros_like(mask)
    ids[mask > 0] = torch.arange(10, 10 + sum(lengths))
    return ids, mask


@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=30), row=st.integers(1, 50))
def test_every_token_stands_once_and_in_the_order_of_its_text(lengths: list[int], row: int) -> None:
    ids, mask = texts(lengths)
    packed = pack(ids, mask, row)
    assert packed.input_ids.shape[1] <= max(row, *lengths)
    assert (packed.input_ids[packed.texts < 0] == 0).all()
    for text, length in enumerate(lengths):
        rows, columns = torch.nonzero(packed.texts == text, as_tuple=True)
        assert len(rows.unique()) == 1
        assert columns.tolist() == list(range(int(columns[0]), int(columns[0]) + length))
        assert packed.input_ids[rows, columns].tolist() == ids[text, :length].tolist()
        assert packed.positions[rows, columns].tolist() == list(range(length))


@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=30), row=st.integers(1, 50))
def test_no_two_rows_would_fit_into_one(lengths: list[int], row: int) -> None:
    packed = pack(*texts(lengths), row)
    used = sorted((packed.texts >= 0).sum(dim=1).tolist())
    assert len(used) == 1 or used[0] + used[1] > max(row, *lengths)


def model(family: str) -> Any:
    """Return a small random encoder of a family, with every kind of position at work."""
    sizes: dict[str, Any] = {
        'vocab_size': 200,
        'hidden_size': 16,
        'num_hidden_layers': 2,
        'num_attention_heads': 2,
        'intermediate_size': 32,
        'max_position_embeddings': 64,
        'hidden_dropout_prob': 0.0,
        'attention_probs_dropout_prob': 0.0,
        'initializer_range': 0.3,
    }
    if family == 'distilbert':
        sizes = {
            'vocab_size': 200,
            'dim': 16,
            'n_layers': 2,
            'n_heads': 2,
            'hidden_dim': 32,
            'max_position_embeddings': 64,
            'dropout': 0.0,
            'attention_dropout': 0.0,
            'initializer_range': 0.3,
        }
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(family, **sizes)
    return transformers.AutoModel.from_config(config).eval()


@pytest.mark.parametrize(
    'family', ['bert', 'mpnet', 'roberta', 'xlm-roberta', 'electra', 'distilbert']
)
@pytest.mark.parametrize('attention', ['sdpa', 'eager'])
def test_vectors_are_those_of_texts_that_are_encoded_alone(family: str, attention: str) -> None:
    backbone = model(family)
    backbone.set_attn_implementation(attention)
    ids, mask = texts(LENGTHS)
    found = mean_vectors(backbone, ids, mask, first_position(family))
    for text, length in enumerate(LENGTHS):
        alone = backbone(input_ids=ids[text : text + 1, :length]).last_hidden_state[0].mean(dim=0)
        torch.testing.assert_close(found[text], alone, rtol=0, atol=1e-5)


def test_gradients_are_those_of_texts_that_are_encoded_alone() -> None:
    backbone = model('bert')
    ids, mask = texts(LENGTHS)
    weights = torch.randn(len(LENGTHS), 16)
    table = backbone.get_input_embeddings().weight
    (packed,) = torch.autograd.grad((mean_vectors(backbone, ids, mask) * weights).sum(), table)
    loss = torch.stack(
        [
            (backbone(input_ids=ids[i : i + 1, :n]).last_hidden_state[0].mean(dim=0) * w).sum()
            for i, (n, w) in enumerate(zip(LENGTHS, weights, strict=True))
        ]
    ).sum()
    (alone,) = torch.autograd.grad(loss, table)
    torch.testing.assert_close(packed, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(('budget', 'passes'), [(1, 7), (400, 3), (10**6, 1)])
def test_passes_change_the_memory_and_not_the_vectors(
    budget: int, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, (ids, mask) = model('bert'), texts(LENGTHS * 8)
    ids %= 200
    whole = mean_vectors(backbone, ids, mask)
    seen: list[int] = []
    backbone.register_forward_pre_hook(
        lambda _, __, kwargs: seen.append(kwargs['input_ids'].numel()), with_kwargs=True
    )
    monkeypatch.setitem(packing._TOKENS_PER_PASS, 'cpu', budget)
    torch.testing.assert_close(mean_vectors(backbone, ids, mask), whole, rtol=0, atol=1e-5)
    assert len(seen) == passes
    assert max(seen) <= max(budget, 128)
    # 880 tokens, which padded to the longest text would be 2,560.
    assert sum(seen) == 7 * 128


def test_bfloat16_autocast_is_finite() -> None:
    with torch.autocast('cpu', torch.bfloat16):
        found = mean_vectors(model('bert'), *texts(LENGTHS))
    assert found.dtype == torch.float32
    assert found.isfinite().all()
