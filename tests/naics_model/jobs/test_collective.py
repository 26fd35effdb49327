"""Two real processes with unequal shares of a batch have the loss and gradients of one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

from naics_model.jobs.collective import summed_over_ranks
from naics_model.losses.load_balance import load_balance

ROWS = (5, 2)
TOP_K = 2

RANK = """
import sys
import torch
import torch.distributed as dist
from torch import nn
from naics_model.jobs.collective import summed_over_ranks
from naics_model.losses.load_balance import load_balance

folder, rank, top_k = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
dist.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
start = torch.load(f'{folder}/start.pt')
gate = nn.Linear(6, 4)
gate.load_state_dict(start['gate'])
averaged = nn.parallel.DistributedDataParallel(gate)
x = start['shares'][rank]
loss = load_balance(averaged(x).softmax(dim=1), top_k, summed_over_ranks)
# Beside it a loss of this process alone, which DDP averages.
(loss + x.mean() * gate.bias.sum()).backward()
counted = summed_over_ranks(torch.tensor([rank + 1]))
torch.save(
    {
        'loss': loss.detach(),
        'weight': gate.weight.grad,
        'bias': gate.bias.grad,
        'counted': counted,
    },
    f'{folder}/rank{rank}.pt',
)
dist.destroy_process_group()
"""


def test_a_process_alone_sums_itself() -> None:
    tensor = torch.ones(3, requires_grad=True)
    assert summed_over_ranks(tensor) is tensor


def test_two_processes_have_the_loss_and_gradients_of_one(tmp_path: Path) -> None:
    torch.manual_seed(11)
    gate = nn.Linear(6, 4)
    x = torch.randn(sum(ROWS), 6)
    shares = x.split(ROWS)
    start = {'gate': gate.state_dict(), 'shares': [share.clone() for share in shares]}
    torch.save(start, tmp_path / 'start.pt')
    program = [sys.executable, '-W', 'error::FutureWarning', '-c', RANK, str(tmp_path)]
    ranks = [subprocess.Popen([*program, str(rank), str(TOP_K)]) for rank in range(2)]
    try:
        assert [rank.wait(timeout=120) for rank in ranks] == [0, 0]
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()

    loss = load_balance(gate(x).softmax(dim=1), TOP_K)
    alone = sum(share.mean() * gate.bias.sum() for share in shares) / 2
    (loss + alone).backward()
    for rank in range(2):
        found = torch.load(tmp_path / f'rank{rank}.pt')
        torch.testing.assert_close(found['loss'], loss.detach(), atol=1e-6, rtol=0)
        torch.testing.assert_close(found['weight'], gate.weight.grad, atol=1e-6, rtol=0)
        torch.testing.assert_close(found['bias'], gate.bias.grad, atol=1e-6, rtol=0)
        assert found['counted'].tolist() == [3]
    # Without the sum it would be another loss.
    apart = sum(load_balance(gate(share).softmax(dim=1), TOP_K) for share in shares) / 2
    assert abs(apart - loss) > 1e-3
