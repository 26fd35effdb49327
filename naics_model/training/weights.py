"""How much each loss of training counts."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LossWeights:
    """How much each loss counts; 0 leaves it out.

    Attributes:
        contrastive: anchors nearer to their positives than to their graded negatives.
        activities: train entries, as queries, nearer to their own code than to all others.
        attraction: anchors nearer to a code of their cluster than to their negatives, where
            `negatives.false_negatives` attracts.
        multi_level: relatives nearer than the step's other codes, at each level of the tree.
        lambda_rank: the ten nearest of each code in the order of the tree; a sum over pairs, so
            that a weight of 1 / pool_size counts like the others.
        hierarchy_fit: embedding distances proportional to tree distances within the step.
        radius_ladder: each level at its own distance from the origin.
        load_balance: even use of the experts.
    """

    contrastive: float = 1.0
    activities: float = 1.0
    attraction: float = 0.5
    multi_level: float = 0.0
    lambda_rank: float = 0.0
    hierarchy_fit: float = 0.1
    radius_ladder: float = 0.1
    load_balance: float = 0.01
