"""Scores of nodes of any level for a document that the model has not learned from.

Arrays in, arrays out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

Floats = NDArray[np.floating]

_TEMPERATURE = 0.05
"""Of cosines; the one that the flat reading is trained with."""


def node_scores(
    documents: Floats, nodes: Floats, leaves: Floats, below: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return how well each document fits each node: the node's own document, and all leaves below.

        score(x, node) = log( exp(cos(x, node) / t) + sum of exp(cos(x, leaf) / t) ), t = 0.05

    The sum over the leaves is the probability of the node, as in training. A node's own text counts
    as one more member, so that a node without known leaves can be found.

    Args:
        documents: (m, width) unit vectors of texts.
        nodes: (k, width) unit vectors of the nodes' documents.
        leaves: (l, width) unit vectors of six-digit codes.
        below: (k, l) True where a leaf is below a node.

    Returns:
        (m, k); larger is better.
    """
    to_leaves = documents @ leaves.T / _TEMPERATURE
    scores = documents @ nodes.T / _TEMPERATURE
    for node, members in enumerate(below):
        if members.any():
            of_leaves = logsumexp(to_leaves[:, members], axis=1)
            scores[:, node] = np.logaddexp(scores[:, node], of_leaves)
    return scores.astype(np.float64)
