"""Attention over a day's graph: GATv2 with edge features on fixed-k neighbour lists.

Shapes: B days, N stocks, R = B * N, M neighbours, E edge features, D hidden, H heads, C width of a
head, J = H * C.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gogooku3.nn.dropout import kept_factors
from gogooku3.nn.neighbour_attention import attend_neighbours
from gogooku3.nn.sparse_attention import load_sparse_attention

TEMPERATURE_RANGE = (0.5, 2.0)


@dataclass(frozen=True)
class Edges:
    """The edges of B days, ready to gather from stocks flattened to R = B * N rows."""

    place_RM: Tensor
    """Row of the neighbour in R; 0 where there is no edge."""
    exists_RM: Tensor
    feature_RME: Tensor

    @classmethod
    def of(cls, neighbour_BNM: Tensor, edge_BNME: Tensor) -> Edges:
        """From places within each day's N stocks, -1 = no edge."""
        days, stocks, _ = neighbour_BNM.shape
        first_B11 = torch.arange(days, device=neighbour_BNM.device)[:, None, None] * stocks
        exists_BNM = neighbour_BNM >= 0
        place_BNM = torch.where(exists_BNM, neighbour_BNM + first_B11, 0)
        return cls(place_BNM.flatten(0, 1), exists_BNM.flatten(0, 1), edge_BNME.flatten(0, 1))

    def without(self, share: float) -> Edges:
        """The same edges with a random share of them left out."""
        kept_RM = torch.rand(self.exists_RM.shape, device=self.exists_RM.device) >= share
        return Edges(self.place_RM, self.exists_RM & kept_RM, self.feature_RME)


class _ClampInward(torch.autograd.Function):
    """Clamp whose gradient is cut only where a step would lead further out.

    torch.clamp has no gradient outside its range: a temperature that once left it would stay.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(value)
        ctx.range = (low, high)
        return value.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (value,) = ctx.saved_tensors
        low, high = ctx.range
        (gradient,) = gradients
        outward = ((value < low) & (gradient > 0)) | ((value > high) & (gradient < 0))
        return gradient.masked_fill(outward, 0.0), None, None


class GraphAttention(nn.Module):
    """One GATv2 layer (Brody, Alon, Yahav, 2022) with edge features.

    logit_ij = a . LeakyReLU(target(x_i) + source(x_j) + edge(e_ij)) / temperature, softmax over
    the neighbours j of i; output_i = sum_j weight_ij source(x_j) + bias, the heads concatenated
    or averaged. A stock without neighbours gets the bias alone.
    """

    uncompiled = ("attend",)

    def __init__(
        self,
        *,
        width: int,
        heads: int,
        concat: bool,
        edge_features: int,
        dropout: float,
        temperature: float,
        impl: Literal["fixed_k", "pyg"] = "fixed_k",
    ) -> None:
        """Raises ConfigError for `pyg` where torch-geometric is missing."""
        super().__init__()
        self.attend = attend_neighbours if impl == "fixed_k" else load_sparse_attention()
        self.heads = heads
        self.concat = concat
        per_head = width // heads if concat else width
        joint = heads * per_head
        self.source = nn.Linear(width, joint, bias=False)
        self.target = nn.Linear(width, joint)
        self.edge = nn.Linear(edge_features, joint, bias=False)
        self.attention_HC = nn.Parameter(torch.empty(heads, per_head))
        nn.init.xavier_uniform_(self.attention_HC)
        self.temperature = nn.Parameter(torch.tensor(float(temperature)))
        self.bias = nn.Parameter(torch.zeros(width))
        self.dropout = dropout

    def forward(self, x_BND: Tensor, edges: Edges) -> Tensor:
        """x [B, N, D] -> [B, N, D]."""
        shape = (*x_BND.shape[:2], self.heads, -1)
        kept_RMH = None
        if self.training and self.dropout > 0.0:
            size = (*edges.place_RM.shape, self.heads)
            kept_RMH = kept_factors(size, self.dropout, self.attention_HC)
        output_RJ = self.attend(
            self.source(x_BND).flatten(0, 1),
            self.target(x_BND).flatten(0, 1),
            edges.feature_RME,
            self.edge.weight,
            self.attention_HC / self.clamped_temperature(),
            edges.place_RM,
            edges.exists_RM,
            kept_RMH,
        )
        output_BNHC = output_RJ.view(shape)
        joined = output_BNHC.flatten(-2) if self.concat else output_BNHC.mean(-2)
        return joined + self.bias

    def clamped_temperature(self) -> Tensor:
        """The temperature in use: the parameter, held within its range."""
        clamped: Tensor = _ClampInward.apply(self.temperature, *TEMPERATURE_RANGE)
        return clamped


class GraphStack(nn.Module):
    """Layers of graph attention: x + layer(norm(x)), with a norm after the last.

    In training, `edge_dropout` leaves out a share of the edges (the same for every layer of a
    step), and `stochastic_depth` p skips layer l of L with probability l / L * p, day by day;
    what is kept is scaled up so that evaluation needs no correction.
    """

    def __init__(
        self,
        *,
        width: int,
        heads: Sequence[int],
        concat: Sequence[bool],
        edge_features: int,
        dropout: float,
        edge_dropout: float,
        stochastic_depth: float,
        temperature: float,
        impl: Literal["fixed_k", "pyg"] = "fixed_k",
    ) -> None:
        super().__init__()
        self.edge_dropout = edge_dropout
        count = len(heads)
        self.skip_rates = [stochastic_depth * layer / count for layer in range(1, count + 1)]
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(count + 1))
        self.layers = nn.ModuleList(
            GraphAttention(
                width=width,
                heads=layer_heads,
                concat=joined,
                edge_features=edge_features,
                dropout=dropout,
                temperature=temperature,
                impl=impl,
            )
            for layer_heads, joined in zip(heads, concat, strict=True)
        )

    def forward(self, x_BND: Tensor, edges: Edges) -> Tensor:
        """x [B, N, D] -> [B, N, D]."""
        if self.training and self.edge_dropout > 0.0:
            edges = edges.without(self.edge_dropout)
        for norm, layer, rate in zip(self.norms, self.layers, self.skip_rates, strict=False):
            step_BND = layer(norm(x_BND), edges)
            if self.training and rate > 0.0:
                kept_B11 = torch.rand(x_BND.shape[0], 1, 1, device=x_BND.device) >= rate
                step_BND = step_BND * kept_B11 / (1.0 - rate)
            x_BND = x_BND + step_BND
        output: Tensor = self.norms[-1](x_BND)
        return output


class GatedBypass(nn.Module):
    """z = h + sigmoid(g) * gat(h), with g a linear map of both."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Linear(2 * width, width)

    def forward(self, h_BND: Tensor, gat_BND: Tensor) -> Tensor:
        """[B, N, D] of both sides -> [B, N, D]."""
        gate_BND = torch.sigmoid(self.gate(torch.cat((h_BND, gat_BND), dim=-1)))
        return h_BND + gate_BND * gat_BND
