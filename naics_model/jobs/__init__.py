"""What every job process shares: progress to whoever launched it, and the result it leaves behind.

A job is a command (`python -m naics_model.training fit ...`) that people and the asset graph run
alike. No training logic here, and no Dagster: the protocol package `dagster_pipes` is all that a
job needs to be heard.
"""
