"""The graph of a day, and what the model is told of its edges.

Shapes: N stocks, M places for neighbours, E edge features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gogooku3.config import GraphConfig

EDGE_FEATURES = ("correlation", "same_sector", "same_sector_coarse", "volatility_similarity")
"""The last axis of `Batch.edge_BNME`, unless there are leaders: see `edge_feature_names`."""
LEADER = "leader"
"""The feature after those: 1 for an edge to one of the stock's leaders."""


def edge_feature_names(config: GraphConfig) -> tuple[str, ...]:
    """The last axis of `Batch.edge_BNME`. Sector peers are told by their sectors; leaders, who may
    be of another sector, by a feature of their own."""
    return (*EDGE_FEATURES, LEADER) if config.leader_neighbours else EDGE_FEATURES


@dataclass(frozen=True)
class DayGraph:
    """The graph of a rebuild day over the panel's stocks."""

    neighbour_NM: Tensor
    """int32: position in the panel's codes; -1 = no edge."""
    correlation_NM: Tensor
    """float32: shrunk correlation along the edge; 0 where there is none or it is unknown."""
    leads_NM: Tensor
    """bool: the neighbour is one of the stock's leaders."""
    volatility_N: Tensor
    """float32: weighted standard deviation of the daily returns in use; 0 = unknown."""


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
