"""The graph of codes: who hears whom.

Edge lists only; what is made of what is heard is the network's affair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SELF, PARENT, CHILD, GRANDPARENT, GRANDCHILD, SIBLING = range(6)
EDGE_TYPES = 6


@dataclass(frozen=True)
class EdgeSettings:
    """Which edges the graph has beside those of parent and child.

    Attributes:
        grandparents: to and from the code two levels up.
        siblings: between the children of one parent.
        exclusions: from the codes that a code's own text names as not included. A code does not
            average with these: it moves away from them, or toward them, as training finds.
    """

    grandparents: bool = False
    siblings: bool = False
    exclusions: bool = False


class Edges(NamedTuple):
    """Directed edges: what `target` hears from `source`.

    Attributes:
        source, target: int64 (m,) positions of codes.
        kind: int64 (m,), SELF to SIBLING; PARENT where the source is the target's parent.
        share: float32 (m,): 1 / number of edges of this kind into the target, so that a sector of
            twenty children still hears itself.
    """

    source: Tensor
    target: Tensor
    kind: Tensor
    share: Tensor


def tree_edges(
    parents: NDArray[np.integer], settings: EdgeSettings, speaking: int | None = None
) -> Edges:
    """Return each code's edges from itself and from its kin.

    Args:
        parents: (n,) position of each code's parent, -1 where it has none.
        settings: which kin beside parents and children.
        speaking: the first so many codes are heard by all their kin; those after them by none but
            their descendants, so that they move none of the first. All are heard when None.
    """
    speaking = len(parents) if speaking is None else speaking
    own = np.arange(len(parents))
    child = np.flatnonzero(parents >= 0)
    parent = parents[child]
    lists = [(own, own, SELF), (parent, child, PARENT), (child, parent, CHILD)]
    if settings.grandparents:
        grandparent = np.where(parents >= 0, parents[parents], -1)
        grandchild = np.flatnonzero(grandparent >= 0)
        lists.append((grandparent[grandchild], grandchild, GRANDPARENT))
        lists.append((grandchild, grandparent[grandchild], GRANDCHILD))
    if settings.siblings:
        one, other = np.nonzero(np.triu(parents[:, None] == parents[None, :], k=1))
        related = parents[one] >= 0  # sectors, which have no parent, are no family
        one, other = one[related], other[related]
        lists += [(one, other, SIBLING), (other, one, SIBLING)]
    downward = (SELF, PARENT, GRANDPARENT)
    heard = [(source < speaking) | (kind in downward) for source, _, kind in lists]
    return _edges(
        [(s[keep], t[keep], kind) for (s, t, kind), keep in zip(lists, heard, strict=True)]
    )


def exclusion_edges(named: Sequence[Sequence[str] | None], codes: Sequence[str]) -> Edges:
    """Return each code's edges from the codes that its text names as not included.

    Args:
        named: (n,) the codes that each code's text names, or None.
        codes: (n,); a named code that is not among them, or is the code itself, is passed over.
    """
    place = {code: index for index, code in enumerate(codes)}
    pairs = {
        (place[other], index)
        for index, others in enumerate(named)
        for other in others or ()
        if other in place and place[other] != index
    }
    source, target = np.array(sorted(pairs), np.int64).reshape(-1, 2).T
    return _edges([(source, target, SELF)])


def _edges(lists: Sequence[tuple[NDArray[np.integer], NDArray[np.integer], int]]) -> Edges:
    """Return edges of several kinds as one list."""
    source = np.concatenate([s for s, _, _ in lists])
    target = np.concatenate([t for _, t, _ in lists])
    kind = np.concatenate([np.full(len(s), k) for s, _, k in lists])
    slot = target * EDGE_TYPES + kind
    share = 1 / np.bincount(slot)[slot] if len(slot) else np.zeros(0)
    return Edges(
        source=torch.as_tensor(source, dtype=torch.int64),
        target=torch.as_tensor(target, dtype=torch.int64),
        kind=torch.as_tensor(kind, dtype=torch.int64),
        share=torch.as_tensor(share, dtype=torch.float32),
    )
