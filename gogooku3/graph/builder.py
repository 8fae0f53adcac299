"""Finds the graph of a day, in memory, in a file or by building it, and puts it into batches.

Shapes: B days, N stocks of a batch, A of them scored on a day, M places for neighbours, E edge
features.
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
        for b, day in enumerate(batch.day_B.tolist()):
            place_A = torch.nonzero(batch.mask_BN[b]).squeeze(1)
            near_AM, edge_AME = self._edges(self.graph(day), batch.stock_BN[b, place_A], place_A)
            neighbour_BNM[b, place_A] = near_AM
            edge_BNME[b, place_A] = edge_AME
        return batch.with_graph(neighbour_BNM, edge_BNME)

    def _edges(self, graph: DayGraph, stock_A: Tensor, place_A: Tensor) -> tuple[Tensor, Tensor]:
        """Places in the batch of each stock's neighbours, and the edges' features."""
        panel = self.panel
        place_of = torch.full((len(panel.codes) + 1,), -1, dtype=torch.int64)
        place_of[stock_A] = place_A
        other_AM = graph.neighbour_NM[stock_A].long()
        # -1 reads the last entry, which belongs to no stock.
        near_AM = place_of[other_AM]
        read_AM, mine_A1 = other_AM.clamp(min=0), stock_A.unsqueeze(1)
        edge_AME = edge_features(
            graph.correlation_NM[stock_A],
            (panel.sector_N[mine_A1], panel.sector_N[read_AM]),
            (panel.sector_coarse_N[mine_A1], panel.sector_coarse_N[read_AM]),
            (graph.volatility_N[mine_A1], graph.volatility_N[read_AM]),
            self.config.sector_weight,
        )
        if len(self._features) > edge_AME.shape[2]:
            leads_AM1 = graph.leads_NM[stock_A].unsqueeze(2)
            edge_AME = torch.cat([edge_AME, leads_AM1.to(edge_AME.dtype)], dim=2)
        return near_AM, edge_AME * (near_AM >= 0).unsqueeze(-1)
