"""`python -m naics_model.encoder`: the job that embeds every code of an edition.

Only the command and its report; embedding itself is the embedder's.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from naics_model.encoder.table import embedding_table
from naics_model.encoder.tokens import TokenCache, content_digest
from naics_model.errors import ConfigurationError
from naics_model.jobs.command import run_command
from naics_model.jobs.reporting import JobResult, Reporter, open_reporter
from naics_model.storage.files import read_parquet, write_parquet
from naics_model.taxonomy.tree import LEVELS

_DESCRIPTION = """\
Embed every NAICS code of an edition with a trained model, and write one row per code: the tangent
vector at the origin, its radius, the same point in Lorentz coordinates (time first; a model of
curvature 0 has none), and the unit vector of the flat reading.

A code that the model was trained on has a learned point, which is taken; any other code is placed
by its texts, and so is the unit vector of every code of fewer than six digits.

The model is a folder that a training run exported (RUN_DIR/model). The token cache must have been
cut for the model's backbone, and from the same descriptions."""

_EPILOG = """\
example:
  python -m naics_model.encoder \\
      --model data/2022/training/stage_3_hard/model \\
      --token-cache data/2022/tokens/token_cache.safetensors \\
      --descriptions data/2022/corpus/descriptions.parquet \\
      --out data/2022/training/text_embeddings.parquet \\
      --result data/2022/training/text_embeddings.json

Codes with learned points take seconds. Texts are encoded on a CUDA device where there is one; two
CPU cores need about a minute for those of 2,125 codes with the packaged MiniLM."""


def main(arguments: Sequence[str]) -> None:
    """Read the command line and run the job.

    Raises:
        NaicsError: an input is missing, damaged, or does not belong to the others.
    """
    parser = argparse.ArgumentParser(
        prog='python -m naics_model.encoder',
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--model',
        type=Path,
        required=True,
        metavar='DIR',
        help='exported model: a folder with config.json and model.safetensors',
    )
    parser.add_argument(
        '--token-cache', type=Path, required=True, metavar='FILE', help='token_cache.safetensors'
    )
    parser.add_argument(
        '--descriptions', type=Path, required=True, metavar='FILE', help='descriptions.parquet'
    )
    parser.add_argument(
        '--out', type=Path, required=True, metavar='FILE', help='the Parquet file to write'
    )
    parser.add_argument(
        '--result',
        type=Path,
        required=True,
        metavar='FILE',
        help='the JSON file to write: figures, digest of the output, seconds and peak memory',
    )
    parser.add_argument(
        '--batch-size',
        type=int,
        default=64,
        metavar='N',
        help='texts per batch; changes the memory needed, not the result (default: %(default)s)',
    )
    options = parser.parse_args(arguments)
    if options.batch_size < 1:
        parser.error('--batch-size must be at least 1')
    with open_reporter(options.result) as reporter:
        embed(
            options.model,
            options.token_cache,
            options.descriptions,
            options.out,
            reporter,
            batch_size=options.batch_size,
        )


def embed(
    model: Path,
    token_cache: Path,
    descriptions: Path,
    out: Path,
    reporter: Reporter,
    *,
    batch_size: int = 64,
) -> None:
    """Embed an edition's codes and write the table and the job's result.

    Raises:
        ConfigurationError: model, token cache and descriptions do not belong together.
        DataError: a file is missing or damaged.
    """
    cache = TokenCache.load(token_cache)
    frame = read_parquet(descriptions)
    if cache.content != content_digest(frame):
        raise ConfigurationError(
            f'{token_cache} was not cut from the texts in {descriptions}: build it again.'
        )

    # Below the cheap checks: torch and transformers take seconds to import.
    import numpy as np
    import torch

    from naics_model.encoder.embedder import NaicsEmbedder
    from naics_model.encoder.points import POINTS_FILE, CodePoints

    embedder = NaicsEmbedder.from_pretrained(model)
    cache.check_backbone(embedder.backbone)
    width, dimension = embedder.channels.width, embedder.settings['hyperbolic_dim']
    has_points = (model / POINTS_FILE).is_file()
    learned = CodePoints.load(model, width, dimension) if has_points else None
    place = {code: row for row, code in enumerate(learned.codes)} if learned else {}
    places = np.array([place.get(code, -1) for code in frame['code']], np.int64)
    without_point = places < 0
    # No phrase trains the flat vector of a node above the leaves: its document says more.
    by_text = np.flatnonzero(without_point | (frame['level'].to_numpy() < LEVELS[-1]))
    unit, tangent = torch.zeros(len(frame), width), torch.zeros(len(frame), dimension)
    if learned is not None:
        with torch.no_grad():
            points = learned(embedder.projection)
        known = places >= 0
        unit[known], tangent[known] = points.unit[places[known]], points.tangent[places[known]]

    last_said = time.monotonic()
    texts = 0

    def say(done: int, total: int) -> None:
        nonlocal last_said, texts
        texts = done
        if time.monotonic() - last_said >= 10:
            last_said = time.monotonic()
            reporter.log(f'{done} of {total} texts')

    metrics: dict[str, float] = {}
    details: dict[str, Any] = {}
    if len(by_text):
        embedder.to('cuda' if torch.cuda.is_available() else 'cpu')
        reporter.log(
            f'embedding {len(by_text)} codes with {embedder.backbone.name} on {embedder.device}'
        )
        started = time.monotonic()
        output = embedder.encode_codes(cache, batch_size, progress=say, rows=by_text)
        metrics['texts_per_second'] = texts / (time.monotonic() - started)
        details['truncated_texts'] = cache.truncated
        unit[by_text] = output.unit
        new = np.flatnonzero(without_point[by_text])
        tangent[by_text[new]] = output.tangent[new]
    table = embedding_table(frame, tangent, embedder.settings['curvature'], unit)
    write_parquet(table, out)

    radii = table['radius'].to_numpy()
    levels = table['level'].to_numpy()
    reporter.finish(
        JobResult(
            metrics={
                'codes': len(table),
                'learned_points': len(table) - int(without_point.sum()),
                'dimension': tangent.shape[1],
                **metrics,
                'radius_max': float(radii.max()),
                **{
                    f'radius_level_{level}': float(radii[levels == level].mean())
                    for level in sorted(set(levels.tolist()))
                },
            },
            files={'embeddings': out},
            details={
                'backbone': embedder.backbone.name,
                'backbone_digest': embedder.backbone.digest,
                'settings': embedder.settings,
                **details,
            },
        )
    )


if __name__ == '__main__':
    sys.exit(run_command(main, sys.argv[1:]))
