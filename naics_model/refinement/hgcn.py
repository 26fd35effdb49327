"""A hyperbolic graph convolution over the tree of codes.

Here: the aggregation, the layers, the network. Not here: the graph, losses, training.

Source of the idea: Chami et al., Hyperbolic Graph Convolutional Neural Networks, NeurIPS 2019.
Differs from it in that neighbours are averaged by the Lorentz centroid (or, by option, in the
tangent space at the origin, as many implementations do), and in that every code has a free vector
of its own beside its text. At curvature 0 it is an ordinary graph convolution.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from naics_model.geometry.lorentz import from_homogeneous, homogeneous, radius, soft_clip
from naics_model.refinement.graph import EDGE_TYPES, Edges

Aggregation = Literal['centroid', 'tangent']


def aggregate(
    tangent: Tensor,
    edges: Edges,
    weights: Tensor,
    curvature: float | Tensor,
    aggregation: Aggregation = 'centroid',
) -> Tensor:
    """Return the mean of each code's neighbours, touching edges only and never all pairs.

    Args:
        tangent: (n, d) tangent vectors of the codes in the space of curvature -c.
        edges: over the n codes.
        weights: (m,) one positive weight per edge.
        curvature: c >= 0, scalar.
        aggregation: the Lorentz centroid, or the mean of the tangent vectors at the origin. At
            c = 0 they are the same.

    Returns:
        (n, d) tangent vectors, in the precision of `tangent`; a code that hears nobody is its own
        mean.
    """
    curvature = 0.0 if aggregation == 'tangent' else curvature
    points = homogeneous(tangent.double(), curvature)
    total = torch.zeros_like(points).index_add(
        0, edges.target, points[edges.source] * weights.double().unsqueeze(-1)
    )
    alone = torch.ones(len(points), dtype=torch.bool, device=points.device)
    alone[edges.target] = False
    total = torch.where(alone.unsqueeze(-1), points, total)
    return from_homogeneous(total, curvature).to(tangent.dtype)


class HyperbolicGraphLayer(nn.Module):
    """One round of listening to the neighbours, in a space whose curvature is learned.

    A flat layer stays flat: no curvature is within a factor of 10 of 0.
    """

    def __init__(
        self,
        dim: int,
        max_radius: float,
        curvature: float,
        gate: float,
        aggregation: Aggregation = 'centroid',
        signed: bool = False,
    ) -> None:
        """Args:
        dim: width of the tangent vectors.
        max_radius: soft clip, in units of 1/sqrt(c) of the layer's own space, plain ones at 0.
        curvature: start value of c; 0 stays.
        gate: start share of the neighbours' mean in the output; the rest is the input.
        aggregation: see `aggregate`.
        signed: whether codes are told apart from those that they exclude.
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
        self.gate = Gate(gate)
        # How far a code moves from what its text excludes; below 0 it moves there.
        self.repulsion = nn.Parameter(torch.zeros(())) if signed else None
        self.max_radius = max_radius
        self.aggregation = aggregation
        self._start = curvature

    @property
    def curvature(self) -> float | Tensor:
        """c of this layer, within a factor of 10 of its start."""
        if self._start == 0:
            return 0.0
        middle, bound = math.log(self._start), math.log(10)
        return self.log_curvature.clamp(middle - bound, middle + bound).exp()

    def forward(self, tangent: Tensor, kin: Edges, excluded: Edges, bare: Tensor) -> Tensor:
        """Map tangent vectors (n, d) to tangent vectors (n, d).

        Args:
            tangent: the codes.
            kin: whom each averages with.
            excluded: whom each is told apart from.
            bare: bool (n,), see `Gate`.
        """
        message = soft_clip(self.linear(tangent), self.max_radius, self.curvature)
        weights = torch.softmax(self.edge_logits, dim=0)[kin.kind] * kin.share
        heard = self._mean(message, kin, weights)
        moved = self.gate(bare) * (heard - tangent)
        if self.repulsion is not None and len(excluded.source):
            moved = moved + self.repulsion * (
                message - self._mean(message, excluded, excluded.share)
            )
        return tangent + moved

    def _mean(self, message: Tensor, edges: Edges, weights: Tensor) -> Tensor:
        return aggregate(message, edges, weights, self.curvature, self.aggregation)


class Gate(nn.Module):
    """A learned share between 0 and 1: one for codes with a free vector, one for bare codes, which
    have only their text and their neighbours to go by."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.full((2,), math.log(start / (1 - start))))

    def forward(self, bare: Tensor) -> Tensor:
        """Return (n, 1) shares for codes of which `bare` (n,) are without a free vector."""
        return torch.sigmoid(self.logits)[bare.long()].unsqueeze(-1)


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

    def __init__(
        self,
        text: Tensor,
        kin: Edges,
        excluded: Edges,
        *,
        layers: int,
        max_radius: float,
        curvature: float,
        gate: float,
        aggregation: Aggregation = 'centroid',
    ) -> None:
        """Args:
        text: (n, d) tangent vectors of the codes as the encoder sees them.
        kin, excluded: edges over the n codes.
        layers: rounds of listening.
        max_radius: soft clip of the output, in units of 1/sqrt(c).
        curvature: c of the text's space, and of each layer at the start.
        gate: start value of every gate: the neighbours' share in a layer, the layers' share in the
            output.
        aggregation: see `aggregate`.
        """
        super().__init__()
        n, dim = text.shape
        # Not in checkpoints: they are inputs, read again from their files.
        self.register_buffer('text', text.float(), persistent=False)
        for name, edges in (('kin', kin), ('excluded', excluded)):
            for field, part in edges._asdict().items():
                self.register_buffer(f'{name}_{field}', part, persistent=False)
        self.residual = nn.Parameter(torch.zeros(n, dim))
        self.layers = nn.ModuleList(
            HyperbolicGraphLayer(
                dim, max_radius, curvature, gate, aggregation, signed=len(excluded.source) > 0
            )
            for _ in range(layers)
        )
        self.gate = Gate(gate)
        self.max_radius = max_radius
        self.curvature = curvature

    def forward(self, bare: Tensor | None = None) -> Tensor:
        """Return the refined tangent vectors (n, d).

        Args:
            bare: bool (n,), codes whose free vector is left out; none when None.
        """
        if bare is None:
            bare = torch.zeros(len(self.text), dtype=torch.bool, device=self.text.device)
        residual = self.residual.masked_fill(bare.unsqueeze(-1), 0.0)
        return self._refine(self.text, residual, bare, self._edges('kin'), self._edges('excluded'))

    def attach(self, text: Tensor, kin: Edges, excluded: Edges) -> Tensor:
        """Return the refined tangent vectors (m, d) of codes that are not in the graph.

        They have their text and their neighbours, no free vector, and move no other code.

        Args:
            text: (m, d) as the encoder sees them.
            kin, excluded: edges over the n codes and after them the m new ones, see
                `graph.tree_edges`; the new ones only listen.
        """
        n, m = len(self.text), len(text)
        bare = torch.arange(n + m, device=text.device) >= n
        residual = torch.cat([self.residual, torch.zeros_like(text)])
        everyone = torch.cat([self.text, text])
        return self._refine(everyone, residual, bare, kin, excluded)[n:]

    def _refine(
        self, text: Tensor, residual: Tensor, bare: Tensor, kin: Edges, excluded: Edges
    ) -> Tensor:
        own = unclip(text, self.max_radius, self.curvature) + residual
        start = soft_clip(own, self.max_radius, self.curvature)
        hidden = start
        for layer in self.layers:
            hidden = layer(hidden, kin, excluded, bare)
        moved = self.gate(bare) * (hidden - start)
        return soft_clip(own + moved, self.max_radius, self.curvature)

    def _edges(self, name: str) -> Edges:
        return Edges(*(getattr(self, f'{name}_{field}') for field in Edges._fields))
