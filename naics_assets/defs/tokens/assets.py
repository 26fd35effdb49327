"""The token cache, for the backbone of the chosen profile."""

import dagster as dg
import polars as pl

from naics_assets.lib.asset import naics_asset, plain_errors
from naics_assets.lib.metadata import file_result, markdown_table, measured
from naics_assets.lib.paths import NaicsPaths
from naics_assets.lib.torchrun import JobLauncher
from naics_model.encoder.tokens import build_token_cache


@naics_asset(
    group_name='tokens',
    deps=['descriptions'],
    kinds={'huggingface'},
    code_version='1',
    description="Token ids of every code's four texts, cut once by the backbone's tokenizer.",
)
def token_cache(
    context: dg.AssetExecutionContext, paths: NaicsPaths, jobs: JobLauncher
) -> dg.MaterializeResult:
    folder = paths.edition(context.partition_key)
    with plain_errors(), measured() as cost:
        cache = build_token_cache(folder.descriptions, folder.token_cache, backbone=jobs.backbone())
    channels = pl.DataFrame(
        [
            {
                'channel': name,
                'texts': int((ragged.lengths > 0).sum()),
                'tokens': int(ragged.lengths.sum()),
                'truncated': cache.truncated[name],
            }
            for name, ragged in cache.channels.items()
        ]
    )
    return file_result(
        folder.token_cache,
        cost,
        {
            'backbone': cache.backbone,
            'max_length': cache.max_length,
            'channels': dg.MetadataValue.md(markdown_table(channels)),
        },
    )
