"""Finds the graph of a day, in memory, in a file or by building it, and puts it into batches.

Shapes: B days, N stocks of a batch, M places for neighbours, E edge features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gogooku3.config import GraphConfig
from gogooku3.data.batch import Batch
from gogooku3.data.panel import Panel
from gogooku3.graph.build import build_graph
from gogooku3.graph.edges import DayGraph, edge_feature_names, edge_features
from gogooku3.graph.store import GraphStore


class GraphBuilder:
    """Graphs of a panel's days, each built once and kept: beside the dataset, and in memory.

    Rebuild days are the multiples of `rebuild_days` on the calendar, so a day's graph does not
    depend on which days were asked for before. It is made from returns up to the rebuild day, which
    is at or before the scored day. Neighbours are members of the rebuild day's universe.
    """

    def __init__(self, panel: Panel, config: GraphConfig) -> None:
        self.panel = panel
        self.config = config
        self._features = edge_feature_names(config)
        self._store = GraphStore(panel.header, config)
        self._graphs: dict[int, DayGraph] = {}

    def rebuild_day(self, day: int) -> int:
        """The day whose graph serves `day`."""
        return day - day % self.config.rebuild_days

    def graph(self, day: int) -> DayGraph:
        """The graph that serves a day."""
        built = self.rebuild_day(day)
        if built not in self._graphs:
            kept = self._store.read(built)
            if kept is None:
                kept = self._store.keep(built, build_graph(self.panel, self.config, built))
            self._graphs[built] = kept
        return self._graphs[built]

    def attach(self, batch: Batch) -> Batch:
        """The batch with its days' edges: neighbours that are not in the batch are left out."""
        shape = (*batch.stock_BN.shape, self.config.width)
        neighbour_BNM = torch.full(shape, -1, dtype=torch.int64)
        edge_BNME = torch.zeros(*shape, len(self._features))
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
        if len(self._features) > edge_NME.shape[2]:
            leads_NM1 = graph.leads_NM[stock_N].unsqueeze(2)
            edge_NME = torch.cat([edge_NME, leads_NM1.to(edge_NME.dtype)], dim=2)
        return near_NM, edge_NME * (near_NM >= 0).unsqueeze(-1)
