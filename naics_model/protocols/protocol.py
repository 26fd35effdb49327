"""The five protocols: what a training run may read, and so what it may be asked afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from naics_model.errors import ConfigurationError


@dataclass(frozen=True)
class Protocol:
    """What a training run may read of an edition.

    Attributes:
        name: as a configuration names it.
        meaning: what is read, and what is asked about, in a sentence for people.
        hides: the split whose held-out codes the run never meets, or None.
        activities: whether it may read index entries, those of `train` and of codes that it meets.
        of_edition_before: whether it reads the codes and texts of the edition before in place of
            this one's.
    """

    name: str
    meaning: str
    hides: Literal['stratified', 'subtrees'] | None = None
    activities: bool = False
    of_edition_before: bool = False


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            'cold',
            'Reads all codes and their texts but no index entry, and is asked about all entries.',
        ),
        Protocol(
            'warm',
            'Reads all codes, their texts and the train entries, and is asked about the held-out '
            'entries.',
            activities=True,
        ),
        Protocol(
            'heldout_codes',
            'Never meets a tenth of the six-digit codes, in no text and no entry, and is asked '
            'where in the tree they belong.',
            hides='stratified',
            activities=True,
        ),
        Protocol(
            'heldout_subtrees',
            'Never meets a tenth of the four-digit groups and all below them, in no text and no '
            'entry, and is asked where in the tree they belong.',
            hides='subtrees',
            activities=True,
        ),
        Protocol(
            'editions',
            'Reads the codes and texts of the edition before, no entry, and is asked which of its '
            'codes the new codes of this edition came from.',
            of_edition_before=True,
        ),
    )
}
"""By name, in the order in which reports have them."""


def protocol(name: str) -> Protocol:
    """Return a protocol by name.

    Raises:
        ConfigurationError: there is no such protocol.
    """
    try:
        return PROTOCOLS[name]
    except KeyError:
        raise ConfigurationError(
            f'There is no protocol {name!r}: choose one of {", ".join(PROTOCOLS)}.'
        ) from None
