"""Packs texts of different lengths into rows of one width, so that little of a batch is padding.

A packed row holds several texts; a mask keeps each from attending to the others. The vectors are
those of each text encoded alone, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

# Rows of 64 tokens leave a third more padding; longer rows spend time on masked attention. Forward
# and backward in float32, 64 phrases and 4 documents of 2022, MiniLM on a CPU: 1.15 CPU-seconds in
# rows of 64, .67 in rows of 128, .78 in rows of 192, and 1.03 padded by length.
_ROW = 128
# Tokens per pass through the backbone; more only costs memory.
_TOKENS_PER_PASS = {'cpu': 2048}
_TOKENS_PER_PASS_ELSEWHERE = 32768
# Added to the attention scores between texts; not -inf, which bfloat16 and softmax turn into NaN.
_MASKED = -1e9


class Packed(NamedTuple):
    """Texts in R rows of W tokens, int64 (R, W) each.

    Attributes:
        input_ids: tokens; 0 where a row is padded.
        positions: position of each token in its text, 0 at the start of each.
        texts: the text of each token, -1 where a row is padded.
    """

    input_ids: Tensor
    positions: Tensor
    texts: Tensor


def pack(input_ids: Tensor, attention_mask: Tensor, row: int = _ROW) -> Packed:
    """Pack padded texts (n, L) into rows: the longest text first, each into the first row with
    room (first-fit decreasing).

    Args:
        input_ids: int64 (n, L).
        attention_mask: int64 (n, L), 1 for tokens, which come before the padding.
        row: width of a row, unless a text is longer.
    """
    lengths = attention_mask.sum(dim=1).tolist()
    row = max([row, *lengths])
    used: list[int] = []
    places = [(0, 0)] * len(lengths)
    for text in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        length = lengths[text]
        into = next((i for i, width in enumerate(used) if width + length <= row), len(used))
        if into == len(used):
            used.append(0)
        places[text] = (into, used[into])
        used[into] += length
    # One width, because a new shape costs a CPU more than the padding: kernels are made for shapes.
    shape = (len(used), row if len(used) > 1 else sum(used))
    packed = Packed(
        input_ids.new_zeros(shape), input_ids.new_zeros(shape), input_ids.new_full(shape, -1)
    )
    rows, starts = torch.tensor(places, device=input_ids.device).reshape(-1, 2).T
    owner, position = attention_mask.nonzero(as_tuple=True)
    place = (rows[owner], starts[owner] + position)
    packed.input_ids[place] = input_ids[owner, position]
    packed.positions[place] = position
    packed.texts[place] = owner
    return packed


def mean_vectors(
    backbone: Callable[..., Any],
    input_ids: Tensor,
    attention_mask: Tensor,
    first_position: int = 0,
) -> Tensor:
    """Average a backbone's last layer over the tokens of each text.

    Args:
        backbone: called with input_ids, position_ids and a four-dimensional attention_mask; its
            result has a last_hidden_state.
        input_ids: int64 (n, L), at least one text.
        attention_mask: int64 (n, L), 1 for tokens, which come before the padding.
        first_position: of the family, see `backbones.first_position`.

    Returns:
        float32 (n, width).
    """
    packed = pack(input_ids, attention_mask)
    budget = _TOKENS_PER_PASS.get(input_ids.device.type, _TOKENS_PER_PASS_ELSEWHERE)
    rows = max(1, budget // max(1, packed.input_ids.shape[1]))
    vectors = []
    for ids, positions, texts in zip(*(part.split(rows) for part in packed), strict=True):
        apart = texts.unsqueeze(1) != texts.unsqueeze(2)
        hidden = backbone(
            input_ids=ids,
            position_ids=positions + first_position,
            attention_mask=torch.zeros(apart.shape, device=ids.device)
            .masked_fill(apart, _MASKED)
            .unsqueeze(1),
        ).last_hidden_state
        vectors.append(hidden[texts >= 0].float())
    tokens = torch.cat(vectors)
    sums = tokens.new_zeros(len(input_ids), tokens.shape[1])
    sums = sums.index_add(0, packed.texts[packed.texts >= 0], tokens)
    return sums / attention_mask.sum(dim=1, keepdim=True).clamp_min(1)
