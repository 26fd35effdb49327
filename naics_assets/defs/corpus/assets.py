"""The texts that the model reads, and the activities that it is asked about."""

import dagster as dg

from naics_assets.lib.asset import naics_asset, plain_errors
from naics_assets.lib.metadata import markdown_table, measured, table_result
from naics_assets.lib.paths import NaicsPaths
from naics_model.corpus.activities import build_activities
from naics_model.corpus.descriptions import build_descriptions
from naics_model.corpus.editions import edition
from naics_model.storage.files import read_parquet, write_parquet


@naics_asset(
    group_name='corpus',
    deps=['codes_workbook', 'descriptions_workbook', 'cross_references_workbook'],
    kinds={'polars', 'parquet'},
    code_version='1',
    description='One row for each code: title, description, examples, and what it excludes.',
)
def descriptions(context: dg.AssetExecutionContext, paths: NaicsPaths) -> dg.MaterializeResult:
    folder, current = paths.edition(context.partition_key), edition(context.partition_key)
    with plain_errors(), measured() as cost:
        table = build_descriptions(
            current,
            folder.source / current.workbooks['codes'].file,
            folder.source / current.workbooks['descriptions'].file,
            folder.source / current.workbooks['cross_references'].file,
        )
        write_parquet(table, folder.descriptions)
    levels = table['level'].value_counts().sort('level')
    return table_result(
        folder.descriptions,
        cost,
        {
            'codes_per_level': dg.MetadataValue.md(markdown_table(levels)),
            'with_examples': table['examples'].count(),
            'with_exclusions': table['excluded'].count(),
        },
    )


@naics_asset(
    group_name='corpus',
    deps=['index_workbook', 'descriptions'],
    kinds={'polars', 'parquet'},
    code_version='1',
    description='The index entries with their codes; one in five is held out for evaluation.',
)
def activities(context: dg.AssetExecutionContext, paths: NaicsPaths) -> dg.MaterializeResult:
    folder, current = paths.edition(context.partition_key), edition(context.partition_key)
    with plain_errors(), measured() as cost:
        table = build_activities(
            current,
            folder.source / current.workbooks['index'].file,
            read_parquet(folder.descriptions),
        )
        write_parquet(table, folder.activities)
    split = table['split'].value_counts().sort('split')
    return table_result(
        folder.activities,
        cost,
        {
            'codes': table['code'].n_unique(),
            'split': dg.MetadataValue.md(markdown_table(split)),
            'verbatim_in_description': int(table['verbatim'].sum()),
        },
    )
