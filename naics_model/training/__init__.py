"""Training of the text encoder: one curriculum stage per run, as a process that people and the
asset graph start alike.

No sampling rules, no losses and no architecture here; those are the rooms below. Data flows
relation index and token cache -> steps -> checkpoints -> exported model and result.json.
"""
