"""The three stages in their order: the name of each run, and the curriculum it trains on."""

STAGES = {
    'stage_1_easy': '01_stage_easy',
    'stage_2_medium': '02_stage_medium',
    'stage_3_hard': '03_stage_hard',
}
LAST_STAGE = list(STAGES)[-1]
"""The run whose model is the result."""
