"""What a training run may see: the splits of an edition, and the view of its data that is left.

`splits.py` says which codes are held out, `protocol.py` what each protocol hides, `redaction.py`
takes hidden codes out of the texts of the others, `view.py` writes the files that a run is given,
and `leaks.py` proves of those files that nothing hidden is in them. No training here, no metric,
and no torch.
"""
