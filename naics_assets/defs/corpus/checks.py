"""The guarantees of the texts: what follows does not run where a blocking one is broken."""

import dagster as dg

from naics_assets.lib.checks import file_checks


@dg.definitions
def corpus_checks() -> dg.Definitions:
    return dg.Definitions(
        asset_checks=[
            file_checks(name)
            for name in ('descriptions', 'activities', 'phrases', 'code_splits', 'concordance')
        ]
    )
