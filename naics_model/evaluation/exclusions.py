"""Do exclusions lead where they point? "Growing hops are classified in 111998" stands under 111419.

Arrays in, figures by name out. A sentence that one code excludes describes the code that it names,
not the one in whose text it stands; a model that merely recognises whose text it reads has it the
other way round.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from naics_model.errors import DataError
from naics_model.evaluation.retrieval import macro_mean

Floats = NDArray[np.floating]


def exclusion_metrics(
    to_target: Floats, to_code: Floats, code: NDArray[np.integer]
) -> dict[str, float]:
    """Return how often a sentence's own vector is nearer its target than the code excluding it.

    * `nearer_target`: share of sentences that are strictly nearer the target, each counting once
      for every code that it names and every code in whose text it stands, in 0 to 1. A tie counts
      against the method; where both distances are by chance, and never equal, it is .5.
    * `macro_nearer_target`: mean over the excluding codes of the share of their sentences.

    Without a sentence neither is defined, and both are left out.

    Args:
        to_target: (s,) distance from each sentence to the code that it names; one sentence that
            names several codes is several entries.
        to_code: (s,) distance from the sentence to the code in whose text it stands.
        code: (s,) number of the code in whose text it stands, not negative.

    Raises:
        DataError: the lengths disagree, or a distance is not finite.
    """
    if not to_target.shape == to_code.shape == code.shape:
        raise DataError(
            f'Exclusions need as many targets as codes, but there are {len(to_target)} distances '
            f'to targets, {len(to_code)} to codes and {len(code)} codes: pass one of each for '
            'each sentence.'
        )
    if not (np.isfinite(to_target).all() and np.isfinite(to_code).all()):
        raise DataError(
            'Some distances from exclusions to codes are not finite: the model or the embeddings '
            'are broken, train them again.'
        )
    if len(code) == 0:
        return {}
    nearer = (to_target < to_code).astype(np.float64)
    return {
        'nearer_target': float(nearer.mean()),
        'macro_nearer_target': macro_mean(nearer, code),
    }
