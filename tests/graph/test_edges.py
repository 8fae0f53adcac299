"""Edges of a panel's days against a search stock by stock; the batch's view of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gogooku3.config import GraphConfig
from gogooku3.data.batches import BatchMaker
from gogooku3.data.panel import Panel
from gogooku3.graph import EDGE_FEATURES, GraphBuilder, edge_feature_names


def window_returns(panel: Panel, day: int, window: int, kind: str = "raw") -> np.ndarray:
    return_R = {"raw": panel.return_R, "residual": panel.residual_R}[kind]
    row_NW = panel.rows_until(day, window, torch.arange(len(panel.codes))).long()
    return_NW = return_R[row_NW.clamp(min=0)].numpy().astype(float)
    return np.where(row_NW.numpy() >= 0, return_NW, np.nan)


@pytest.mark.parametrize("kind", ["raw", "residual"])
def test_neighbours_are_the_most_correlated_members(panel: Panel, kind: str) -> None:
    config = GraphConfig.model_validate(
        {
            "returns": kind,
            "neighbours": 6,
            "sector_neighbours": 0,
            "shrinkage": 0.0,
            "halflife": 15.0,
        }
    )
    graph = GraphBuilder(panel, config).graph(150)
    members = panel.scored_stocks(150).tolist()
    return_NW = window_returns(panel, 150, 60, kind)
    weight_W = 0.5 ** (np.arange(59, -1, -1) / 15.0)
    complete = [n for n in members if np.isfinite(return_NW[n]).all()]
    assert len(complete) > 20
    for stock in complete[:15]:
        strength = {}
        for other in complete:
            if other != stock:
                cov = np.cov(return_NW[[stock, other]], aweights=weight_W)
                strength[other] = abs(cov[0, 1]) / np.sqrt(cov[0, 0] * cov[1, 1])
        near = graph.neighbour_NM[stock].tolist()
        assert len(set(near)) == 6
        assert stock not in near
        assert set(near) <= set(members)
        reached = graph.correlation_NM[stock].abs().tolist()
        assert reached == sorted(reached, reverse=True)
        for other, value in zip(near, reached, strict=True):
            if other in strength:
                assert value == pytest.approx(strength[other], abs=1e-5)
        left_out = [value for other, value in strength.items() if other not in near]
        assert max(left_out) <= reached[-1] + 1e-6


def test_sector_neighbours_are_the_most_traded_of_the_sector(panel: Panel) -> None:
    config = GraphConfig(neighbours=0, sector_neighbours=3)
    graph = GraphBuilder(panel, config).graph(150)
    members = panel.scored_stocks(150)
    money = dict(
        zip(
            members.tolist(),
            panel.liquidity_R[panel.row_of_TN[150, members].long()].tolist(),
            strict=True,
        )
    )
    for stock in range(len(panel.codes)):
        peers = [n for n in money if n != stock and panel.sector_N[n] == panel.sector_N[stock]]
        wanted = sorted(peers, key=lambda n: -money[n])[:3]
        wanted += [-1] * (3 - len(wanted))
        assert graph.neighbour_NM[stock].tolist() == wanted


def test_batches_get_places_in_the_batch_and_edge_features(panel: Panel, maker: BatchMaker) -> None:
    config = GraphConfig(sector_weight=0.5)
    builder = GraphBuilder(panel, config)
    batch = builder.attach(maker.make([100, 104, 131]))
    near_BNM, edge_BNME = batch.neighbour_BNM, batch.edge_BNME
    assert near_BNM is not None
    assert edge_BNME is not None
    days, stocks = batch.stock_BN.shape
    assert near_BNM.shape == (days, stocks, 15)
    assert edge_BNME.shape == (days, stocks, 15, len(EDGE_FEATURES))
    assert near_BNM.dtype == torch.int64
    assert edge_BNME.dtype == torch.float32
    seen = 0
    for b, day in enumerate(batch.day_B.tolist()):
        graph = builder.graph(day)
        for n in range(stocks):
            stock = int(batch.stock_BN[b, n])
            for m in range(15):
                place = int(near_BNM[b, n, m])
                if place < 0:
                    assert (edge_BNME[b, n, m] == 0).all()
                    continue
                seen += 1
                other = int(batch.stock_BN[b, place])
                assert place != n
                assert bool(batch.mask_BN[b, place])
                assert other == int(graph.neighbour_NM[stock, m])
                same = 0.5 * float(panel.sector_N[stock] == panel.sector_N[other])
                coarse = 0.5 * float(panel.sector_coarse_N[stock] == panel.sector_coarse_N[other])
                volatility = graph.volatility_N[[stock, other]]
                wanted = [
                    float(graph.correlation_NM[stock, m]),
                    same,
                    coarse,
                    float(volatility.min() / volatility.max()),
                ]
                assert edge_BNME[b, n, m].tolist() == pytest.approx(wanted, abs=1e-6)
    assert seen > 1000
    assert edge_BNME.abs().amax((0, 1, 2)).min() > 0


def test_only_stocks_of_the_batch_are_neighbours(panel: Panel, maker: BatchMaker) -> None:
    builder = GraphBuilder(panel, GraphConfig())
    whole = builder.attach(maker.make([100]))
    drawn = builder.attach(maker.make([100], 10, torch.Generator().manual_seed(0)))
    assert drawn.neighbour_BNM is not None
    assert whole.neighbour_BNM is not None
    assert int(drawn.neighbour_BNM.max()) < 10
    share = [(graph >= 0).float().mean() for graph in (drawn.neighbour_BNM, whole.neighbour_BNM)]
    assert 0 < share[0] < 0.5 * share[1]


def test_a_blocks_days_have_their_own_edges(panel: Panel, maker: BatchMaker) -> None:
    """Stock by stock those of the day's own batch, wherever in the block the stocks are."""
    builder = GraphBuilder(panel, GraphConfig(rebuild_days=2, leader_neighbours=1))
    batch = builder.attach(maker.block([100, 101, 102, 103]))
    assert not batch.mask_BN.all()  # or the places would be the same
    for b, day in enumerate(batch.day_B.tolist()):
        alone = builder.attach(maker.make([day]))
        assert batch.neighbour_BNM is not None
        assert batch.edge_BNME is not None
        assert alone.neighbour_BNM is not None
        assert alone.edge_BNME is not None
        at_N = batch.mask_BN[b]
        assert torch.equal(batch.edge_BNME[b, at_N], alone.edge_BNME[0])
        stocks = [
            of.stock_BN[place][near_NM.clamp(min=0)].masked_fill(near_NM < 0, -1)
            for of, place, near_NM in (
                (batch, b, batch.neighbour_BNM[b, at_N]),
                (alone, 0, alone.neighbour_BNM[0]),
            )
        ]
        assert torch.equal(*stocks)
        assert (batch.neighbour_BNM[b, ~at_N] == -1).all()
        assert (batch.edge_BNME[b, ~at_N] == 0).all()


def test_a_day_without_a_universe_has_no_edges(panel: Panel, maker: BatchMaker) -> None:
    batch = GraphBuilder(panel, GraphConfig()).attach(maker.make([20]))
    assert batch.neighbour_BNM is not None
    assert (batch.neighbour_BNM == -1).all()


def test_members_that_joined_after_the_rebuild_get_neighbours(
    panel: Panel, maker: BatchMaker
) -> None:
    builder = GraphBuilder(panel, GraphConfig(rebuild_days=40))
    joined = 0
    for day in range(121, 160, 6):
        batch = builder.attach(maker.make([day]))
        assert batch.neighbour_BNM is not None
        for n, stock in enumerate(batch.stock_BN[0].tolist()):
            if not panel.universe_TN[120, stock]:
                joined += 1
                assert (batch.neighbour_BNM[0, n] >= 0).any()
    assert joined > 0


CHANGES: list[dict[str, Any]] = [
    {"returns": "residual"},
    {"window": 30},
    {"halflife": 5.0},
    {"shrinkage": 0.6},
    {"neighbours": 4},
    {"sector_neighbours": 2},
    {"sector_coarse_neighbours": 3},
    {"leader_neighbours": 1},
    {"sector_weight": 3.0},
    {"rebuild_days": 7},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_every_setting_changes_the_graph(
    panel: Panel, maker: BatchMaker, change: dict[str, Any]
) -> None:
    days = [104, 120, 133]
    base = GraphBuilder(panel, GraphConfig()).attach(maker.make(days))
    changed = GraphBuilder(panel, GraphConfig(**change)).attach(maker.make(days))
    assert base.edge_BNME is not None
    assert changed.edge_BNME is not None
    is_same = base.edge_BNME.shape == changed.edge_BNME.shape and torch.equal(
        base.edge_BNME, changed.edge_BNME
    )
    assert not is_same


def test_every_setting_is_in_the_test_above() -> None:
    assert {name for change in CHANGES for name in change} == set(GraphConfig.model_fields)


def test_leaders_are_marked_however_they_came_in(panel: Panel, maker: BatchMaker) -> None:
    config = GraphConfig(leader_neighbours=2, sector_coarse_neighbours=2)
    assert edge_feature_names(config) == (*EDGE_FEATURES, "leader")
    assert edge_feature_names(GraphConfig()) == EDGE_FEATURES
    builder = GraphBuilder(panel, config)
    batch = builder.attach(maker.make([100]))
    assert batch.edge_BNME is not None
    assert batch.neighbour_BNM is not None
    assert batch.edge_BNME.shape[2:] == (10 + 5 + 2 + 2, 5)
    rows = panel.row_of_TN[100]
    members = sorted(
        panel.scored_stocks(100).tolist(), key=lambda n: -float(panel.liquidity_R[rows[n]])
    )
    for n, stock in enumerate(batch.stock_BN[0].tolist()):
        chain = [m for m in members if panel.sector_N[m] == panel.sector_N[stock]][:1]
        tops = {int(panel.sector_coarse_N[m]): m for m in reversed(members)}
        chain += [tops[int(panel.sector_coarse_N[stock])]]
        chain += [m for m in members if m in tops.values()]
        wanted = [m for m in dict.fromkeys(chain) if m != stock][:2]
        found = []
        for place, marked in zip(
            batch.neighbour_BNM[0, n].tolist(), batch.edge_BNME[0, n, :, 4].tolist(), strict=True
        ):
            assert marked in (0.0, 1.0)
            if marked:
                found.append(int(batch.stock_BN[0, place]))
        assert sorted(found) == sorted(wanted)


def test_residual_correlation_is_less_of_the_market(panel: Panel) -> None:
    means = []
    for config in (GraphConfig(), GraphConfig(returns="residual")):
        graph = GraphBuilder(panel, config.model_copy(update={"shrinkage": 0.0})).graph(150)
        edge_M = graph.correlation_NM[graph.neighbour_NM >= 0]
        means.append(float(edge_M.mean()))
    assert means[1] < means[0] - 0.05


def test_no_stock_is_a_neighbour_twice(panel: Panel) -> None:
    config = GraphConfig(neighbours=20, sector_coarse_neighbours=9, leader_neighbours=5)
    for near in GraphBuilder(panel, config).graph(150).neighbour_NM.tolist():
        real = [other for other in near if other >= 0]
        assert len(real) == len(set(real))
        assert len(real) >= 20


def test_the_names_of_the_edge_features() -> None:
    assert EDGE_FEATURES == (
        "correlation",
        "same_sector",
        "same_sector_coarse",
        "volatility_similarity",
    )
