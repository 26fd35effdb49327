"""How a materialisation is described: content's digest, rows, columns, size, cost, a preview."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from naics_model.checks import Check
from naics_model.dataset.dictionary import PUBLISHED
from naics_model.dataset.steps import Fact, Made
from naics_model.jobs.cost import Cost
from naics_model.storage.files import scan_parquet

PREVIEW_ROWS = 5
PREVIEW_CHARACTERS = 60
_MEANINGS = {table.name: {c.name: c.meaning for c in table.columns} for table in PUBLISHED}


def describe(made: Made, cost: Cost) -> dg.MaterializeResult:
    """Describe what a step made, and what that took."""
    table = table_metadata(made.path) if made.path.suffix == '.parquet' else {}
    return dg.MaterializeResult(
        data_version=dg.DataVersion(made.version),
        metadata={
            'path': dg.MetadataValue.path(made.path),
            'size_mb': round(made.path.stat().st_size / 1e6, 3),
            'seconds': round(cost.seconds, 2),
            'cpu_seconds': round(cost.cpu_seconds, 2),
            'peak_memory_mb': round(cost.peak_memory_bytes / 1e6, 1),
            **table,
            **{name: _shown(fact) for name, fact in made.facts.items()},
        },
    )


def _shown(fact: Fact) -> Any:
    if isinstance(fact, pl.DataFrame):
        return dg.MetadataValue.md(markdown_table(fact))
    if isinstance(fact, bytes):
        return picture(fact)
    if isinstance(fact, tuple):
        return dg.MetadataValue.md('\n'.join(f'* {line}' for line in fact))
    return fact


def picture(png: bytes) -> dg.MetadataValue:
    """Return a PNG image as metadata that the UI shows."""
    return dg.MetadataValue.md(
        f'![picture](data:image/png;base64,{base64.b64encode(png).decode()})'
    )


def offending_rows(check: Check) -> dg.MetadataValue:
    """Return the rows that broke a check as a table."""
    return dg.MetadataValue.md(markdown_table(pl.DataFrame(list(check.offending), strict=False)))


def table_metadata(path: Path) -> dict[str, Any]:
    """Return a Parquet file's number of rows, columns with their meanings, and a preview."""
    meanings = _MEANINGS.get(path.stem, {})
    table = scan_parquet(path)
    schema = table.collect_schema()
    return {
        'dagster/row_count': table.select(pl.len()).collect().item(),
        'dagster/column_schema': dg.TableSchema(
            [dg.TableColumn(name, str(dtype), meanings.get(name)) for name, dtype in schema.items()]
        ),
        'preview': dg.MetadataValue.md(markdown_table(table.head(PREVIEW_ROWS).collect())),
    }


def markdown_table(frame: pl.DataFrame) -> str:
    """Return a frame as a Markdown table, long cells cut, so that a preview stays one screen."""

    def cell(value: Any) -> str:
        if value is None:
            return ''
        if isinstance(value, float):
            return f'{value:.4g}'
        # Indices stay as they are; counts of millions are read in groups of three.
        if isinstance(value, int) and abs(value) >= 10_000:
            return f'{value:,}'
        text = ' '.join(str(value).split()).replace('|', '\\|')
        return text if len(text) <= PREVIEW_CHARACTERS else text[: PREVIEW_CHARACTERS - 1] + '…'

    lines = [
        frame.columns,
        ['---'] * frame.width,
        *([cell(v) for v in row] for row in frame.rows()),
    ]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def job_result(
    result: Mapping[str, Any], main_file: str, metadata: Mapping[str, Any] | None = None
) -> dg.MaterializeResult:
    """Describe what a job left behind, from its `result.json`: metrics, files, cost.

    Args:
        result: the parsed `result.json`.
        main_file: the name (in `result['files']`) of the file that the asset stands for; its
            digest is the data version.
        metadata: anything that is particular to this asset.
    """
    main = result['files'][main_file]
    return dg.MaterializeResult(
        data_version=dg.DataVersion(main['sha256']),
        # What is particular comes first: people read from the top, and metrics can be many.
        metadata={
            **(metadata or {}),
            'path': dg.MetadataValue.path(main['path']),
            'size_mb': round(main['bytes'] / 1e6, 3),
            'seconds': result['seconds'],
            'peak_memory_mb': round(result['peak_memory_bytes'] / 1e6, 1),
            **{name: float(value) for name, value in result['metrics'].items()},
        },
    )
