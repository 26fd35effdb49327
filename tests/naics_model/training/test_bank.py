"""The bank of codes by itself."""

from __future__ import annotations

import torch

from naics_model.training.bank import CodeBank


def test_the_last_word_counts_and_what_was_never_seen_is_no_candidate() -> None:
    bank = CodeBank(5, 2)
    assert bank.others(torch.tensor([0])).shape == (0,)
    bank.update(torch.tensor([3, 1]), torch.tensor([[3.0, 3.0], [1.0, 1.0]]))
    bank.update(torch.tensor([3]), torch.tensor([[4.0, 5.0]]))
    assert bank.points[bank.others(torch.tensor([0]))].tolist() == [[1.0, 1.0], [4.0, 5.0]]
    assert bank.points[bank.others(torch.tensor([1, 2]))].tolist() == [[4.0, 5.0]]


def test_it_gives_no_gradient_and_keeps_its_own_copy() -> None:
    bank = CodeBank(3, 2)
    points = torch.ones(1, 2, requires_grad=True)
    bank.update(torch.tensor([2]), points)
    with torch.no_grad():
        points.zero_()
    kept = bank.points[bank.others(torch.tensor([0]))]
    assert kept.tolist() == [[1.0, 1.0]]
    assert not kept.requires_grad


def test_it_goes_with_the_state() -> None:
    bank, twin = CodeBank(3, 2), CodeBank(3, 2)
    bank.update(torch.tensor([2]), torch.ones(1, 2))
    twin.load_state_dict(bank.state_dict())
    assert twin.points[twin.others(torch.tensor([0]))].tolist() == [[1.0, 1.0]]
