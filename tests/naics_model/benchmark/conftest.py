"""Jobs of a chain that start at once; `test_chain.py` has those that start as they do in life."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence

import pytest

from tests.forked import run_module


@pytest.fixture
def forked_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the jobs of chains in processes that have torch already."""

    def run(
        command: Sequence[str], env: Mapping[str, str], check: bool
    ) -> subprocess.CompletedProcess[str]:
        assert command[:2] == [sys.executable, '-m']
        assert not check
        done = run_module(command[2], command[3:], env)
        sys.stdout.write(done.stdout)
        sys.stderr.write(done.stderr)
        return done

    monkeypatch.setattr('naics_model.benchmark.chain.subprocess.run', run)
