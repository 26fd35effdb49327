"""One asset for each workbook of an edition."""

import dagster as dg

from naics_assets.lib.asset import naics_asset, plain_errors
from naics_assets.lib.metadata import file_result, measured
from naics_assets.lib.paths import NaicsPaths
from naics_model.corpus.download import fetch_workbook
from naics_model.corpus.editions import edition


def workbook_asset(kind: str, description: str) -> dg.AssetsDefinition:
    """Return the asset of one kind of workbook.

    Args:
        kind: its name in editions.toml, such as `codes`.
        description: what people read about it in the UI.
    """

    @naics_asset(
        name=f'{kind}_workbook',
        group_name='source',
        kinds={'excel'},
        code_version='1',
        description=description,
    )
    def workbook(context: dg.AssetExecutionContext, paths: NaicsPaths) -> dg.MaterializeResult:
        name = context.partition_key
        with plain_errors(), measured() as cost:
            fetched = fetch_workbook(
                edition(name),
                kind,
                paths.edition(name).source,
                source_dir=paths.source,
                progress=context.log.info,
            )
        known = {True: 'yes', False: 'NO: new content', None: 'no digest on record'}[fetched.known]
        return file_result(
            fetched.path,
            cost,
            {
                'origin': fetched.origin,
                'etag': fetched.etag or '',
                'last_modified': fetched.last_modified or '',
                'sha256': fetched.sha256,
                'known_release': known,
            },
            data_version=fetched.sha256,
        )

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
        ]
    )
