"""A launcher's channel, and none by default."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dagster_pipes import (
    DAGSTER_PIPES_CONTEXT_ENV_VAR,
    DAGSTER_PIPES_MESSAGES_ENV_VAR,
    PipesContext,
    encode_param,
)

from naics_model.storage.files import write_json


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('RANK', DAGSTER_PIPES_CONTEXT_ENV_VAR, DAGSTER_PIPES_MESSAGES_ENV_VAR):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A launcher's channel as two files, the way Dagster Pipes offers it."""
    context, messages = tmp_path / 'context', tmp_path / 'messages'
    write_json(
        {
            'run_id': 'r',
            'asset_keys': ['stage'],
            'code_version_by_asset_key': {'stage': None},
            'provenance_by_asset_key': {'stage': None},
            'partition_key': None,
            'partition_key_range': None,
            'partition_time_window': None,
            'job_name': 'j',
            'retry_number': 0,
            'extras': {},
        },
        context,
    )
    # A process has one channel, which it opens once: this is to be another process.
    monkeypatch.setattr(PipesContext, '_instance', None)
    monkeypatch.setenv(DAGSTER_PIPES_CONTEXT_ENV_VAR, encode_param({'path': str(context)}))
    monkeypatch.setenv(DAGSTER_PIPES_MESSAGES_ENV_VAR, encode_param({'path': str(messages)}))
    return messages


@pytest.fixture
def told(messages: Path) -> Callable[[], list[Any]]:
    """Return what a job has told its launcher until now, but for lines to be read."""

    def read() -> list[Any]:
        lines = map(json.loads, messages.read_text().splitlines())
        return [
            line['params']['payload'] for line in lines if line['method'] == 'report_custom_message'
        ]

    return read
