"""How much each loss of training counts."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LossWeights:
    """How much each loss counts; 0 leaves it out.

    Attributes:
        flat: phrases find their code among all six-digit codes, in the flat reading.
        lorentz: the same in the hyperbolic reading.
        documents: documents find their own code's point among those of their level, in both
            readings, each by the weight of that reading.
        items: anchors nearer to their positives than to their graded negatives.
        attraction: phrases find the codes of their code's cluster, where
            `negatives.false_negatives` attracts.
        hierarchy_fit: distances of codes proportional to tree distances.
        radius_ladder: each level at its own distance from the origin.
        load_balance: even use of the experts.
    """

    flat: float = 1.0
    lorentz: float = 1.0
    documents: float = 0.5
    items: float = 0.1
    attraction: float = 0.5
    hierarchy_fit: float = 0.1
    radius_ladder: float = 0.0
    load_balance: float = 0.01
