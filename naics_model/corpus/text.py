"""One cell's text to its clean parts: no tables, no files.

The printed texts mix the description with furniture of the manual: a heading over sector texts, a
list of examples, the stub of a cross-reference list, pointers to another code, one HTML table. Each
pattern here was seen in the 2017 and 2022 workbooks.
"""

from __future__ import annotations

import html
import re
from collections.abc import Container
from dataclasses import dataclass

from naics_model.taxonomy.tree import normalise_code

_TAG = r'</?[a-zA-Z][^<>]*>'
# A run of tags with the blanks between them: the list of the Manufacturing sector is cells in cells
# in cells.
_TAG_RUN = re.compile(rf'(?:\s*{_TAG})+\s*')
_BLOCK_TAG = re.compile(r'</?(?:table|tr|td|dl|dt|dd|ul|ol|li|p|div)\b', re.IGNORECASE)
_BREAK_TAG = re.compile(r'<br\b', re.IGNORECASE)
MARKUP = rf'{_TAG}|&(?:[a-zA-Z]+|#\d+);'
"""Pattern of what must not be left in any clean text."""

_HEADING = 'The Sector as a Whole'
_EXAMPLES = 'Illustrative Examples:'
# Four stubs of each edition have a small r.
_STUB = re.compile(r'Cross-References\.', re.IGNORECASE)
_POINTER = re.compile(r'See industry description for (\d{6})\.')
# 154 industry groups (2022) hold this word: a database's empty cell, exported as text.
_EMPTY = 'NULL'
FURNITURE = (
    rf'(?im)^(?:{_HEADING}|{_EMPTY})$|^{_EXAMPLES}|See industry descriptions?|{_STUB.pattern}'
)
"""Pattern of what must not be left in a title, description or list of examples."""

_NUMBER = re.compile(r'(?<!\d)(?:\d{2}-\d{2}|\d{2,6})(?!\d)')
_LIST_END = re.compile(r'\s*;(?: (?:and|or))?$')
_WORD = re.compile(r'[^\W_]+')


@dataclass(frozen=True)
class DescriptionParts:
    """A description cell, taken apart.

    Attributes:
        description: paragraphs, one blank line between them; empty where the cell says nothing.
        examples: one illustrative example a line, or None.
        points_to: the code whose description is to be read in place of this one, or None.
    """

    description: str
    examples: str | None
    points_to: str | None


def tidy(text: str) -> str:
    """Return a text without markup, surplus blanks, or more than one blank line in a row."""
    text = _TAG_RUN.sub(_without_tags, html.unescape(text))
    # Readers give line ends as CR LF or LF: splitlines() takes both. split() with no argument also
    # takes tabs and non-breaking spaces.
    lines = [' '.join(line.split()) for line in text.splitlines()]
    return re.sub(r'\n{3,}', '\n\n', '\n'.join(lines)).strip()


def _without_tags(run: re.Match[str]) -> str:
    if _BLOCK_TAG.search(run[0]):
        return '\n'
    if _BREAK_TAG.search(run[0]):
        return ' '
    return re.sub(_TAG, '', run[0])


def words_of(text: str) -> str:
    """Return a text as its words alone, casefolded runs of letters and digits, one blank between.

    What two texts have in common whatever their case, punctuation and line breaks.
    """
    return ' '.join(_WORD.findall(text.casefold()))


def take_apart(cell: str | None) -> DescriptionParts:
    """Take a cell of the descriptions workbook apart.

    Args:
        cell: its text as read; None for an empty cell.
    """
    description: list[str] = []
    examples: list[str] = []
    current = description
    for line in tidy(cell or '').splitlines():
        if _STUB.match(line):
            # The list that the stub announces is in the cross-references workbook.
            break
        if line == _EXAMPLES:
            current = examples
        elif line not in (_HEADING, _EMPTY):
            current.append(line)
    text = '\n'.join(description).strip()
    pointer = _POINTER.fullmatch(text)
    return DescriptionParts(
        description='' if pointer else text,
        examples='\n'.join(line for line in examples if line) or None,
        points_to=pointer[1] if pointer else None,
    )


def cross_reference_sentence(cell: str) -> str:
    """Return a cross-reference as a sentence of its own, without the `;` or `; and` of its list."""
    return _LIST_END.sub('.', ' '.join(tidy(cell).split()))


def codes_named_in(sentence: str, codes: Container[str]) -> list[str]:
    """Return the codes that a sentence names, each once, in their order.

    A code is every whole number of 2 to 6 digits that is a code of the edition; a range such as
    31-33 is its sector. Other numbers ("10 years") are passed over because no edition has such a
    code.
    """
    named = (normalise_code(number) for number in _NUMBER.findall(sentence))
    return list(dict.fromkeys(code for code in named if code in codes))
