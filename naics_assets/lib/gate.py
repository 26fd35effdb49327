"""The gate's thresholds as a resource: what the check and the release both ask."""

import dagster as dg

from naics_model.evaluation.gate import Thresholds

_DEFAULT = Thresholds()


class ReleaseGate(dg.ConfigurableResource):
    """What is asked of refined embeddings before they are released; see `evaluation.gate`.

    Attributes:
        spearman, spearman_within_sectors, edge_map: at least.
        average_distortion: at most.
        correlation_drop, ndcg_drop, mrr_drop, parent_drop: at most, against the text embeddings.
    """

    spearman: float = _DEFAULT.spearman
    spearman_within_sectors: float = _DEFAULT.spearman_within_sectors
    edge_map: float = _DEFAULT.edge_map
    average_distortion: float = _DEFAULT.average_distortion
    correlation_drop: float = _DEFAULT.correlation_drop
    ndcg_drop: float = _DEFAULT.ndcg_drop
    mrr_drop: float = _DEFAULT.mrr_drop
    parent_drop: float = _DEFAULT.parent_drop

    @property
    def thresholds(self) -> Thresholds:
        return Thresholds(**self.model_dump())
