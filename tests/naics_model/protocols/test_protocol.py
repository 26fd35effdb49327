"""The protocols and their names."""

from __future__ import annotations

import pytest

from naics_model.errors import ConfigurationError
from naics_model.protocols.protocol import FOLD_PROTOCOLS, PROTOCOLS, protocol


def test_all_in_the_order_of_the_report() -> None:
    assert list(PROTOCOLS) == [
        'cold',
        'warm',
        'heldout_codes',
        'heldout_folds',
        'heldout_subtrees',
        'editions',
    ]
    for name, each in PROTOCOLS.items():
        assert protocol(name) is each
        assert each.name == name
        assert each.meaning.endswith('.')


def test_who_reads_entries_and_who_hides_codes() -> None:
    reads = {name for name, each in PROTOCOLS.items() if each.activities}
    assert reads == {'warm', 'heldout_codes', 'heldout_subtrees'}
    hides = {name: each.hides for name, each in PROTOCOLS.items() if each.hides}
    assert hides == {'heldout_codes': 'stratified', 'heldout_subtrees': 'subtrees'}
    assert [each.name for each in PROTOCOLS.values() if each.of_edition_before] == ['editions']


def test_folds_are_protocols_of_their_own() -> None:
    parts = PROTOCOLS['heldout_folds'].parts
    assert parts == tuple(FOLD_PROTOCOLS.values())
    assert [part.name for part in parts] == [f'heldout_fold_{number}' for number in range(1, 6)]
    assert [part.hides for part in parts] == [f'fold_{number}' for number in range(1, 6)]
    assert all(part.activities for part in parts)
    assert protocol('heldout_fold_3') is parts[2]


def test_an_unknown_name_gets_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"no protocol 'hot': choose one of cold, warm, "):
        protocol('hot')
