"""The summary at the end of a run: each figure whole, each row on one line of a narrow window."""

from __future__ import annotations

import io

from rich.console import Console

from naics_assets.lib.summary import metrics_table
from naics_model.evaluation.guide import SUMMARY, SUMMARY_OF


def test_each_row_is_one_line_of_eighty_characters() -> None:
    # A correlation may be below 0, which takes a character more.
    metrics = {f'{method}/{metric.key}': -0.123 for method in SUMMARY_OF for metric in SUMMARY}
    # Structure is not measured of methods that know activities.
    metrics = {
        name: value
        for name, value in metrics.items()
        if not ('_nearest/' in name and '/structure/' in name)
    }
    said = io.StringIO()
    Console(file=said, width=80).print(metrics_table(metrics, 'Edition sample'))
    lines = said.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    # No heading is cut either.
    assert '…' not in said.getvalue()
    (below,) = [number for number, line in enumerate(lines) if line.startswith('─')]
    rows = lines[below + 1 :]
    assert [row.split('  ')[0] for row in rows] == [metric.label for metric in SUMMARY]
    for metric, row in zip(SUMMARY, rows, strict=True):
        known = sum(f'{method}/{metric.key}' in metrics for method in SUMMARY_OF)
        assert (row.count('0.123'), row.count('–')) == (known, len(SUMMARY_OF) - known)
