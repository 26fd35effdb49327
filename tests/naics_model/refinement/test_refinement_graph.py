"""The graph of codes: who hears whom, on a tree of seven."""

from __future__ import annotations

import pytest

from naics_model.refinement.graph import (
    CHILD,
    EDGE_TYPES,
    GRANDCHILD,
    GRANDPARENT,
    PARENT,
    SELF,
    SIBLING,
    Edges,
    EdgeSettings,
    exclusion_edges,
    tree_edges,
)
from naics_model.taxonomy.tree import Taxonomy

SEVEN = Taxonomy.from_codes(['11', '111', '1111', '11111', '111111', '111112', '112'])
ALL = EdgeSettings(grandparents=True, siblings=True)


def heard(edges: Edges, codes: tuple[str, ...] = SEVEN.codes) -> set[tuple[str, str, int]]:
    """Return (who hears, whom, as what)."""
    return {
        (codes[target], codes[source], int(kind))
        for source, target, kind in zip(edges.source, edges.target, edges.kind, strict=True)
    }


def test_each_code_hears_itself_its_parent_and_its_children() -> None:
    found = heard(tree_edges(SEVEN.parents, EdgeSettings()))
    assert len(found) == 7 + 6 + 6
    assert {edge for edge in found if edge[0] == '11111'} == {
        ('11111', '11111', SELF),
        ('11111', '1111', PARENT),
        ('11111', '111111', CHILD),
        ('11111', '111112', CHILD),
    }


def test_grandparents_and_siblings_are_heard_if_asked_for() -> None:
    found = heard(tree_edges(SEVEN.parents, ALL))
    plain = heard(tree_edges(SEVEN.parents, EdgeSettings()))
    assert found - plain == {
        *((low, high, GRANDPARENT) for low, high in GRANDPARENTS),
        *((high, low, GRANDCHILD) for low, high in GRANDPARENTS),
        ('111', '112', SIBLING),
        ('112', '111', SIBLING),
        ('111111', '111112', SIBLING),
        ('111112', '111111', SIBLING),
    }


GRANDPARENTS = (('1111', '11'), ('11111', '111'), ('111111', '1111'), ('111112', '1111'))


def test_sectors_are_no_siblings() -> None:
    two = Taxonomy.from_codes(['11', '21'])
    assert len(heard(tree_edges(two.parents, ALL), two.codes)) == 2


@pytest.mark.parametrize('settings', [EdgeSettings(), ALL])
def test_those_of_a_kind_share_one_voice(settings: EdgeSettings) -> None:
    edges = tree_edges(SEVEN.parents, settings)
    for code in range(7):
        for kind in range(EDGE_TYPES):
            shares = edges.share[(edges.target == code) & (edges.kind == kind)]
            assert len(shares) == 0 or shares.sum().item() == pytest.approx(1)


def test_a_code_that_only_listens_changes_no_voice_of_the_others() -> None:
    whole = tree_edges(SEVEN.parents, ALL)
    listening = tree_edges(SEVEN.parents, ALL, speaking=5)
    first = tree_edges(SEVEN.parents[:5], ALL)
    of_first = [e for e in heard(listening) if e[0] in SEVEN.codes[:5]]
    assert set(of_first) == heard(first, SEVEN.codes[:5])
    assert sorted(listening.share[listening.target < 5].tolist()) == sorted(first.share.tolist())
    # 111112 and 112 hear what they would hear anyway.
    assert {e for e in heard(listening) if e[0] == '112'} == {
        e for e in heard(whole) if e[0] == '112'
    }


def test_new_codes_are_heard_by_their_own_descendants() -> None:
    found = heard(tree_edges(SEVEN.parents, EdgeSettings(), speaking=3))
    assert ('111111', '11111', PARENT) in found
    assert not [e for e in found if e[1] == '11111' and e[0] in ('1111', '11')]


def test_exclusions_are_heard_once_and_only_those_of_other_codes_that_are_there() -> None:
    codes = (*SEVEN.codes[:5], '112')
    named = [['112', '112', '999999'], None, [], ['11111'], ['112', '111'], None]
    edges = exclusion_edges(named, codes)
    assert {(a, b) for a, b, _ in heard(edges, codes)} == {
        ('11', '112'),
        ('111111', '112'),
        ('111111', '111'),
    }
    assert sorted(edges.share.tolist()) == [0.5, 0.5, 1.0]
    assert len(exclusion_edges([None, []], ('11', '21')).source) == 0
