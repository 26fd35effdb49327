"""The tree of NAICS codes: five levels (2 to 6 digits) below a virtual root above the sectors.

What belongs here: reading a code's place from its digits, and the ancestor table. Distances and
kinship are in their own modules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from naics_model.errors import DataError

LEVELS = (2, 3, 4, 5, 6)

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
            DataError: a code is not 2 to 6 digits, appears twice, or has no parent in the list.
        """
        index = {code: i for i, code in enumerate(codes)}
        if len(index) < len(codes):
            repeated = sorted({code for code in codes if list(codes).count(code) > 1})
            raise DataError(
                f'Codes must be unique, but {", ".join(repeated[:5])} appear more than once.'
            )
        malformed = [c for c in codes if not (c.isascii() and c.isdigit() and 2 <= len(c) <= 6)]
        if malformed:
            raise DataError(
                f'A NAICS code has 2 to 6 digits, but found {", ".join(map(repr, malformed[:5]))}.'
            )

        levels = np.array([len(code) for code in codes], np.uint8)
        parents = np.full(len(codes), -1, np.int32)
        for i, code in enumerate(codes):
            parent = parent_of(code)
            if parent is None:
                continue
            if parent not in index:
                raise DataError(
                    f'Code {code} has no parent: {parent} is missing from the list of codes.'
                )
            parents[i] = index[parent]

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
