"""`python -m naics_model.encoder`: the job that embeds every code of an edition.

Only the command and its report; embedding itself is the embedder's.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from naics_model.encoder.table import embedding_table
from naics_model.encoder.tokens import TokenCache, content_digest
from naics_model.errors import ConfigurationError
from naics_model.jobs.command import run_command
from naics_model.jobs.reporting import JobResult, Reporter, open_reporter
from naics_model.storage.files import read_parquet, write_parquet

_DESCRIPTION = """\
Embed every NAICS code of an edition with a trained model, and write one row per code: the tangent
vector at the origin, its radius, the same point in Lorentz coordinates (time first; a model of
curvature 0 has none), and the unit vector of the flat reading.

A code that the model was trained on has a learned point, which is taken; any other code is placed by
its texts.

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

On a machine with a CUDA device it is used; two CPU cores need about a minute for the 2,125 codes of
2022 with the packaged MiniLM."""


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
    import torch

    from naics_model.encoder.embedder import NaicsEmbedder
    from naics_model.encoder.points import POINTS_FILE, CodePoints

    embedder = NaicsEmbedder.from_pretrained(model)
    embedder.to('cuda' if torch.cuda.is_available() else 'cpu')
    reporter.log(f'embedding {len(cache)} codes with {embedder.backbone.name} on {embedder.device}')

    started = last_said = time.monotonic()
    texts = 0

    def say(done: int, total: int) -> None:
        nonlocal last_said, texts
        texts = done
        if time.monotonic() - last_said >= 10:
            last_said = time.monotonic()
            reporter.log(f'{done} of {total} texts')

    output = embedder.encode_codes(cache, batch_size, progress=say)
    seconds = time.monotonic() - started
    unit, tangent, learned = output.unit, output.tangent, 0
    if (model / POINTS_FILE).is_file():
        points = CodePoints.load(model)
        place = {code: row for row, code in enumerate(points.codes)}
        known = [row for row, code in enumerate(frame['code']) if code in place]
        rows = [place[frame['code'][row]] for row in known]
        with torch.no_grad():
            of_codes = points(embedder.cpu().projection)
        unit[known], tangent[known] = of_codes.unit[rows], of_codes.tangent[rows]
        learned = len(known)
    table = embedding_table(frame, tangent, embedder.settings['curvature'], unit)
    write_parquet(table, out)

    radii = table['radius'].to_numpy()
    levels = table['level'].to_numpy()
    reporter.finish(
        JobResult(
            metrics={
                'codes': len(table),
                'learned_points': learned,
                'dimension': tangent.shape[1],
                'texts_per_second': texts / seconds,
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
                'truncated_texts': cache.truncated,
            },
        )
    )


if __name__ == '__main__':
    sys.exit(run_command(main, sys.argv[1:]))
