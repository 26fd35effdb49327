"""Models trained to be measured, one asset for each protocol: the opt-in job `benchmark`."""
