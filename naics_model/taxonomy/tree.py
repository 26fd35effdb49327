"""The tree of NAICS codes: five levels (2 to 6 digits) below a virtual root above the sectors.

What belongs here: reading a code's place from its digits, the ancestor table, and how far down two
codes share their ancestors. Distances and kinship, which follow from that, are in their own
modules.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from naics_model.errors import DataError

LEVELS = (2, 3, 4, 5, 6)
_CODE = re.compile('[0-9]{2,6}')

# Three sectors span several two-digit prefixes. Each is ONE sector, named by its first prefix.
RANGE_SECTORS = {'31-33': '31', '44-45': '44', '48-49': '48'}
_SECTOR_OF_PREFIX = {'32': '31', '33': '31', '45': '44', '49': '48'}


def normalise_code(printed: str) -> str:
    """Return the stored form of a printed code: `31-33` becomes `31`; others stay as they are."""
    printed = printed.strip()
    return RANGE_SECTORS.get(printed, printed)


def sector_of(code: str) -> str:
    """Return the sector of a code; prefixes 32, 33 belong to 31, 45 to 44, 49 to 48."""
    prefix = code[:2]
    return _SECTOR_OF_PREFIX.get(prefix, prefix)


def parent_of(code: str) -> str | None:
    """Return the code one level up, or None for a sector."""
    if len(code) == 2:
        return None
    return sector_of(code) if len(code) == 3 else code[:-1]


@cache
def lineage(code: str) -> frozenset[str]:
    """Return a code and its ancestors, by its digits."""
    line = [code]
    while len(line[-1]) > 2 and (parent := parent_of(line[-1])):
        line.append(parent)
    return frozenset(line)


def related(code: str, other: str) -> bool:
    """Return whether two codes are the same, or one is an ancestor of the other."""
    return code in lineage(other) or other in lineage(code)


def shown(code: str | None) -> str:
    """Return a code as a sentence shows it, one that is not there too."""
    return repr(code) if code else 'an empty cell'


class NoTreeError(DataError):
    """A list of codes is no tree.

    Attributes:
        problem: what is wrong, as a clause.
        positions: where in the list, from 0: one code, or each place of a repeated one.
    """

    def __init__(self, problem: str, positions: Sequence[int]) -> None:
        super().__init__(problem, positions)
        self.problem = problem
        self.positions = tuple(positions)

    def __str__(self) -> str:
        return f'The codes are no tree: {self.problem}.'


@dataclass(frozen=True)
class Taxonomy:
    """The codes of one edition as a tree, in workbook order.

    Attributes:
        codes: the n codes; a range sector is its first prefix.
        levels: uint8 (n,), number of digits, 2 to 6.
        parents: int32 (n,), index of each code's parent, -1 for sectors.
        ancestors: int32 (n, 5), column k is the index of the ancestor of level k + 2 (the code
            itself at its own level), -1 below the code.
    """

    codes: tuple[str, ...]
    levels: NDArray[np.uint8]
    parents: NDArray[np.int32]
    ancestors: NDArray[np.int32]

    @classmethod
    def from_codes(cls, codes: Sequence[str]) -> Taxonomy:
        """Build the tree from stored codes (see `normalise_code`), in any order.

        Raises:
            NoTreeError: a code is not 2 to 6 digits (as a null is not), appears twice, or has no
                parent in the list.
        """
        malformed = [i for i, code in enumerate(codes) if not (code and _CODE.fullmatch(code))]
        if malformed:
            raise NoTreeError(
                f'{shown(codes[malformed[0]])} is no code of 2 to 6 digits{_and_more(malformed)}',
                malformed[:1],
            )
        index = {code: i for i, code in enumerate(codes)}
        if len(index) < len(codes):
            repeated = [code for code, times in Counter(codes).items() if times > 1]
            places = [i for i, code in enumerate(codes) if code == repeated[0]]
            raise NoTreeError(
                f'code {repeated[0]} must be unique, but stands {len(places)} times'
                f'{_and_more(repeated)}',
                places,
            )
        above = [parent_of(code) for code in codes]
        orphans = [
            i for i, parent in enumerate(above) if parent is not None and parent not in index
        ]
        if orphans:
            raise NoTreeError(
                f'code {codes[orphans[0]]} has no parent: {above[orphans[0]]} is not in the '
                f'list{_and_more(orphans)}',
                orphans[:1],
            )

        levels = np.array([len(code) for code in codes], np.uint8)
        parents = np.array([index[p] if p is not None else -1 for p in above], np.int32)
        ancestors = np.full((len(codes), len(LEVELS)), -1, np.int32)
        ancestors[np.arange(len(codes)), levels - 2] = np.arange(len(codes))
        for column in range(len(LEVELS) - 1, 0, -1):
            known = ancestors[:, column] >= 0
            ancestors[known, column - 1] = parents[ancestors[known, column]]
        return cls(tuple(codes), levels, parents, ancestors)

    def __len__(self) -> int:
        return len(self.codes)

    @cached_property
    def index(self) -> dict[str, int]:
        """The position of each code."""
        return {code: i for i, code in enumerate(self.codes)}

    @property
    def sectors(self) -> NDArray[np.int32]:
        """int32 (n,): the index of each code's sector."""
        return self.ancestors[:, 0]


def _and_more(found: Sequence[object]) -> str:
    return f' (and {len(found) - 1} more like it)' if len(found) > 1 else ''


def common_levels(
    taxonomy: Taxonomy, i: NDArray[np.integer], j: NDArray[np.integer]
) -> NDArray[np.uint8]:
    """Return how many levels of ancestors two codes share, counted from their sector.

    A code is its own ancestor at its own level. Memory is in proportion to the pairs asked for, so
    that a taxonomy too large for a matrix of all pairs can be asked for some.

    Args:
        i, j: integers (m,), indices of the codes of each pair.

    Returns:
        uint8 (m,): 0 for codes of different sectors, level - 1 for a code and itself.
    """
    shared = np.zeros(len(i), np.uint8)
    for ancestor in taxonomy.ancestors.T:
        above_i = ancestor[i]
        shared += (above_i == ancestor[j]) & (above_i >= 0)
    return shared
