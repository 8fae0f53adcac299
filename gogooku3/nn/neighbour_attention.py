"""GATv2's attention over fixed lists of neighbours, without a tensor of all edges' embeddings.

Shapes: R stocks (all days'), M neighbours, E edge features, H heads, C width of a head, J = H * C,
Q stocks of one chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

SLOPE = 0.2
"""Of the leaky ReLU."""
_CHUNK = {"cpu": 1 << 17, "cuda": 1 << 26}
"""Elements of [Q, M, J] made at a time: what a core's cache holds; on a GPU, 256 MB in fp32."""


def attend_neighbours(
    source_RJ: Tensor,
    target_RJ: Tensor,
    edge_RME: Tensor,
    edge_weight_JE: Tensor,
    attention_HC: Tensor,
    place_RM: Tensor,
    exists_RM: Tensor,
    kept_RMH: Tensor | None = None,
) -> Tensor:
    """sum over j of weight_ij source_j -> [R, J], with weight_i = softmax over the neighbours j of
    attention . LeakyReLU(target_i + source_j + edge_weight e_ij), head by head.

    The embeddings of all edges are M times the stocks'. They are made chunk by chunk instead,
    while they fit in the cache, and made again in the backward pass. Edge features take no
    gradient.

    Args:
        source_RJ: what a stock gives to others.
        target_RJ: what it asks with.
        edge_RME: features of the edges.
        edge_weight_JE: their linear map.
        attention_HC: the vector that makes a logit, divided by the temperature.
        place_RM: row of each neighbour in R.
        exists_RM: false where a place holds no edge; a stock without edges gets 0.
        kept_RMH: factors on the weights (dropout), or None.
    """
    summed: Tensor = _NeighbourAttention.apply(
        source_RJ,
        target_RJ.to(source_RJ.dtype),
        edge_RME.to(source_RJ.dtype),
        edge_weight_JE.to(source_RJ.dtype),
        attention_HC,
        place_RM,
        exists_RM,
        kept_RMH,
    )
    return summed


class _NeighbourAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, source_RJ: Tensor, *rest: Any) -> Tensor:
        ctx.save_for_backward(source_RJ, *rest)
        out_RJ = torch.empty_like(source_RJ)
        with torch.autocast(source_RJ.device.type, enabled=False):
            for chunk in _chunks(source_RJ, *rest):
                weight_QMH1 = chunk.weights()[1].to(source_RJ.dtype).unsqueeze(-1)
                torch.sum(
                    chunk.source_QMHC.mul_(weight_QMH1).flatten(2), dim=1, out=out_RJ[chunk.rows]
                )
        return out_RJ

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_RJ: Tensor) -> tuple[Tensor | None, ...]:
        source_RJ, target_RJ, _, edge_weight_JE, attention_HC, place_RM, _, _ = ctx.saved_tensors
        # Sums over many rows are kept in fp32 at least, whatever the rows are in.
        kept = torch.promote_types(source_RJ.dtype, torch.float32)
        grad_source_RJ = torch.zeros_like(source_RJ, dtype=kept)
        grad_target_RJ = torch.empty_like(target_RJ)
        grad_edge_JE = torch.zeros_like(edge_weight_JE, dtype=kept)
        grad_attention_HC = torch.zeros_like(attention_HC, dtype=kept)
        with torch.autocast(source_RJ.device.type, enabled=False):
            for chunk in _chunks(*ctx.saved_tensors):
                weight_QMH, used_QMH = chunk.weights()
                grad_Q1HC = grad_RJ[chunk.rows].unflatten(-1, attention_HC.shape).unsqueeze(1)
                through_QMH = (chunk.source_QMHC * grad_Q1HC).sum(-1).to(weight_QMH.dtype)
                if chunk.kept_QMH is not None:
                    through_QMH = through_QMH * chunk.kept_QMH
                through_QMH = weight_QMH * through_QMH
                grad_logit_QMH = through_QMH - weight_QMH * through_QMH.sum(1, keepdim=True)
                hidden_QMHC = chunk.hidden_QMHC
                grad_logit_QMH1 = grad_logit_QMH.to(hidden_QMHC.dtype).unsqueeze(-1)
                grad_attention_HC += (hidden_QMHC * grad_logit_QMH1).sum((0, 1), dtype=kept)
                grad_QMHC = torch.ops.aten.leaky_relu_backward(
                    grad_logit_QMH1 * attention_HC.to(hidden_QMHC.dtype), hidden_QMHC, SLOPE, True
                )
                grad_QMJ = grad_QMHC.flatten(2)
                torch.sum(grad_QMJ, dim=1, out=grad_target_RJ[chunk.rows])
                grad_edge_JE += grad_QMJ.flatten(0, 1).T @ chunk.edge_QME.flatten(0, 1)
                grad_QMHC.addcmul_(used_QMH.to(hidden_QMHC.dtype).unsqueeze(-1), grad_Q1HC)
                grad_source_RJ.index_add_(
                    0, place_RM[chunk.rows].flatten(), grad_QMJ.flatten(0, 1).to(kept)
                )
        return (
            grad_source_RJ.to(source_RJ.dtype),
            grad_target_RJ,
            None,
            grad_edge_JE.to(edge_weight_JE.dtype),
            grad_attention_HC.to(attention_HC.dtype),
            None,
            None,
            None,
        )


class _Chunk:
    """The edges of some stocks, embedded."""

    def __init__(
        self,
        rows: slice,
        source_RJ: Tensor,
        target_RJ: Tensor,
        edge_RME: Tensor,
        edge_weight_JE: Tensor,
        attention_HC: Tensor,
        place_RM: Tensor,
        exists_RM: Tensor,
        kept_RMH: Tensor | None,
    ) -> None:
        self.rows = rows
        self.edge_QME = edge_RME[rows]
        self.kept_QMH = None if kept_RMH is None else kept_RMH[rows]
        self._exists_QM1 = exists_RM[rows].unsqueeze(-1)
        self._attention_HC = attention_HC
        # Not x[index]: its order of additions would vary in a backward pass, and it is slow.
        source_PJ = source_RJ.index_select(0, place_RM[rows].flatten())
        count, neighbours = self.edge_QME.shape[:2]
        shape = (count, neighbours, *attention_HC.shape)
        self.source_QMHC = source_PJ.view(shape)
        hidden_PJ = torch.addmm(source_PJ, self.edge_QME.flatten(0, 1), edge_weight_JE.T)
        hidden_QMJ = hidden_PJ.view(count, neighbours, -1).add_(target_RJ[rows].unsqueeze(1))
        self.hidden_QMHC = F.leaky_relu_(hidden_QMJ, SLOPE).view(shape)

    def weights(self) -> tuple[Tensor, Tensor]:
        """The softmax over the edges, and the same after dropout: in fp32 at least."""
        logit_QMH = (self.hidden_QMHC * self._attention_HC.to(self.hidden_QMHC.dtype)).sum(-1)
        logit_QMH = logit_QMH.to(torch.promote_types(logit_QMH.dtype, torch.float32))
        logit_QMH = logit_QMH.masked_fill(~self._exists_QM1, torch.finfo(logit_QMH.dtype).min)
        weight_QMH = F.softmax(logit_QMH, dim=1) * self._exists_QM1
        return weight_QMH, weight_QMH if self.kept_QMH is None else weight_QMH * self.kept_QMH


def _chunks(source_RJ: Tensor, *rest: Any) -> Iterator[_Chunk]:
    place_RM = rest[4]
    size = _CHUNK.get(source_RJ.device.type, _CHUNK["cuda"])
    step = max(1, size // max(1, place_RM.shape[1] * source_RJ.shape[1]))
    for first in range(0, len(source_RJ), step):
        yield _Chunk(slice(first, first + step), source_RJ, *rest)
