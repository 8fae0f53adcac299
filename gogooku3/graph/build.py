"""Builds the graph of a day from returns up to that day.

Shapes: N stocks of the panel, A of them with a row in the window, W days of the window, C
candidates, M places for neighbours.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gogooku3.config import GraphConfig
from gogooku3.data.panel import Panel
from gogooku3.graph.correlation import nearest, standardise
from gogooku3.graph.edges import DayGraph
from gogooku3.graph.sectors import coarse_peers, leaders, merged, sector_peers


def build_graph(panel: Panel, config: GraphConfig, day: int) -> DayGraph:
    """The graph of a day. Neighbours are members of that day's universe.

    Sums run over the stocks with a row in the window and over nobody else, so that stocks of the
    future do not change a bit of the result.
    """
    stocks = len(panel.codes)
    row_NW = panel.rows_until(day, config.window, torch.arange(stocks))
    active_A = torch.nonzero((row_NW >= 0).any(dim=1)).squeeze(1)
    row_AW = row_NW[active_A]
    return_R = panel.return_R if config.returns == "raw" else panel.residual_R
    return_AW = return_R[row_AW.clamp(min=0).long()].masked_fill_(row_AW < 0, torch.nan)
    z_AW, volatility_A, known_A = standardise(return_AW, config.halflife)
    volatility_N = torch.zeros(stocks)
    volatility_N[active_A] = volatility_A
    candidate_C = panel.scored_stocks(day)
    neighbour_NM = torch.full((stocks, config.width), -1, dtype=torch.int32)
    correlation_NM = torch.zeros(neighbour_NM.shape)
    leads_NM = torch.zeros(neighbour_NM.shape, dtype=torch.bool)
    graph = DayGraph(neighbour_NM, correlation_NM, leads_NM, volatility_N)
    if not len(candidate_C):
        return graph
    peers_NP, leaders_NL = _by_sector(panel, config, day, candidate_C)
    place_NM = torch.nn.functional.pad(peers_NP, (config.neighbours, 0), value=-1)
    active_of_N = torch.full((stocks,), -1, dtype=torch.int64)
    active_of_N[active_A] = torch.arange(len(active_A))
    place_NM[active_A], correlation_NM[active_A] = nearest(
        z_AW,
        known_A,
        active_of_N[candidate_C],
        peers_NP[active_A],
        config.shrinkage,
        config.neighbours,
    )
    is_edge_NM = place_NM >= 0
    neighbour_NM[:] = candidate_C[place_NM.clamp(min=0)].masked_fill_(~is_edge_NM, -1)
    leads_NM[:] = (place_NM.unsqueeze(2) == leaders_NL.unsqueeze(1)).any(2) & is_edge_NM
    return graph


def _by_sector(
    panel: Panel, config: GraphConfig, day: int, candidate_C: Tensor
) -> tuple[Tensor, Tensor]:
    """Places among the candidates: all neighbours by sector, none twice; and the leaders."""
    sector_N, coarse_N = panel.sector_N, panel.sector_coarse_N
    liquidity_C = panel.liquidity_R[panel.row_of_TN[day, candidate_C].long()]
    own_NM = sector_peers(sector_N, candidate_C, liquidity_C, config.sector_neighbours)
    coarse_NM = coarse_peers(
        sector_N, coarse_N, candidate_C, liquidity_C, config.sector_coarse_neighbours
    )
    leaders_NL = leaders(sector_N, coarse_N, candidate_C, liquidity_C, config.leader_neighbours)
    return merged(merged(own_NM, coarse_NM), leaders_NL), leaders_NL
