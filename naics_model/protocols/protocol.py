"""The protocols: what a training run may read, and so what it may be asked afterwards."""

from __future__ import annotations

from dataclasses import dataclass

from naics_model.errors import ConfigurationError
from naics_model.protocols.folds import FOLDS, fold_name


@dataclass(frozen=True)
class Protocol:
    """What a training run may read of an edition.

    Attributes:
        name: as a configuration names it.
        meaning: what is read, and what is asked about, in a sentence for people.
        hides: the split whose held-out codes the run never meets, one of `splits.ALL_SPLITS`, or
            None.
        activities: whether it may read index entries, those of `train` and of codes that it meets.
        of_edition_before: whether it reads the codes and texts of the edition before in place of
            this one's.
        parts: protocols that are run one by one, and whose answers are counted together; such a
            protocol has no files and no models of its own.
    """

    name: str
    meaning: str
    hides: str | None = None
    activities: bool = False
    of_edition_before: bool = False
    parts: tuple[Protocol, ...] = ()


def _fold(number: int) -> Protocol:
    return Protocol(
        f'heldout_{fold_name(number)}',
        f'Never meets the six-digit codes of fold {number} of {FOLDS}, in no text and no entry, '
        'and is asked where in the tree they belong.',
        hides=fold_name(number),
        activities=True,
    )


FOLD_PROTOCOLS = {each.name: each for each in map(_fold, range(1, FOLDS + 1))}
"""The parts of `heldout_folds` by name, each with models of its own."""


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
            'heldout_folds',
            'Is asked where every six-digit code that may be hidden belongs: in five folds, each '
            'with models that never meet the codes of that fold.',
            parts=tuple(FOLD_PROTOCOLS.values()),
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
    """Return a protocol by name: one of `PROTOCOLS`, or one fold.

    Raises:
        ConfigurationError: there is no such protocol.
    """
    try:
        return (PROTOCOLS | FOLD_PROTOCOLS)[name]
    except KeyError:
        raise ConfigurationError(
            f'There is no protocol {name!r}: choose one of {", ".join(PROTOCOLS)}.'
        ) from None
