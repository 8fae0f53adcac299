"""The graph of day t is made of rows up to t: whatever becomes of the rows after t, its edges of
every kind are the same, bit for bit, and so are the files they are kept in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import polars as pl
import pytest
import torch

from gogooku3.config import GraphConfig
from gogooku3.data.panel import Panel
from gogooku3.data.synth import SyntheticMarket
from gogooku3.graph import GraphBuilder
from gogooku3.graph.build import build_graph

MakePanel = Callable[[pl.DataFrame], Panel]
Edges = dict[tuple[str, str], tuple[float, ...]]

Returns = Literal["raw", "residual"]
RETURNS: tuple[Returns, ...] = ("raw", "residual")
ALL_KINDS = {"sector_coarse_neighbours": 3, "leader_neighbours": 3}


def edges_of(panel: Panel, day: int, config: GraphConfig) -> Edges:
    """(stock, neighbour) by code -> correlation, whether it leads and both volatilities, of the
    stocks that were members so far; through the files beside the dataset. Stocks that become
    members later are in one dataset and not in the other."""
    GraphBuilder(panel, config).graph(day)
    builder = GraphBuilder(panel, config)
    graph = builder.graph(day)
    assert torch.equal(
        build_graph(panel, config, builder.rebuild_day(day)).neighbour_NM, graph.neighbour_NM
    )
    found: Edges = {}
    seen_N = panel.universe_TN[: day + 1].any(dim=0)
    for stock in torch.nonzero(seen_N).squeeze(1).tolist():
        for place, other in enumerate(graph.neighbour_NM[stock].tolist()):
            if other >= 0:
                values = (
                    graph.correlation_NM[stock, place],
                    graph.leads_NM[stock, place],
                    graph.volatility_N[stock],
                    graph.volatility_N[other],
                )
                found[panel.codes[stock], panel.codes[other]] = tuple(map(float, values))
    return found


@pytest.mark.parametrize("day", [55, 120, 163])
@pytest.mark.parametrize("rebuild_days", [1, 5])
@pytest.mark.parametrize("returns", RETURNS)
def test_a_table_cut_after_t_has_the_same_edges_at_t(
    market: SyntheticMarket,
    panel: Panel,
    make_panel: MakePanel,
    day: int,
    rebuild_days: int,
    returns: Returns,
) -> None:
    config = GraphConfig(returns=returns, rebuild_days=rebuild_days, **ALL_KINDS)
    cut = make_panel(market.table.filter(pl.col("date") <= panel.calendar[day]))
    edges = edges_of(panel, day, config)
    assert len(edges) > 300
    assert sum(values[1] for values in edges.values()) > 60
    assert edges == edges_of(cut, day, config)


@pytest.mark.parametrize("returns", RETURNS)
def test_other_prices_after_t_change_no_edge_at_t_and_those_at_t_do(
    market: SyntheticMarket, panel: Panel, make_panel: MakePanel, returns: Returns
) -> None:
    day, config = 120, GraphConfig(returns=returns, rebuild_days=1, **ALL_KINDS)
    before = edges_of(panel, day, config)
    rng = np.random.default_rng(0)
    noise = pl.Series(np.exp(rng.normal(0.0, 0.05, len(market.table))))
    for first, is_same in ((day + 1, True), (day, False)):
        changed = market.table.with_columns(
            pl.when(pl.col("date") >= panel.calendar[first])
            .then(pl.col(name) * noise)
            .otherwise(pl.col(name))
            .alias(name)
            for name in ("open", "high", "low", "close")
        )
        after = edges_of(make_panel(changed), day, config)
        if is_same:
            assert after == before
        else:
            shared = before.keys() & after.keys()
            assert max(abs(before[pair][0] - after[pair][0]) for pair in shared) > 0.01


def test_sectors_that_change_after_t_move_no_edge_at_t(
    market: SyntheticMarket, panel: Panel, make_panel: MakePanel
) -> None:
    day, config = 120, GraphConfig(rebuild_days=1, **ALL_KINDS)
    is_later = pl.col("date") > panel.calendar[day]
    changed = market.table.with_columns(
        pl.when(is_later).then(pl.lit("another")).otherwise(pl.col(name)).alias(name)
        for name in ("sector33", "sector17")
    )
    before, after = (make_panel(table) for table in (market.table, changed))
    assert edges_of(after, day, config) == edges_of(before, day, config)
    words = market.table["sector33"].unique()
    earlier = market.table.with_columns(pl.lit(words[0]).alias("sector33"))
    assert edges_of(make_panel(earlier), day, config) != edges_of(before, day, config)


def test_stocks_that_are_listed_after_t_change_no_bit_at_t(
    market: SyntheticMarket, panel: Panel, make_panel: MakePanel
) -> None:
    day, config = 120, GraphConfig(rebuild_days=1, **ALL_KINDS)
    later = market.table.filter(pl.col("date") > panel.calendar[day])
    # Codes before all others: every stock that was there gets another position.
    listed = later.with_columns(pl.format("0{}", pl.col("code")).alias("code"))
    grown = make_panel(pl.concat([market.table, listed]).sort("date", "code"))
    assert len(grown.codes) > len(panel.codes) + 20
    assert edges_of(grown, day, config) == edges_of(panel, day, config)


def test_a_graph_serves_the_days_until_the_next_rebuild(panel: Panel) -> None:
    builder = GraphBuilder(panel, GraphConfig(rebuild_days=5))
    assert [builder.rebuild_day(day) for day in (99, 100, 104, 105)] == [95, 100, 100, 105]
    assert builder.graph(100) is builder.graph(104)
    assert not torch.equal(builder.graph(104).neighbour_NM, builder.graph(105).neighbour_NM)


def test_the_order_of_the_days_does_not_matter(panel: Panel) -> None:
    forward, backward = (GraphBuilder(panel, GraphConfig()) for _ in range(2))
    days = [80, 93, 120, 121, 160]
    for day in days:
        forward.graph(day)
    for day in reversed(days):
        backward.graph(day)
    for day in days:
        left, right = forward.graph(day), backward.graph(day)
        assert torch.equal(left.neighbour_NM, right.neighbour_NM)
        assert torch.equal(left.correlation_NM, right.correlation_NM)
