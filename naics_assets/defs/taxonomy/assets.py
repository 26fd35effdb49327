"""Distances and relations, each from the codes in `descriptions`."""

import dagster as dg
import polars as pl

from naics_assets.lib.asset import naics_asset, plain_errors
from naics_assets.lib.metadata import markdown_table, measured, table_result
from naics_assets.lib.paths import NaicsPaths
from naics_model.corpus.descriptions import taxonomy_of
from naics_model.storage.files import read_parquet, write_parquet
from naics_model.taxonomy.distances import distance_table
from naics_model.taxonomy.relations import relation_table


@naics_asset(
    group_name='taxonomy',
    deps=['descriptions'],
    kinds={'polars', 'parquet'},
    code_version='1',
    description='The curriculum distance (0.5 to 10.0) of each unordered pair of codes.',
)
def distances(context: dg.AssetExecutionContext, paths: NaicsPaths) -> dg.MaterializeResult:
    folder = paths.edition(context.partition_key)
    with plain_errors(), measured() as cost:
        table = distance_table(taxonomy_of(read_parquet(folder.descriptions)))
        write_parquet(table, folder.distances)
    histogram = table['distance'].value_counts().sort('distance')
    return table_result(
        folder.distances, cost, {'histogram': dg.MetadataValue.md(markdown_table(histogram))}
    )


@naics_asset(
    group_name='taxonomy',
    deps=['descriptions'],
    kinds={'polars', 'parquet'},
    code_version='1',
    description='What two codes of one sector are to each other: child, sibling, cousin, …',
)
def relations(context: dg.AssetExecutionContext, paths: NaicsPaths) -> dg.MaterializeResult:
    folder = paths.edition(context.partition_key)
    with plain_errors(), measured() as cost:
        table = relation_table(taxonomy_of(read_parquet(folder.descriptions)))
        write_parquet(table, folder.relations)
    counts = table.group_by('relation_id', 'relation').agg(pl.len().alias('pairs'))
    return table_result(
        folder.relations,
        cost,
        {'pairs': dg.MetadataValue.md(markdown_table(counts.sort('relation_id')))},
    )
