"""Builds the graph of a day and puts it into batches.

Shapes: B days, N stocks of a batch or of the panel, W days of the window, C candidates,
M places for neighbours, E edge features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gogooku3.config import GraphConfig
from gogooku3.data.batch import Batch
from gogooku3.data.panel import Panel
from gogooku3.graph.correlation import shrunk_correlation, standardise
from gogooku3.graph.edges import (
    DayGraph,
    edge_features,
    merged,
    nearest_by_correlation,
    sector_peers,
)


class GraphBuilder:
    """Graphs of a panel's days, each built once and kept.

    Rebuild days are the multiples of `rebuild_days` on the calendar, so a day's graph does not
    depend on which days were asked for before. It is made from returns up to the rebuild day, which
    is at or before the scored day. Neighbours are members of the rebuild day's universe.
    """

    def __init__(self, panel: Panel, config: GraphConfig) -> None:
        self.panel = panel
        self.config = config
        self._graphs: dict[int, DayGraph] = {}

    @property
    def width(self) -> int:
        """M: places for neighbours of each stock."""
        return self.config.neighbours + self.config.sector_neighbours

    def rebuild_day(self, day: int) -> int:
        """The day whose graph serves `day`."""
        return day - day % self.config.rebuild_days

    def graph(self, day: int) -> DayGraph:
        """The graph that serves a day."""
        built = self.rebuild_day(day)
        if built not in self._graphs:
            self._graphs[built] = self._build(built)
        return self._graphs[built]

    def attach(self, batch: Batch) -> Batch:
        """The batch with its days' edges: neighbours that are not in the batch are left out."""
        days, stocks = batch.stock_BN.shape
        neighbour_BNM = torch.full((days, stocks, self.width), -1, dtype=torch.int64)
        edge_BNME = torch.zeros(days, stocks, self.width, 4)
        for place, day in enumerate(batch.day_B.tolist()):
            count = int(batch.mask_BN[place].sum())
            stock_N = batch.stock_BN[place, :count]
            near_NM, edge_NME = self._edges(self.graph(day), stock_N)
            neighbour_BNM[place, :count] = near_NM
            edge_BNME[place, :count] = edge_NME
        return batch.with_graph(neighbour_BNM, edge_BNME)

    def _edges(self, graph: DayGraph, stock_N: Tensor) -> tuple[Tensor, Tensor]:
        """Places in the batch of each stock's neighbours, and the edges' features."""
        panel = self.panel
        place_of = torch.full((len(panel.codes) + 1,), -1, dtype=torch.int64)
        place_of[stock_N] = torch.arange(len(stock_N))
        other_NM = graph.neighbour_NM[stock_N].long()
        # -1 reads the last entry, which belongs to no stock.
        near_NM = place_of[other_NM]
        read_NM, mine_N1 = other_NM.clamp(min=0), stock_N.unsqueeze(1)
        edge_NME = edge_features(
            graph.correlation_NM[stock_N],
            (panel.sector_N[mine_N1], panel.sector_N[read_NM]),
            (panel.sector_coarse_N[mine_N1], panel.sector_coarse_N[read_NM]),
            (graph.volatility_N[mine_N1], graph.volatility_N[read_NM]),
            self.config.sector_weight,
        )
        return near_NM, edge_NME * (near_NM >= 0).unsqueeze(-1)

    def _build(self, day: int) -> DayGraph:
        panel, config = self.panel, self.config
        everyone_N = torch.arange(len(panel.codes))
        row_NW = panel.rows_until(day, config.window, everyone_N)
        return_NW = panel.return_R[row_NW.clamp(min=0).long()]
        return_WN = torch.where(row_NW >= 0, return_NW, torch.nan).T
        z_WN, volatility_N, known_N = standardise(return_WN, config.halflife)
        candidate_C = panel.scored_stocks(day)
        if not len(candidate_C):
            nobody_NM = torch.full((len(everyone_N), self.width), -1, dtype=torch.int32)
            return DayGraph(nobody_NM, torch.zeros(nobody_NM.shape), volatility_N)
        correlation_NC = shrunk_correlation(z_WN, known_N, candidate_C, config.shrinkage)
        self_NC = everyone_N.unsqueeze(1) == candidate_C
        correlated_NM = nearest_by_correlation(correlation_NC, self_NC, config.neighbours)
        row_C = panel.row_of_TN[day, candidate_C].long()
        peers_NM = sector_peers(
            panel.sector_N, candidate_C, panel.liquidity_R[row_C], config.sector_neighbours
        )
        place_NM = merged(correlated_NM, peers_NM)
        read_NM, is_edge_NM = place_NM.clamp(min=0), place_NM >= 0
        return DayGraph(
            neighbour_NM=candidate_C[read_NM].masked_fill_(~is_edge_NM, -1).to(torch.int32),
            correlation_NM=correlation_NC.gather(1, read_NM) * is_edge_NM,
            volatility_N=volatility_N,
        )
