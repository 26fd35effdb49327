"""The sensors that look at automation conditions: one for data, which cost minutes, and one for
models, which may cost days of a GPU. Neither runs until a person starts it.
"""

import dagster as dg

from naics_assets.defs.automation.jobs import BI_ENCODER
from naics_assets.lib.automation import DATA_GROUPS, MODEL_GROUPS


@dg.definitions
def condition_sensors() -> dg.Definitions:
    return dg.Definitions(
        sensors=[
            dg.AutomationConditionSensorDefinition(
                'data_automation',
                target=dg.AssetSelection.groups(*DATA_GROUPS),
                default_status=dg.DefaultSensorStatus.STOPPED,
                description='Makes the data of an edition again after a workbook of it changed.',
            ),
            dg.AutomationConditionSensorDefinition(
                'model_automation',
                target=dg.AssetSelection.groups(*MODEL_GROUPS) - BI_ENCODER,
                # A look takes about a second of a slow core.
                minimum_interval_seconds=60,
                default_status=dg.DefaultSensorStatus.STOPPED,
                description='Trains, refines, evaluates and releases again after the data of an '
                'edition changed. A switch of its own, for this may take days of a GPU.',
            ),
        ]
    )
