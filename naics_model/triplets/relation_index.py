"""The relations of an edition as samplers read them: distances, neighbours by distance, exclusions.

What belongs here: the format, reading and writing it, and arrays that follow from it at once.
Drawing is in `curriculum`, the definition of hardness in `hardness.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from naics_model.errors import DataError
from naics_model.storage.tensors import read_tensors, write_tensors
from naics_model.taxonomy.distances import UNRELATED
from naics_model.triplets.relations import database, load_relations

_TENSORS = ('levels', 'distance', 'order', 'offsets', 'exclusion_offsets', 'exclusion_targets')


@dataclass(frozen=True)
class RelationIndex:
    """Who is how far from whom, sorted so that every class of negatives is one contiguous range.

    The negative key of (a, b) is their distance in half units, but 0 where b is a itself, its
    ancestor or its descendant, which are never negatives. `order[a]` has all codes by ascending
    key, so that the codes with key k are `order[a, offsets[a, k]:offsets[a, k + 1]]`, and those
    of a margin or farther are a range up to the end.

    On disk: a safetensors file with the six arrays, and the codes in its header. 13.7 MB for 2,125
    codes, three quarters of it `order`. Equal relations give equal bytes.

    Attributes:
        codes: the n codes, by index.
        levels: uint8 (n,), number of digits.
        distance: uint8 (n, n), half units, symmetric; 0 on the diagonal, 20 between sectors.
        order: uint16 (n, n), for each anchor all codes by (negative key, index).
        offsets: int32 (n, 23), number of codes with a key below k; the last two columns are n.
        exclusion_offsets: int32 (n + 1,), and
        exclusion_targets: uint16, ascending: cross-references of code a name
            `exclusion_targets[exclusion_offsets[a]:exclusion_offsets[a + 1]]`.
    """

    codes: tuple[str, ...]
    levels: NDArray[np.uint8]
    distance: NDArray[np.uint8]
    order: NDArray[np.uint16]
    offsets: NDArray[np.int32]
    exclusion_offsets: NDArray[np.int32]
    exclusion_targets: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.codes)

    @cached_property
    def keys(self) -> NDArray[np.uint8]:
        """uint8 (n, n): the negative key of each pair."""
        return negative_keys(self.distance)

    @cached_property
    def excluded(self) -> NDArray[np.bool_]:
        """bool (n, n): a cross-reference of the row's code names the column's code."""
        result = np.zeros(self.distance.shape, bool)
        source = np.repeat(np.arange(len(self)), np.diff(self.exclusion_offsets))
        result[source, self.exclusion_targets] = True
        return result

    @cached_property
    def place(self) -> NDArray[np.uint16]:
        """uint16 (n, n): where `order[a]` has code b, so that `order[a, place[a, b]] == b`."""
        result = np.empty_like(self.order)
        np.put_along_axis(
            result, self.order, np.arange(len(self), dtype=np.uint16)[None, :], axis=1
        )
        return result

    def save(self, path: Path) -> None:
        """Write the index atomically."""
        tensors = {name: getattr(self, name) for name in _TENSORS}
        write_tensors(tensors, {'codes': self.codes}, path)

    @classmethod
    def load(cls, path: Path) -> RelationIndex:
        """Read an index.

        Raises:
            DataError: the file is missing or is not a relation index.
        """
        header, tensors = read_tensors(path, 'a relation index')
        if tensors.keys() != set(_TENSORS) or 'codes' not in header:
            raise DataError(
                f'{path} is not a relation index: name another file, or build it again.'
            )
        index = cls(tuple(header['codes']), **tensors)
        if wrong := index._fault():
            raise DataError(f'{path} is damaged ({wrong}): build it again.')
        return index

    def _fault(self) -> str | None:
        """Return what of the arrays is not as it is described above, at a glance."""
        n, targets = len(self), len(self.exclusion_targets)
        for name, dtype, shape in (
            ('levels', np.uint8, (n,)),
            ('distance', np.uint8, (n, n)),
            ('order', np.uint16, (n, n)),
            ('offsets', np.int32, (n, UNRELATED + 3)),
            ('exclusion_offsets', np.int32, (n + 1,)),
            ('exclusion_targets', np.uint16, (targets,)),
        ):
            array = getattr(self, name)
            if (array.dtype, array.shape) != (dtype, shape):
                return f'{name} is {array.dtype} {array.shape}, not {np.dtype(dtype)} {shape}'
        ends = self.exclusion_offsets
        for true, what in (
            ([len(code) for code in self.codes] == self.levels.tolist(), 'levels'),
            ((self.distance == self.distance.T).all(), 'distance'),
            (self.order.max(initial=0) < max(n, 1), 'order'),
            (bool((np.diff(self.offsets) >= 0).all()), 'offsets'),
            (ends[0] == 0 and ends[-1] == targets and (np.diff(ends) >= 0).all(), 'exclusions'),
            (self.exclusion_targets.max(initial=0) < max(n, 1), 'exclusion_targets'),
        ):
            if not true:
                return f'{what} cannot be of these codes'
        return None


def negative_keys(distance: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the negative keys of a distance matrix in half units.

    A lineal pair is half a step nearer than a whole number of steps: odd in half units, and only
    such a pair is.
    """
    return np.where(distance % 2 == 1, np.uint8(0), distance)


def index_relations(
    codes: tuple[str, ...],
    levels: NDArray[np.uint8],
    distance: NDArray[np.uint8],
    exclusions: NDArray[np.integer],
) -> RelationIndex:
    """Sort relations into an index.

    Args:
        codes: the n codes.
        levels: uint8 (n,).
        distance: uint8 (n, n), half units.
        exclusions: integers (e, 2) of (code, target) indices, in any order, each pair once.
    """
    n = len(codes)
    keys = negative_keys(distance)
    offsets = np.stack([(keys < k).sum(axis=1) for k in range(UNRELATED + 3)], axis=1)
    exclusions = exclusions[np.lexsort((exclusions[:, 1], exclusions[:, 0]))]
    return RelationIndex(
        codes=codes,
        levels=levels,
        distance=distance,
        # Stable, so that equal keys stay by index and equal relations give equal bytes.
        order=np.argsort(keys, axis=1, kind='stable').astype(np.uint16),
        offsets=offsets.astype(np.int32),
        exclusion_offsets=np.searchsorted(exclusions[:, 0], np.arange(n + 1)).astype(np.int32),
        exclusion_targets=exclusions[:, 1].astype(np.uint16),
    )


def build_relation_index(
    descriptions: Path, distances: Path, out: Path, *, memory_limit: str = '1GB'
) -> RelationIndex:
    """Write the relation index of an edition from the same SQL tables as the triplets.

    Args:
        descriptions: Parquet with index, code, title, level, excluded_codes.
        distances: Parquet with idx_i, idx_j, distance; each unordered pair once.
        out: the file to write.
        memory_limit: DuckDB's memory limit; 2022 needs about half a gigabyte.

    Raises:
        DataError: the input is missing or contradicts itself.
        ConfigurationError: the memory limit is too low.
    """
    with database(memory_limit=memory_limit) as connection:
        n = load_relations(connection, descriptions, distances)
        codes = connection.execute('select code, level from codes order by idx').fetchall()
        pairs = connection.execute('from pairs').fetchnumpy()
        exclusions = connection.execute('select code_idx, target_idx from exclusions').fetchnumpy()
    distance = np.zeros((n, n), np.uint8)
    distance[pairs['code_idx'], pairs['other_idx']] = pairs['half_distance']
    index = index_relations(
        tuple(code for code, _ in codes),
        np.array([level for _, level in codes], np.uint8),
        distance,
        np.stack([exclusions['code_idx'], exclusions['target_idx']], axis=1),
    )
    index.save(out)
    return index
