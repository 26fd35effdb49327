"""What is hidden together with a code, and whether its titles allow it to be hidden at all."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from naics_model.corpus.text import words_of
from naics_model.taxonomy.tree import parent_of

SHALLOWEST = 4
"""The lowest number of digits of a code that may be hidden.

Sectors and subsectors always stay: a hidden code is asked for its place among them.
"""


@dataclass(frozen=True)
class Branches:
    """The codes of an edition as branches of a tree.

    Attributes:
        codes: in the order of descriptions.
        titles: code -> its title as words.
        children: code -> the codes one level down.
    """

    codes: tuple[str, ...]
    titles: Mapping[str, str]
    children: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, descriptions: pl.DataFrame) -> Branches:
        """Read the branches from a table as `corpus.descriptions.TABLE` has it."""
        codes = tuple(descriptions['code'])
        titles = (words_of(title or '') for title in descriptions['title'])
        children: dict[str, list[str]] = {}
        for code in codes:
            if (parent := parent_of(code)) is not None:
                children.setdefault(parent, []).append(code)
        return cls(codes, dict(zip(codes, titles, strict=True)), children)

    def at_level(self, level: int) -> list[str]:
        """Return the codes with this number of digits."""
        return [code for code in self.codes if len(code) == level]

    def chain(self, code: str) -> list[str]:
        """Return a code after those above it that have no other child, topmost first."""
        parent = parent_of(code)
        alone = parent is not None and len(self.children[parent]) == 1
        return [*(self.chain(parent) if parent and alone else []), code]

    def subtree(self, code: str) -> list[str]:
        """Return a code before all those below it."""
        below = (each for child in self.children.get(code, ()) for each in self.subtree(child))
        return [code, *below]

    def titles_go(self, going: Iterable[str]) -> bool:
        """Return whether no code that stays has the title of one that is hidden."""
        named = Counter(self.titles[code] for code in going)
        return all(self._bearers[title] == times for title, times in named.items())

    @cached_property
    def _bearers(self) -> Counter[str]:
        return Counter(self.titles.values())


def by_hash(code: str) -> bytes:
    """Return the sha256 of a code: an order that is the same on every machine."""
    return hashlib.sha256(code.encode()).digest()
