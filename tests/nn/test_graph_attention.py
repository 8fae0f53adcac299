"""Graph attention: equal to torch-geometric's GATv2, masks, temperature, and what training adds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gogooku3.nn.graph_attention import Edges, GatedBypass, GraphAttention, GraphStack

DAYS, STOCKS, NEIGHBOURS, EDGE, WIDTH = 2, 12, 4, 3, 8


def _graph(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """x, distinct neighbours with some missing, edge features."""
    g = torch.Generator().manual_seed(seed)
    x_BND = torch.randn(DAYS, STOCKS, WIDTH, generator=g)
    order = torch.rand(DAYS, STOCKS, STOCKS, generator=g)
    order.diagonal(dim1=1, dim2=2).fill_(-1.0)
    neighbour_BNM = order.topk(NEIGHBOURS, dim=-1).indices
    neighbour_BNM[torch.rand(neighbour_BNM.shape, generator=g) < 0.2] = -1
    neighbour_BNM[0, 0] = -1
    edge_BNME = torch.randn(DAYS, STOCKS, NEIGHBOURS, EDGE, generator=g)
    return x_BND, neighbour_BNM, edge_BNME * (neighbour_BNM >= 0)[..., None]


def _layer(heads: int, concat: bool, dropout: float = 0.0) -> GraphAttention:
    torch.manual_seed(0)
    return GraphAttention(
        width=WIDTH,
        heads=heads,
        concat=concat,
        edge_features=EDGE,
        dropout=dropout,
        temperature=1.0,
    )


@pytest.mark.parametrize(("heads", "concat"), [(1, True), (4, True), (2, False)])
def test_it_equals_the_sparse_reference(
    heads: int, concat: bool, reference_gatv2: Callable[..., Any]
) -> None:
    layer = _layer(heads, concat)
    torch.nn.init.normal_(layer.bias)
    oracle = reference_gatv2(
        WIDTH,
        WIDTH // heads if concat else WIDTH,
        heads=heads,
        concat=concat,
        edge_dim=EDGE,
        add_self_loops=False,
        negative_slope=0.2,
    )
    with torch.no_grad():
        oracle.lin_l.weight.copy_(layer.source.weight)
        oracle.lin_l.bias.zero_()
        oracle.lin_r.weight.copy_(layer.target.weight)
        oracle.lin_r.bias.copy_(layer.target.bias)
        oracle.lin_edge.weight.copy_(layer.edge.weight)
        oracle.att.copy_(layer.attention_HC[None])
        oracle.bias.copy_(layer.bias)
    x_BND, neighbour_BNM, edge_BNME = _graph()
    x_BND.requires_grad_()
    out_BND = layer(x_BND, Edges.of(neighbour_BNM, edge_BNME))
    for day in range(DAYS):
        target, slot = (neighbour_BNM[day] >= 0).nonzero(as_tuple=True)
        edge_index = torch.stack((neighbour_BNM[day, target, slot], target))
        expected_ND = oracle(x_BND[day], edge_index, edge_BNME[day, target, slot])
        torch.testing.assert_close(out_BND[day], expected_ND, atol=1e-6, rtol=1e-5)
        probe_ND = torch.randn(STOCKS, WIDTH)
        ours = torch.autograd.grad((out_BND[day] * probe_ND).sum(), x_BND, retain_graph=True)[0]
        theirs = torch.autograd.grad((expected_ND * probe_ND).sum(), x_BND)[0]
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize(("heads", "concat"), [(4, True), (2, False)])
def test_torch_geometric_gives_the_same_from_the_same_weights(
    heads: int, concat: bool, dropout: float
) -> None:
    x_BND, neighbour_BNM, edge_BNME = _graph()
    edges = Edges.of(neighbour_BNM, edge_BNME)
    ours = _layer(heads, concat, dropout)
    theirs = GraphAttention(
        width=WIDTH,
        heads=heads,
        concat=concat,
        edge_features=EDGE,
        dropout=dropout,
        temperature=1.7,
        impl="pyg",
    )
    ours.temperature.data.fill_(1.7)
    theirs.load_state_dict(ours.state_dict())
    outputs, gradients = [], []
    for layer in (ours, theirs):
        torch.manual_seed(0)
        outputs.append(layer(x_BND, edges))
        outputs[-1].square().sum().backward()
        gradients.append([parameter.grad for parameter in layer.parameters()])
    torch.testing.assert_close(*outputs, atol=1e-6, rtol=1e-5)
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-4)


def test_a_stock_without_neighbours_gets_the_bias_alone() -> None:
    layer = _layer(2, True)
    torch.nn.init.normal_(layer.bias)
    x_BND, neighbour_BNM, edge_BNME = _graph()
    out_BND = layer(x_BND, Edges.of(neighbour_BNM, edge_BNME))
    torch.testing.assert_close(out_BND[0, 0], layer.bias)


def test_missing_edges_and_other_days_do_not_matter() -> None:
    layer = _layer(2, True)
    x_BND, neighbour_BNM, edge_BNME = _graph()
    before_BND = layer(x_BND, Edges.of(neighbour_BNM, edge_BNME))
    noisy_BNME = torch.where((neighbour_BNM >= 0)[..., None], edge_BNME, 1e3)
    assert torch.equal(layer(x_BND, Edges.of(neighbour_BNM, noisy_BNME)), before_BND)
    changed_BND = x_BND.clone()
    changed_BND[1] += 1.0
    after_BND = layer(changed_BND, Edges.of(neighbour_BNM, edge_BNME))
    torch.testing.assert_close(after_BND[0], before_BND[0])
    assert (after_BND[1] - before_BND[1]).abs().max() > 1e-3


@pytest.mark.usefixtures("two_threads")
def test_gradients_repeat_bit_for_bit() -> None:
    layer = _layer(2, True)
    generator = torch.Generator().manual_seed(0)
    x_BND = torch.randn(1, 1500, WIDTH, generator=generator, requires_grad=True)
    neighbour_BNM = torch.randint(0, 50, (1, 1500, 8), generator=generator)
    edge_BNME = torch.randn(1, 1500, 8, EDGE, generator=generator)
    probe_BND = torch.randn(1, 1500, WIDTH, generator=generator)

    def gradient() -> Tensor:
        out_BND = layer(x_BND, Edges.of(neighbour_BNM, edge_BNME))
        return torch.autograd.grad((out_BND * probe_BND).sum(), x_BND)[0]

    first = gradient()
    assert all(torch.equal(gradient(), first) for _ in range(8))


def test_edge_features_matter() -> None:
    layer = _layer(2, True)
    x_BND, neighbour_BNM, edge_BNME = _graph()
    plain = layer(x_BND, Edges.of(neighbour_BNM, edge_BNME))
    without = layer(x_BND, Edges.of(neighbour_BNM, torch.zeros_like(edge_BNME)))
    assert (plain - without).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("value", "used", "towards", "moves"),
    [
        (1.0, 1.0, 1.0, True),
        (0.5, 0.5, -1.0, True),
        (0.1, 0.5, 1.0, True),
        (0.1, 0.5, -1.0, False),
        (3.0, 2.0, -1.0, True),
        (3.0, 2.0, 1.0, False),
    ],
)
def test_temperature_is_clamped_and_can_come_back(
    value: float, used: float, towards: float, moves: bool
) -> None:
    layer = _layer(2, True)
    layer.temperature.data.fill_(value)
    temperature = layer.clamped_temperature()
    assert temperature.item() == pytest.approx(used)
    (-towards * temperature).backward()
    assert layer.temperature.grad is not None
    assert (layer.temperature.grad.item() != 0.0) == moves


def test_a_hotter_temperature_evens_the_attention() -> None:
    layer = _layer(1, True)
    x_BND, neighbour_BNM, edge_BNME = _graph()
    edges = Edges.of(neighbour_BNM, edge_BNME * 20)
    outputs = []
    for temperature in (0.5, 2.0):
        layer.temperature.data.fill_(temperature)
        outputs.append(layer(x_BND, edges))
    assert (outputs[0] - outputs[1]).abs().max() > 1e-2


def _stack(**changes: object) -> GraphStack:
    torch.manual_seed(0)
    options: dict[str, object] = {
        "width": WIDTH,
        "heads": (4, 2, 2),
        "concat": (True, True, False),
        "edge_features": EDGE,
        "dropout": 0.0,
        "edge_dropout": 0.0,
        "stochastic_depth": 0.0,
        "temperature": 1.0,
    }
    return GraphStack(**{**options, **changes})


@pytest.mark.parametrize("change", ["dropout", "edge_dropout", "stochastic_depth"])
def test_each_kind_of_dropout_acts_in_training_only(change: str) -> None:
    x_BND, neighbour_BNM, edge_BNME = _graph()
    edges = Edges.of(neighbour_BNM, edge_BNME)
    stack = _stack(**{change: 0.5})
    outputs = [stack(x_BND, edges) for _ in range(8)]
    assert any(not torch.equal(outputs[0], other) for other in outputs[1:])
    stack.eval()
    assert torch.equal(stack(x_BND, edges), stack(x_BND, edges))
    torch.testing.assert_close(stack(x_BND, edges), _stack().eval()(x_BND, edges))


def test_edge_dropout_leaves_out_its_share() -> None:
    torch.manual_seed(0)
    neighbour_BNM = torch.zeros(1, 500, 20, dtype=torch.long)
    neighbour_BNM[:, :, 10:] = -1
    edges = Edges.of(neighbour_BNM, torch.zeros(1, 500, 20, 1)).without(0.3)
    assert edges.exists_RM[:, :10].float().mean().item() == pytest.approx(0.7, abs=0.03)
    assert not edges.exists_RM[:, 10:].any()


def test_stochastic_depth_grows_with_depth() -> None:
    stack = _stack(stochastic_depth=0.6)
    assert stack.skip_rates == pytest.approx([0.2, 0.4, 0.6])
    assert _stack().skip_rates == [0.0, 0.0, 0.0]


def test_skipped_layers_are_scaled_so_that_the_mean_stays() -> None:
    stack = _stack(heads=(2,), concat=(True,), stochastic_depth=0.5)
    stack.norms[-1] = torch.nn.Identity()
    x_BND, neighbour_BNM, edge_BNME = _graph()
    edges = Edges.of(neighbour_BNM, edge_BNME)
    torch.manual_seed(0)
    mean_BND = torch.stack([stack(x_BND, edges) for _ in range(400)]).mean(0)
    expected_BND = stack.eval()(x_BND, edges)
    noise = (expected_BND - x_BND).abs().mean() * 0.2
    assert (mean_BND - expected_BND).abs().mean() < noise


def test_the_bypass_can_leave_the_graph_out() -> None:
    torch.manual_seed(0)
    bypass = GatedBypass(WIDTH)
    h_BND, gat_BND = torch.randn(2, DAYS, STOCKS, WIDTH)
    assert (bypass(h_BND, gat_BND) - h_BND).abs().max() > 0.1
    bypass.gate.bias.data.fill_(-50.0)
    torch.testing.assert_close(bypass(h_BND, gat_BND), h_BND)
    bypass.gate.bias.data.fill_(50.0)
    torch.testing.assert_close(bypass(h_BND, gat_BND), h_BND + gat_BND)
