"""The published triplets, and the sampler's index over the same tables."""

import dagster as dg
import polars as pl

from naics_assets.lib.asset import naics_asset, plain_errors
from naics_assets.lib.metadata import file_result, markdown_table, measured, table_result
from naics_assets.lib.paths import NaicsPaths
from naics_model.triplets.build import build_triplets
from naics_model.triplets.relation_index import build_relation_index


@naics_asset(
    group_name='triplets',
    deps=['descriptions', 'distances'],
    kinds={'duckdb', 'sql', 'parquet'},
    code_version='1',
    description='Every (anchor, positive, negative) with its hardness: the published dataset.',
)
def triplets(context: dg.AssetExecutionContext, paths: NaicsPaths) -> dg.MaterializeResult:
    folder = paths.edition(context.partition_key)
    with plain_errors(), measured() as cost:
        summary = build_triplets(
            folder.descriptions, folder.distances, folder.triplets, progress=context.log.info
        )
    counts = pl.DataFrame(
        {
            'hardness': list(summary.rows_by_hardness),
            'triplets': list(summary.rows_by_hardness.values()),
        }
    )
    examples = '\n'.join(f'* {example}' for example in summary.examples)
    return table_result(
        folder.triplets,
        cost,
        {
            'by_hardness': dg.MetadataValue.md(markdown_table(counts)),
            'examples': dg.MetadataValue.md(examples),
        },
        data_version=summary.digest,
    )


@naics_asset(
    group_name='triplets',
    deps=['descriptions', 'distances'],
    kinds={'numpy'},
    code_version='1',
    description='All that the sampler reads: codes by distance from each anchor, and exclusions.',
)
def relation_index(context: dg.AssetExecutionContext, paths: NaicsPaths) -> dg.MaterializeResult:
    folder = paths.edition(context.partition_key)
    with plain_errors(), measured() as cost:
        index = build_relation_index(folder.descriptions, folder.distances, folder.relation_index)
    return file_result(
        folder.relation_index,
        cost,
        {'codes': len(index.codes), 'exclusions': len(index.exclusion_targets)},
    )
