"""Neighbours by sector: the most traded of one's own, and the leaders above them.

What happens to the large stocks of an industry reaches its small ones later (Hou, 2007, "Industry
information diffusion and the lead-lag effect in stock returns", Review of Financial Studies 20);
edges of industries and their hierarchy are what Feng et al. (2019, "Temporal relational ranking for
stock prediction", TOIS 37) and Kim et al. (2019, "HATS", arXiv:1908.07999) give a graph network.

Shapes: N stocks, C candidates, S sectors, P pairs of a sector and a coarse one, M places for
neighbours. A place is a position among the candidates; -1 = none.
"""

from __future__ import annotations

import torch
from torch import Tensor


def sector_peers(sector_N: Tensor, candidate_C: Tensor, liquidity_C: Tensor, most: int) -> Tensor:
    """place_NM: the most traded candidates of each stock's own sector, self excluded.

    Stocks of the unknown sector 0 have no peers.
    """
    order_C = by_liquidity(liquidity_C)
    sector_C = sector_N[candidate_C[order_C]]
    # One more than asked for: a stock that is itself among the most traded is taken out.
    top_SM = torch.full((int(sector_N.max()) + 1, most + 1), -1, dtype=torch.int64)
    for sector in range(1, len(top_SM)):
        inside_M = order_C[sector_C == sector][: most + 1]
        top_SM[sector, : len(inside_M)] = inside_M
    return without_self(top_SM[sector_N], candidate_C)[:, :most]


def coarse_peers(
    sector_N: Tensor, coarse_N: Tensor, candidate_C: Tensor, liquidity_C: Tensor, most: int
) -> Tensor:
    """place_NM: the most traded candidates of each stock's own coarse sector that are not of its
    finer sector, self excluded. Stocks of the unknown coarse sector 0 have none."""
    order_C = by_liquidity(liquidity_C)
    sector_C, coarse_C = (of_N[candidate_C[order_C]] for of_N in (sector_N, coarse_N))
    pair_P2, pair_N = torch.stack([sector_N, coarse_N], dim=1).unique(dim=0, return_inverse=True)
    top_PM = torch.full((len(pair_P2), most + 1), -1, dtype=torch.int64)
    for place, (sector, coarse) in enumerate(pair_P2.tolist()):
        if coarse:
            is_other_C = (sector_C != sector) | (sector == 0)
            inside_M = order_C[(coarse_C == coarse) & is_other_C][: most + 1]
            top_PM[place, : len(inside_M)] = inside_M
    return without_self(top_PM[pair_N], candidate_C)[:, :most]


def leaders(
    sector_N: Tensor, coarse_N: Tensor, candidate_C: Tensor, liquidity_C: Tensor, most: int
) -> Tensor:
    """place_NM: each stock's leaders, self excluded and none twice: the leader of its sector, that
    of its coarse sector, then those of the other coarse sectors, most traded first.

    The leader of a sector is its most traded candidate. With one place this is a tree: stock ->
    leader of the sector -> leader of the coarse sector -> another coarse sector's. A stock of which
    neither sector is known has no leaders.
    """
    order_C = by_liquidity(liquidity_C)
    leader_S = _first(sector_N[candidate_C[order_C]], order_C, int(sector_N.max()) + 1)
    coarse_S = _first(coarse_N[candidate_C[order_C]], order_C, int(coarse_N.max()) + 1)
    rank_C = torch.empty_like(order_C)
    rank_C[order_C] = torch.arange(len(order_C))
    known_S = coarse_S[coarse_S >= 0]
    others_S = known_S[rank_C[known_S].argsort()].expand(len(sector_N), -1)
    own_N2 = torch.stack([leader_S[sector_N], coarse_S[coarse_N]], dim=1)
    all_NM = torch.cat([own_N2, others_S], dim=1)
    all_NM = all_NM.masked_fill(((sector_N == 0) & (coarse_N == 0)).unsqueeze(1), -1)
    repeated_NMM = (all_NM.unsqueeze(2) == all_NM.unsqueeze(1)).tril(-1)
    place_NM = without_self(all_NM.masked_fill(repeated_NMM.any(2), -1), candidate_C)[:, :most]
    return widened(place_NM, most)


def by_liquidity(liquidity_C: Tensor) -> Tensor:
    """Places of the candidates, most traded first, ties in their own order."""
    return torch.argsort(liquidity_C, descending=True, stable=True)


def without_self(place_NM: Tensor, candidate_C: Tensor) -> Tensor:
    """The same lists without the stock itself, holes closed: real places first, in their order."""
    stock_N1 = torch.arange(len(place_NM)).unsqueeze(1)
    is_self_NM = (candidate_C[place_NM.clamp(min=0)] == stock_N1) & (place_NM >= 0)
    place_NM = place_NM.masked_fill(is_self_NM, -1)
    first_NM = torch.argsort((place_NM < 0).to(torch.int8), dim=1, stable=True)
    return place_NM.gather(1, first_NM)


def merged(place_NA: Tensor, place_NB: Tensor) -> Tensor:
    """Both lists side by side; a place of the second that the first has already becomes -1."""
    doubled_NB = (place_NB.unsqueeze(2) == place_NA.unsqueeze(1)).any(2)
    return torch.cat([place_NA, place_NB.masked_fill(doubled_NB, -1)], dim=1)


def widened(place_NM: Tensor, most: int) -> Tensor:
    """The same lists with empty places behind."""
    return torch.nn.functional.pad(place_NM, (0, most - place_NM.shape[1]), value=-1)


def _first(sector_C: Tensor, order_C: Tensor, sectors: int) -> Tensor:
    """place_S: the most traded place of each known sector; -1 = none."""
    place_S = torch.full((sectors,), -1, dtype=torch.int64)
    for sector in range(1, sectors):
        inside_C = order_C[sector_C == sector]
        if len(inside_C):
            place_S[sector] = inside_C[0]
    return place_S
