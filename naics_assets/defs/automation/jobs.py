"""The jobs of the graph."""

import dagster as dg


@dg.definitions
def jobs() -> dg.Definitions:
    return dg.Definitions(
        jobs=[
            dg.define_asset_job(
                'full_edition',
                selection=dg.AssetSelection.all(),
                description='Everything for one edition: from its workbooks to the report.',
            ),
            dg.define_asset_job(
                'edition_data',
                selection=dg.AssetSelection.groups(
                    'source', 'corpus', 'taxonomy', 'triplets', 'tokens'
                ),
                description='The data of one edition, without training.',
            ),
        ]
    )
