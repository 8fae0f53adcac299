"""Who is a neighbour of whom: correlated stocks and the sector's most traded.

Shapes: N stocks, C candidates, M places for neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

EDGE_FEATURES = ("correlation", "same_sector", "same_sector_coarse", "volatility_similarity")
"""The last axis of `Batch.edge_BNME`."""


@dataclass(frozen=True)
class DayGraph:
    """The graph of a rebuild day over the panel's stocks."""

    neighbour_NM: Tensor
    """int32: position in the panel's codes; -1 = no edge."""
    correlation_NM: Tensor
    """float32: shrunk correlation along the edge; 0 where there is none."""
    volatility_N: Tensor
    """float32: weighted standard deviation of daily returns; 0 = unknown."""


def nearest_by_correlation(correlation_NC: Tensor, self_NC: Tensor, most: int) -> Tensor:
    """place_NM: the candidates of largest |correlation|, largest first, self excluded; -1 = none.

    A correlation of exactly 0 is that of an unknown pair, and no edge.
    """
    count = min(most, correlation_NC.shape[1])
    strength_NC = correlation_NC.abs().masked_fill_(self_NC, 0.0)
    strongest = strength_NC.topk(count, dim=1)
    place_NM = strongest.indices.masked_fill_(strongest.values <= 0.0, -1)
    return _widened(place_NM, most)


def sector_peers(sector_N: Tensor, candidate_C: Tensor, liquidity_C: Tensor, most: int) -> Tensor:
    """place_NM: the most traded candidates of each stock's own sector, self excluded; -1 = none.

    Stocks of the unknown sector 0 have no peers.
    """
    order_C = torch.argsort(liquidity_C, descending=True, stable=True)
    # One more than asked for: a stock that is itself among the most traded is taken out.
    top_SM = torch.full((int(sector_N.max()) + 1, most + 1), -1, dtype=torch.int64)
    for sector in range(1, len(top_SM)):
        inside_M = order_C[sector_N[candidate_C[order_C]] == sector][: most + 1]
        top_SM[sector, : len(inside_M)] = inside_M
    place_NM = top_SM[sector_N]
    is_self_NM = candidate_C[place_NM.clamp(min=0)] == torch.arange(len(sector_N)).unsqueeze(1)
    place_NM[is_self_NM & (place_NM >= 0)] = -1
    # Close the hole that a stock's own place left: real places first, in their order.
    first_NM = torch.argsort((place_NM < 0).to(torch.int8), dim=1, stable=True)
    return place_NM.gather(1, first_NM)[:, :most]


def merged(place_NA: Tensor, place_NB: Tensor) -> Tensor:
    """Both lists side by side; a place of the second that the first has already becomes -1."""
    doubled_NB = (place_NB.unsqueeze(2) == place_NA.unsqueeze(1)).any(2)
    return torch.cat([place_NA, place_NB.masked_fill(doubled_NB, -1)], dim=1)


def edge_features(
    correlation_NM: Tensor,
    sector: tuple[Tensor, Tensor],
    sector_coarse: tuple[Tensor, Tensor],
    volatility: tuple[Tensor, Tensor],
    sector_weight: float,
) -> Tensor:
    """edge_NME in the order of EDGE_FEATURES.

    Each pair holds the value of the stock [N, 1] and of its neighbour [N, M]. The sector features
    are `sector_weight` for two stocks of the same known sector and 0 otherwise; the similarity of
    volatility is exp(-|log ratio|), 0 when either is unknown.
    """
    same_NM = (sector[0] == sector[1]) & (sector[0] > 0)
    coarse_NM = (sector_coarse[0] == sector_coarse[1]) & (sector_coarse[0] > 0)
    mine_N1, theirs_NM = volatility
    larger_NM = torch.maximum(mine_N1, theirs_NM)
    similarity_NM = torch.minimum(mine_N1, theirs_NM) / larger_NM.clamp(min=1e-12)
    return torch.stack(
        [correlation_NM, same_NM * sector_weight, coarse_NM * sector_weight, similarity_NM], dim=-1
    )


def _widened(place_NM: Tensor, most: int) -> Tensor:
    return torch.nn.functional.pad(place_NM, (0, most - place_NM.shape[1]), value=-1)
