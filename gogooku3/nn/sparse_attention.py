"""GATv2's attention by torch-geometric: what `attend_neighbours` does, from lists of edges.

Shapes: R stocks, M neighbours, E edge features, H heads, C width of a head, J = H * C, P edges.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gogooku3.errors import ConfigError
from gogooku3.nn.neighbour_attention import SLOPE


def load_sparse_attention() -> Callable[..., Tensor]:
    """The function. Raises ConfigError where torch-geometric is missing."""
    try:
        with warnings.catch_warnings():  # it imports a deprecated part of torch
            warnings.simplefilter("ignore", DeprecationWarning)
            from torch_geometric.nn import GATv2Conv  # slow to load: only where it is asked for
    except ImportError:
        raise ConfigError(
            "gat.impl = pyg needs the optional package on the worker: pip install 'gogooku3[pyg]'"
        ) from None

    class SparseAttention(GATv2Conv):  # type: ignore[misc]
        """GATv2Conv after its own linear maps, with the weights' dropout from outside."""

        def forward(
            self, x: tuple[Tensor, Tensor], edges_2P: Tensor, edge_PE: Tensor, kept_PH: Any
        ) -> Tensor:
            weight_PH = self.edge_updater(edges_2P, x=x, edge_attr=edge_PE)
            if kept_PH is not None:
                weight_PH = weight_PH * kept_PH
            summed: Tensor = self.propagate(edges_2P, x=x, alpha=weight_PH)
            return summed.flatten(1)

    @functools.cache
    def skeleton(heads: int, width: int, edge_features: int) -> torch.nn.Module:
        with torch.device("meta"):
            conv: torch.nn.Module = SparseAttention(
                width,
                width,
                heads=heads,
                edge_dim=edge_features,
                add_self_loops=False,
                negative_slope=SLOPE,
                bias=False,
            )
        return conv

    def attend(
        source_RJ: Tensor,
        target_RJ: Tensor,
        edge_RME: Tensor,
        edge_weight_JE: Tensor,
        attention_HC: Tensor,
        place_RM: Tensor,
        exists_RM: Tensor,
        kept_RMH: Tensor | None = None,
    ) -> Tensor:
        target_P, slot_P = exists_RM.nonzero(as_tuple=True)
        given = {"att": attention_HC[None], "lin_edge.weight": edge_weight_JE}
        shape = attention_HC.shape
        summed_RJ: Tensor = torch.func.functional_call(
            skeleton(*shape, edge_weight_JE.shape[1]),
            given,
            (
                (source_RJ.unflatten(1, shape), target_RJ.unflatten(1, shape)),
                torch.stack((place_RM[target_P, slot_P], target_P)),
                edge_RME[target_P, slot_P],
                None if kept_RMH is None else kept_RMH[target_P, slot_P],
            ),
        )
        return summed_RJ

    return attend
