"""The dataset of an edition as a whole: its steps in order, its checks, its data dictionary.

No computation of its own: each step calls one function of a room below. The asset graph and the
command `naics data` go through the same steps. No torch.
"""
