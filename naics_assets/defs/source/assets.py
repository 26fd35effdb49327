"""One asset for each workbook of an edition."""

from collections.abc import Iterator

import dagster as dg

from naics_assets.lib.asset import naics_asset, plain_errors
from naics_assets.lib.metadata import describe
from naics_assets.lib.paths import NaicsPaths
from naics_model.corpus.editions import edition
from naics_model.dataset import steps
from naics_model.jobs.cost import measured


def workbook_asset(kind: str, description: str) -> dg.AssetsDefinition:
    """Return the asset of one kind of workbook.

    Args:
        kind: its name in editions.toml, such as `codes`.
        description: what people read about it in the UI.
    """

    # Not required: an edition without a workbook of this kind skips it, and what is made from it.
    @naics_asset(
        name=f'{kind}_workbook',
        group_name='source',
        kinds={'excel'},
        code_version='1',
        description=description,
        output_required=False,
    )
    def workbook(
        context: dg.AssetExecutionContext, paths: NaicsPaths
    ) -> Iterator[dg.MaterializeResult]:
        folder = paths.edition(context.partition_key)
        if kind not in edition(folder.edition).workbooks:
            context.log.info(f'Edition {folder.edition} has no {kind} workbook.')
            return
        with plain_errors(), measured() as cost:
            made = steps.fetch(folder, kind, paths.source, context.log.info)
        yield describe(made, cost)

    return workbook


@dg.definitions
def workbooks() -> dg.Definitions:
    return dg.Definitions(
        assets=[
            workbook_asset('codes', 'All codes of the edition and their titles, in order.'),
            workbook_asset('descriptions', 'What each code means, in a text.'),
            workbook_asset('index', 'Business activities, each with its six-digit code.'),
            workbook_asset(
                'cross_references', 'For each code, what is classified elsewhere, and where.'
            ),
            workbook_asset(
                'concordance', 'Which codes of the edition before became which of this one.'
            ),
        ]
    )
