"""The jobs of the graph."""

import dagster as dg

# What trains models of its own, that nothing else of the edition needs: `bi_encoder` alone takes
# longer on two cores than all the rest does with the profile `smoke`.
BI_ENCODER = dg.AssetSelection.assets('bi_encoder')
BENCHMARK = dg.AssetSelection.groups('benchmark')
ABLATION = dg.AssetSelection.groups('ablation')


@dg.definitions
def jobs() -> dg.Definitions:
    return dg.Definitions(
        jobs=[
            dg.define_asset_job(
                'full_edition',
                selection=dg.AssetSelection.all() - BI_ENCODER - BENCHMARK - ABLATION,
                description='Everything for one edition: from its workbooks to the report.',
            ),
            dg.define_asset_job(
                'benchmark',
                selection=BENCHMARK,
                description='Models trained under every protocol, in both geometries, and '
                'measured: opt-in, for it trains two models for each protocol and seed.',
            ),
            dg.define_asset_job(
                'ablation',
                selection=ABLATION,
                description='Opt-in: the dynamic curriculum against plainer ways of choosing '
                'negatives and without each of its parts, by short fits. One seed takes about an '
                'hour on two cores, two fits beside each other.',
            ),
            dg.define_asset_job(
                'edition_data',
                selection=dg.AssetSelection.groups(
                    'source', 'corpus', 'taxonomy', 'triplets', 'tokens'
                ),
                description='The data of one edition, without training.',
            ),
            dg.define_asset_job(
                'evaluation',
                selection=dg.AssetSelection.groups('evaluation') - BI_ENCODER,
                description='Everything that is measured of one edition, and the report, from the '
                'embeddings that are there.',
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
