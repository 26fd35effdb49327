"""Short phrases out of the sentences of the manual.

What belongs here: where a phrase begins and ends in a sentence. Which phrases are kept, and under
which code, is decided in `phrases.py`.
"""

from __future__ import annotations

import re

# Most cross-references end in "--are classified in ..."; about one in seven is a plain sentence.
# One of 2022 has the typo "--are lclassified", so the dash form does not ask for the word.
_DASHED = re.compile(r'(?P<phrase>.+?)\s*--\s*(?:are|is)\b(?P<target>.+)')
_PLAIN = re.compile(r'(?P<phrase>.+?),?\s(?:are|is) classified\b(?P<target>.+)')
_ESTABLISHMENTS = re.compile(r'Establishments? (?:primarily )?engaged in (?:the )?(?=\w)')

# Not after a capital: "U.S. Industry" is not the end of a sentence.
_SENTENCE_END = re.compile(r'(?<=[^A-Z]\.)\s+(?=[A-Z])')
# Government establishments are left alone: without that word their clauses mean something else.
_COMPRISES = re.compile(
    r'This (?:U\.S\. )?industry(?: group)? comprises establishments (?:primarily )?engaged in '
    r'(?P<activities>.+)'
)
_ITEM = re.compile(r'\(\d+\)')
_LIST_LEAD = re.compile(r'(?:one (?:or more )?of the following:?)?')
_LONGEST, _SHORTEST = 25, 2
_NEGATION = re.compile(r'\b(?:except|other than|not)\b', re.IGNORECASE)
_REFERS_BACK = re.compile(r'\b(?:these|those|this|following|above)\b', re.IGNORECASE)
_CLAUSE_END = re.compile(r'[\s,;:.]+(?:and/or|and|or)?[\s,;:.]*$')


def split_cross_reference(sentence: str) -> tuple[str, str] | None:
    """Split a cross-reference into what is classified elsewhere, and where.

    Args:
        sentence: one line of `excluded`, such as "Milling rice--are classified in Industry 31121,
            Flour Milling and Malt Manufacturing."

    Returns:
        The phrase ("Milling rice") without the opening "Establishments primarily engaged in", and
        the rest of the sentence, which names the codes. None if the sentence has another form.
    """
    found = _DASHED.fullmatch(sentence) or _PLAIN.fullmatch(sentence)
    if found is None:
        return None
    return _ESTABLISHMENTS.sub('', found['phrase'], count=1).strip(), found['target']


def clauses_of(description: str) -> list[str]:
    """Return the activities that a description lists as what its industry does.

    Only sentences of the form "This industry comprises establishments primarily engaged in ..." are
    read. A list of (1), (2), ... gives one clause an item. It gives none if words before the list
    belong to each item ("manufacturing (1) ..."), because the items alone would lack their verb.

    Args:
        description: a description, in paragraphs.
    """
    return [
        clause
        for line in description.splitlines()
        for sentence in _SENTENCE_END.split(line)
        if (found := _COMPRISES.fullmatch(sentence))
        for clause in _items(found['activities'])
    ]


def why_unsafe(clause: str) -> str | None:
    """Return why a clause does not work as a phrase, by its form alone; None if it does.

    Args:
        clause: one of `clauses_of`.
    """
    length = len(clause.split())
    if length > _LONGEST:
        return 'is too long'
    if length < _SHORTEST:
        return 'is too short'
    if _NEGATION.search(clause):
        return 'says what is not meant'
    if _REFERS_BACK.search(clause) or clause.count('(') != clause.count(')'):
        return 'does not stand alone'
    return None


def _items(activities: str) -> list[str]:
    lead, *items = _ITEM.split(activities)
    if items and not _LIST_LEAD.fullmatch(lead.strip()):
        return []
    clauses = [_CLAUSE_END.sub('', item).strip() for item in items or [lead]]
    return [clause for clause in clauses if clause]
