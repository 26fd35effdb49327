"""The graph network: its edges, its centroids, its curvature, and its way back to the text."""

from __future__ import annotations

import pytest
import torch

from naics_model.geometry.lorentz import soft_clip, tangent_centroid
from naics_model.refinement.hgcn import (
    CHILD,
    PARENT,
    SELF,
    HyperbolicGCN,
    HyperbolicGraphLayer,
    aggregate,
    tree_graph,
    unclip,
)
from naics_model.taxonomy.tree import Taxonomy

SEVEN = Taxonomy.from_codes(['11', '111', '1111', '11111', '111111', '111112', '112'])


@pytest.fixture
def text() -> torch.Tensor:
    torch.manual_seed(0)
    return soft_clip(torch.randn(7, 4) * 2)


def network(text: torch.Tensor, **options: float) -> HyperbolicGCN:
    settings = {'layers': 2, 'max_radius': 6.0, 'curvature': 1.0, 'gate': 0.1, **options}
    return HyperbolicGCN(text, tree_graph(SEVEN), **settings)  # type: ignore[arg-type]


def test_each_code_hears_itself_its_parent_and_its_children() -> None:
    graph = tree_graph(SEVEN)
    heard = {
        (SEVEN.codes[t], SEVEN.codes[s], int(k))
        for s, t, k in zip(graph.source, graph.target, graph.kind, strict=True)
    }
    assert len(heard) == 7 + 6 + 6
    assert {edge for edge in heard if edge[0] == '11111'} == {
        ('11111', '11111', SELF),
        ('11111', '1111', PARENT),
        ('11111', '111111', CHILD),
        ('11111', '111112', CHILD),
    }


def test_children_share_one_voice() -> None:
    graph = tree_graph(SEVEN)
    for code in range(7):
        for kind in (SELF, PARENT, CHILD):
            shares = graph.share[(graph.target == code) & (graph.kind == kind)]
            assert len(shares) == 0 or shares.sum().item() == pytest.approx(1)


@pytest.mark.parametrize('curvature', [0.0, 0.3, 1.0, 4.0])
def test_the_sparse_centroid_is_that_of_geometry(text: torch.Tensor, curvature: float) -> None:
    graph = tree_graph(SEVEN)
    weights = torch.rand(len(graph.source), generator=torch.Generator().manual_seed(1)) + 0.1
    found = aggregate(text, graph, weights, torch.tensor(curvature))
    for code in range(7):
        edges = graph.target == code
        expected = tangent_centroid(text[graph.source[edges]], weights[edges], curvature)
        torch.testing.assert_close(found[code], expected)


def test_the_curvature_of_each_layer_gets_a_gradient(text: torch.Tensor) -> None:
    model = network(text)
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
    graph = tree_graph(SEVEN)
    with torch.no_grad():
        out = layer(text, graph)
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
        model.gate_logit.fill_(-50.0)
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
