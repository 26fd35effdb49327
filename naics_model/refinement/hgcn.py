"""A hyperbolic graph convolution over the tree of codes.

Here: the graph as edge lists, the aggregation, the layers, the network. Not here: losses, training.

Source of the idea: Chami et al., Hyperbolic Graph Convolutional Neural Networks, NeurIPS 2019.
Differs from it in that neighbours are averaged by the Lorentz centroid and not in the tangent
space, and in that every code has a free vector of its own beside its text. At curvature 0 it is an
ordinary graph convolution.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from naics_model.geometry.lorentz import from_homogeneous, homogeneous, radius, soft_clip
from naics_model.taxonomy.tree import Taxonomy

SELF, PARENT, CHILD = range(3)
EDGE_TYPES = 3


class Graph(NamedTuple):
    """Directed edges: what `target` hears from `source`.

    Attributes:
        source, target: int64 (m,) positions of codes.
        kind: int64 (m,): SELF, PARENT (the source is the target's parent) or CHILD.
        share: float32 (m,): 1 / number of edges of this kind into the target, so that a sector of
            twenty children still hears itself.
    """

    source: Tensor
    target: Tensor
    kind: Tensor
    share: Tensor


def tree_graph(taxonomy: Taxonomy) -> Graph:
    """Return each code's edges from itself, from its parent and from its children."""
    own = np.arange(len(taxonomy))
    child = np.flatnonzero(taxonomy.parents >= 0)
    parent = taxonomy.parents[child]
    source = np.concatenate([own, parent, child])
    target = np.concatenate([own, child, parent])
    kind = np.repeat([SELF, PARENT, CHILD], [len(own), len(child), len(child)])
    slot = target * EDGE_TYPES + kind
    share = 1 / np.bincount(slot)[slot]
    return Graph(
        source=torch.as_tensor(source, dtype=torch.int64),
        target=torch.as_tensor(target, dtype=torch.int64),
        kind=torch.as_tensor(kind, dtype=torch.int64),
        share=torch.as_tensor(share, dtype=torch.float32),
    )


def aggregate(tangent: Tensor, graph: Graph, weights: Tensor, curvature: float | Tensor) -> Tensor:
    """Return the Lorentz centroid of each code's neighbours, touching edges only and never all
    pairs.

    Args:
        tangent: (n, d) tangent vectors of the codes in the space of curvature -c.
        graph: edges over the n codes; every code is the target of at least one.
        weights: (m,) one positive weight per edge.
        curvature: c >= 0, scalar.

    Returns:
        (n, d) tangent vectors, in the precision of `tangent`.
    """
    points = homogeneous(tangent.double(), curvature)
    total = torch.zeros_like(points).index_add(
        0, graph.target, points[graph.source] * weights.double().unsqueeze(-1)
    )
    return from_homogeneous(total, curvature).to(tangent.dtype)


class HyperbolicGraphLayer(nn.Module):
    """One round of listening to the neighbours, in a space whose curvature is learned.

    A flat layer stays flat: no curvature is within a factor of 10 of 0.
    """

    def __init__(self, dim: int, max_radius: float, curvature: float, gate: float) -> None:
        """Args:
        dim: width of the tangent vectors.
        max_radius: soft clip, in units of 1/sqrt(c) of the layer's own space, plain ones at 0.
        curvature: start value of c; 0 stays.
        gate: start share of the neighbours' centroid in the output; the rest is the input.
        """
        super().__init__()
        self.linear = nn.Linear(dim, dim)
        # The identity at first: training starts from the text embeddings and not from a random turn
        # of them.
        nn.init.eye_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.edge_logits = nn.Parameter(torch.zeros(EDGE_TYPES))
        if curvature > 0:
            self.log_curvature = nn.Parameter(torch.tensor(math.log(curvature)))
        self.gate_logit = nn.Parameter(_logit(gate))
        self.max_radius = max_radius
        self._start = curvature

    @property
    def curvature(self) -> float | Tensor:
        """c of this layer, within a factor of 10 of its start."""
        if self._start == 0:
            return 0.0
        middle, bound = math.log(self._start), math.log(10)
        return self.log_curvature.clamp(middle - bound, middle + bound).exp()

    def forward(self, tangent: Tensor, graph: Graph) -> Tensor:
        """Map tangent vectors (n, d) to tangent vectors (n, d)."""
        curvature = self.curvature
        message = soft_clip(self.linear(tangent), self.max_radius, curvature)
        weights = torch.softmax(self.edge_logits, dim=0)[graph.kind] * graph.share
        heard = aggregate(message, graph, weights, curvature)
        gate = torch.sigmoid(self.gate_logit)
        return (1 - gate) * tangent + gate * heard


def unclip(v: Tensor, max_radius: float, curvature: float) -> Tensor:
    """Return the vectors (n, d) whose soft clip at `max_radius` is `v`: r -> R artanh(r / R)."""
    ratio = (radius(v, curvature) / max_radius).clamp(max=0.9999).unsqueeze(-1)
    return torch.where(ratio > 0, v * torch.atanh(ratio) / ratio.clamp_min(1e-6), v)


class HyperbolicGCN(nn.Module):
    """Text embeddings and a free vector per code in, refined embeddings out, in the text's own
    space.

    With a zero residual and a closed gate the output IS the text embedding. The text is frozen:
    queries are embedded by the encoder alone, and refined codes must stay where those look.
    """

    text: Tensor
    unclipped: Tensor

    def __init__(
        self,
        text: Tensor,
        graph: Graph,
        *,
        layers: int,
        max_radius: float,
        curvature: float,
        gate: float,
    ) -> None:
        """Args:
        text: (n, d) tangent vectors of the codes as the encoder sees them.
        graph: edges over the n codes.
        layers: rounds of listening.
        max_radius: soft clip of the output, in units of 1/sqrt(c).
        curvature: c of the text's space, and of each layer at the start.
        gate: start value of every gate: the neighbours' share in a layer, the layers' share in the
            output.
        """
        super().__init__()
        n, dim = text.shape
        # Not in checkpoints: they are inputs, read again from the embeddings file.
        self.register_buffer('text', text.float(), persistent=False)
        self.register_buffer(
            'unclipped', unclip(self.text, max_radius, curvature), persistent=False
        )
        for name, part in zip(Graph._fields, graph, strict=True):
            self.register_buffer(f'edge_{name}', part, persistent=False)
        self.residual = nn.Parameter(torch.zeros(n, dim))
        self.layers = nn.ModuleList(
            HyperbolicGraphLayer(dim, max_radius, curvature, gate) for _ in range(layers)
        )
        self.gate_logit = nn.Parameter(_logit(gate))
        self.max_radius = max_radius
        self.curvature = curvature

    def forward(self) -> Tensor:
        """Return the refined tangent vectors (n, d)."""
        graph = Graph(*(getattr(self, f'edge_{name}') for name in Graph._fields))
        own = self.unclipped + self.residual
        start = soft_clip(own, self.max_radius, self.curvature)
        hidden = start
        for layer in self.layers:
            hidden = layer(hidden, graph)
        moved = torch.sigmoid(self.gate_logit) * (hidden - start)
        return soft_clip(own + moved, self.max_radius, self.curvature)


def _logit(share: float) -> Tensor:
    return torch.tensor(math.log(share / (1 - share)))
