"""Random seeds by name: each consumer of randomness gets its own, as a function of what it is for.

What is random at step 1,000 then depends on the seed and on 1,000, not on what was drawn before: an
interrupted fit goes on exactly, and checkpoints need not hold the random states of all ranks.
"""

from __future__ import annotations

import numpy as np


def derived_seed(*words: int) -> int:
    """Return a 32-bit seed for a tuple of integers, not negative; different tuples give unrelated
    seeds.
    """
    # The length too: a seed sequence takes (1,) and (1, 0) for the same.
    return int(np.random.SeedSequence((len(words), *words)).generate_state(1)[0])
