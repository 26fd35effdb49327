"""How much each signal counts: fitted on phrases that the model was not trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

DEFAULT = np.array([1.0, 1.0, 1.0, 1.0, 0.0])
"""The weights of `signals.SIGNALS` where there is nothing to fit them on."""
# How much the default weights count, in phrases: 20 phrases would otherwise settle weights that
# look sure and are not, and those of two signals that say the same would run apart.
_PRIOR = 1.0


def fit_weights(scores: NDArray[np.floating], truth: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the weights that make the right codes most likely.

        w = argmin sum_q -log softmax(scores_q w)[truth_q] + |w - default|^2

    A conditional logit (McFadden 1974) with a normal prior around `DEFAULT`, which is convex.
    Softmax of the fused scores is then an estimate of each code's probability.

    Args:
        scores: (q, c, s) standardised scores, one for each of `SIGNALS`; q at least 1.
        truth: (q,) column of each phrase's code.

    Returns:
        float64 (s,).
    """
    scores = np.asarray(scores, np.float64)
    rows = np.arange(len(truth))
    right = scores[rows, truth]

    def cost(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        fused = scores @ weights
        log_p = fused - logsumexp(fused, axis=1, keepdims=True)
        expected = np.einsum('qc,qcs->qs', np.exp(log_p), scores)
        away, prior = weights - DEFAULT, _PRIOR / len(truth)
        value = -log_p[rows, truth].mean() + prior * away @ away
        return value, (expected - right).mean(axis=0) + 2 * prior * away

    found = minimize(cost, DEFAULT, jac=True, method='L-BFGS-B')
    return np.asarray(found.x, np.float64)


def fused_distance(
    scores: NDArray[np.floating], weights: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Return the fused ranking (q, c) as a distance: minus the weighted sum of scores."""
    return -(scores @ weights.astype(np.float32))
