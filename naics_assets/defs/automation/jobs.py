"""The jobs of the graph."""

import dagster as dg

# Left out of `full_edition`: nothing else of the edition needs it, and on two cores it takes longer
# than all the rest does with the profile `smoke`.
BI_ENCODER = dg.AssetSelection.assets('bi_encoder')


@dg.definitions
def jobs() -> dg.Definitions:
    return dg.Definitions(
        jobs=[
            dg.define_asset_job(
                'full_edition',
                selection=dg.AssetSelection.all() - BI_ENCODER,
                description='Everything for one edition: from its workbooks to the report.',
            ),
            dg.define_asset_job(
                'edition_data',
                selection=dg.AssetSelection.groups(
                    'source', 'corpus', 'taxonomy', 'triplets', 'tokens'
                ),
                description='The data of one edition, without training.',
            ),
            dg.define_asset_job(
                'bi_encoder_baseline',
                selection=BI_ENCODER,
                description='Opt-in: train the plain bi-encoder that the hyperbolic model has to '
                'beat, and measure it. Edition 2022 takes about 70 CPU-minutes, so more than half '
                'an hour on two cores.',
            ),
        ]
    )
