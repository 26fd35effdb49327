"""The graph network: its means, its curvature, its gates, and its way back to the text."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from naics_model.geometry.lorentz import soft_clip, tangent_centroid
from naics_model.refinement.graph import EdgeSettings, exclusion_edges, tree_edges
from naics_model.refinement.hgcn import (
    HyperbolicGCN,
    HyperbolicGraphLayer,
    aggregate,
    unclip,
)
from naics_model.taxonomy.tree import Taxonomy

SEVEN = Taxonomy.from_codes(['11', '111', '1111', '11111', '111111', '111112', '112'])
KIN = tree_edges(SEVEN.parents, EdgeSettings())
NOBODY = exclusion_edges([], ())
NONE_BARE = torch.zeros(7, dtype=torch.bool)


@pytest.fixture
def text() -> torch.Tensor:
    torch.manual_seed(0)
    return soft_clip(torch.randn(7, 4) * 2)


def network(text: torch.Tensor, excluded: Any = NOBODY, **options: Any) -> HyperbolicGCN:
    settings = {'layers': 2, 'max_radius': 6.0, 'curvature': 1.0, 'gate': 0.1, **options}
    return HyperbolicGCN(text, KIN, excluded, **settings)


@pytest.mark.parametrize('curvature', [0.0, 0.3, 1.0, 4.0])
def test_the_sparse_centroid_is_that_of_geometry(text: torch.Tensor, curvature: float) -> None:
    graph = KIN
    weights = torch.rand(len(graph.source), generator=torch.Generator().manual_seed(1)) + 0.1
    found = aggregate(text, graph, weights, torch.tensor(curvature))
    for code in range(7):
        edges = graph.target == code
        expected = tangent_centroid(text[graph.source[edges]], weights[edges], curvature)
        torch.testing.assert_close(found[code], expected)


def test_the_tangent_mean_is_the_weighted_mean_of_tangent_vectors(text: torch.Tensor) -> None:
    weights = torch.rand(len(KIN.source), generator=torch.Generator().manual_seed(1)) + 0.1
    found = aggregate(text, KIN, weights, torch.tensor(1.0), 'tangent')
    for code in range(7):
        edges = KIN.target == code
        share = (weights[edges] / weights[edges].sum()).unsqueeze(1)
        torch.testing.assert_close(found[code], (share * text[KIN.source[edges]]).sum(0))
    # Which is not the centroid, at these radii.
    centroid = aggregate(text, KIN, weights, torch.tensor(1.0))
    assert (found - centroid).norm(dim=1).max() > 0.1


def test_a_code_that_hears_nobody_is_its_own_mean(text: torch.Tensor) -> None:
    excluded = exclusion_edges([None] * 6 + [['111111']], SEVEN.codes)
    found = aggregate(text, excluded, excluded.share, 1.0)
    torch.testing.assert_close(found[:6], text[:6])
    torch.testing.assert_close(found[6], text[4])


@pytest.mark.parametrize('aggregation', ['centroid', 'tangent'])
def test_the_curvature_of_each_layer_gets_a_gradient(text: torch.Tensor, aggregation: str) -> None:
    model = network(text, aggregation=aggregation)
    model().square().sum().backward()
    for layer in model.layers:
        assert layer.log_curvature.grad.abs().item() > 1e-6
    assert model.residual.grad.abs().sum(dim=1).min().item() > 0


def test_the_curvature_stays_within_a_factor_of_ten() -> None:
    layer = HyperbolicGraphLayer(4, 6.0, 2.0, 0.1)
    assert layer.curvature.item() == pytest.approx(2.0)
    for value, bound in ((-9.0, 0.2), (9.0, 20.0)):
        with torch.no_grad():
            layer.log_curvature.fill_(value)
        assert layer.curvature.item() == pytest.approx(bound, rel=1e-5)


def test_a_flat_network_has_no_curvature_to_learn(text: torch.Tensor) -> None:
    model = network(text, curvature=0.0)
    assert not [name for name, _ in model.named_parameters() if 'curvature' in name]
    assert [layer.curvature for layer in model.layers] == [0.0, 0.0]
    model().square().sum().backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


def test_a_flat_layer_is_an_ordinary_graph_convolution(text: torch.Tensor) -> None:
    layer = HyperbolicGraphLayer(4, 6.0, 0.0, 0.25)
    graph = KIN
    with torch.no_grad():
        out = layer(text, graph, NOBODY, NONE_BARE)
    message = text / text.norm(dim=1, keepdim=True) * 6 * torch.tanh(text.norm(dim=1) / 6)[:, None]
    # 112 hears itself and its parent, 11, with equal voices.
    heard = (message[SEVEN.index['112']] + message[SEVEN.index['11']]) / 2
    torch.testing.assert_close(
        out[SEVEN.index['112']], 0.75 * text[SEVEN.index['112']] + 0.25 * heard
    )


@pytest.mark.parametrize('curvature', [0.0, 1.0])
def test_with_a_closed_gate_the_output_is_the_text(text: torch.Tensor, curvature: float) -> None:
    model = network(text, curvature=curvature)
    with torch.no_grad():
        model.gate.logits.fill_(-50.0)
    torch.testing.assert_close(model(), text, rtol=1e-4, atol=1e-4)


def test_unclipping_undoes_the_soft_clip() -> None:
    v = torch.randn(50, 8, generator=torch.Generator().manual_seed(2)) * 3
    v[0] = 0
    torch.testing.assert_close(unclip(soft_clip(v, 6.0, 0.5), 6.0, 0.5), v, rtol=1e-3, atol=1e-4)


def test_neighbours_move_a_code_and_strangers_do_not(text: torch.Tensor) -> None:
    moved = text.clone()
    moved[6] += 1.0  # 112, two steps from 1111, three from 11111
    before, after = network(text, gate=0.5)(), network(moved, gate=0.5)()
    change = (after - before).norm(dim=1)
    assert change[SEVEN.index['111']] > 1e-4  # through 11, in two layers
    assert change[SEVEN.index['11']] > 1e-4
    torch.testing.assert_close(change[SEVEN.index['11111']], torch.tensor(0.0))


def test_the_text_is_never_trained_and_never_in_a_checkpoint(text: torch.Tensor) -> None:
    model = network(text)
    assert 'text' not in model.state_dict()
    assert 'text' not in dict(model.named_parameters())


def test_a_code_moves_from_what_it_excludes_or_toward_it(text: torch.Tensor) -> None:
    excluded = exclusion_edges([None] * 6 + [['111111']], SEVEN.codes)
    model = network(text, excluded)
    torch.testing.assert_close(model(), network(text)())  # no sign yet
    model().square().sum().backward()
    assert all(layer.repulsion.grad.abs() > 1e-6 for layer in model.layers)
    distance = {}
    for sign in (-0.5, 0.0, 0.5):
        with torch.no_grad():
            for layer in model.layers:
                layer.repulsion.fill_(sign)
            places = model()
        distance[sign] = (places[6] - places[4]).norm().item()
    assert distance[-0.5] < distance[0.0] < distance[0.5]


def test_a_bare_code_has_no_free_vector_and_a_gate_of_its_own(text: torch.Tensor) -> None:
    model = network(text)
    with torch.no_grad():
        model.residual.fill_(0.3)
        bare = torch.arange(7) == 5
        before = model(bare)
        model.residual[5] = 9.0
        torch.testing.assert_close(model(bare), before)
        assert (model() - before).norm(dim=1)[5] > 1
        for gate in (model.gate, *(layer.gate for layer in model.layers)):
            gate.logits[1] = 3.0
        moved = (model(bare) - before).norm(dim=1)
    assert moved[5] > 1e-3
    torch.testing.assert_close(moved[6], torch.tensor(0.0))
