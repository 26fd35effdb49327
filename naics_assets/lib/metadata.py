"""How a materialisation is described: content's digest, rows, columns, size, cost, a preview."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from naics_model.storage.files import sha256_of

PREVIEW_ROWS = 5
PREVIEW_CHARACTERS = 60


@dataclass
class Cost:
    """What a step took: wall seconds, CPU seconds of this process, peak resident bytes."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0

    def metadata(self) -> dict[str, Any]:
        return {
            'seconds': round(self.seconds, 2),
            'cpu_seconds': round(self.cpu_seconds, 2),
            'peak_memory_mb': round(self.peak_memory_bytes / 1e6, 1),
        }


@contextmanager
def measured() -> Iterator[Cost]:
    """Yield a `Cost` that is filled in when the block ends."""
    cost = Cost()
    _reset_peak_memory()
    wall, cpu = time.monotonic(), time.process_time()
    yield cost
    cost.seconds = time.monotonic() - wall
    cost.cpu_seconds = time.process_time() - cpu
    cost.peak_memory_bytes = _peak_memory()


def _reset_peak_memory() -> None:
    # Several steps may share a process; Linux can restart the high-water mark, others cannot.
    # Where a container forbids it, the figure is the process's peak so far.
    if sys.platform == 'linux':
        with suppress(OSError):
            Path('/proc/self/clear_refs').write_text('5')


def _peak_memory() -> int:
    if sys.platform == 'linux':
        for line in Path('/proc/self/status').read_text().splitlines():
            if line.startswith('VmHWM:'):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == 'darwin' else peak * 1024


def file_result(
    path: Path,
    cost: Cost,
    metadata: Mapping[str, Any] | None = None,
    data_version: str | None = None,
) -> dg.MaterializeResult:
    """Describe a written file.

    Args:
        path: the file.
        cost: what writing it took.
        metadata: anything that is particular to this asset.
        data_version: the content's identity where the bytes are not it; by default their sha256.
    """
    return dg.MaterializeResult(
        data_version=dg.DataVersion(data_version or sha256_of(path)),
        metadata={
            'path': dg.MetadataValue.path(path),
            'size_mb': round(path.stat().st_size / 1e6, 3),
            **cost.metadata(),
            **(metadata or {}),
        },
    )


def table_result(
    path: Path,
    cost: Cost,
    metadata: Mapping[str, Any] | None = None,
    data_version: str | None = None,
) -> dg.MaterializeResult:
    """Describe a written Parquet file: as `file_result`, with rows, columns and a preview."""
    return file_result(path, cost, {**table_metadata(path), **(metadata or {})}, data_version)


def table_metadata(path: Path) -> dict[str, Any]:
    """Return the number of rows, the columns and a preview of a Parquet file."""
    table = pl.scan_parquet(path)
    schema = table.collect_schema()
    return {
        'dagster/row_count': table.select(pl.len()).collect().item(),
        'dagster/column_schema': dg.TableSchema(
            [dg.TableColumn(name, str(dtype)) for name, dtype in schema.items()]
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
