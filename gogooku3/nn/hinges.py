"""The weighted sum of every feature's embedding, without a tensor of all embeddings.

Shapes: R rows, C rows of one chunk, F features, P hinges per feature, D hidden.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_CHUNK = {"cpu": 1 << 17, "cuda": 1 << 26}
"""Elements of [P, F, C] made at a time: what a core's cache holds; on a GPU, 256 MB in fp32."""


def weighted_hinges(
    x_RF: Tensor, weight_RF: Tensor, scale_PF: Tensor, bias_PF: Tensor, lift_PFD: Tensor
) -> Tensor:
    """sum over f and p of weight_rf relu(scale_pf x_rf + bias_pf) lift_pf -> [R, D].

    The [R, F, P] hinges are eight times the input at the default rank and would each be read and
    written a dozen times in a step. They are made chunk by chunk instead, while they fit in
    the cache, and made again in the backward pass. Features lie before rows, so that every
    inner loop is long and contiguous. Under autocast all of it runs in the autocast type.
    """
    device = x_RF.device.type
    given = (x_RF, weight_RF, scale_PF, bias_PF, lift_PFD)
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x_RF.dtype
    with torch.autocast(device, enabled=False):
        summed: Tensor = _WeightedHinges.apply(*(tensor.to(dtype) for tensor in given))
    return summed


class _WeightedHinges(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_RF: Tensor, weight_RF: Tensor, scale_PF: Tensor, bias_PF: Tensor, lift: Tensor
    ) -> Tensor:
        ctx.save_for_backward(x_RF, weight_RF, scale_PF, bias_PF, lift)
        lift_QD = lift.flatten(0, 1)
        out_RD = x_RF.new_empty(len(x_RF), lift.shape[-1])
        for rows in _chunks(x_RF, scale_PF):
            x_FC, weight_FC = _features_first(x_RF[rows]), _features_first(weight_RF[rows])
            hinge_PFC = _hinges(x_FC, scale_PF, bias_PF).mul_(weight_FC)
            torch.mm(hinge_PFC.flatten(0, 1).T, lift_QD, out=out_RD[rows])
        return out_RD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_RD: Tensor) -> tuple[Tensor | None, ...]:
        x_RF, weight_RF, scale_PF, bias_PF, lift = ctx.saved_tensors
        lift_QD = lift.flatten(0, 1)
        grad_x_RF = torch.empty_like(x_RF) if ctx.needs_input_grad[0] else None
        grad_weight_RF = torch.empty_like(weight_RF)
        # Sums over all rows are kept in fp32 at least, whatever the rows are in.
        kept = torch.promote_types(x_RF.dtype, torch.float32)
        grad_scale_PF, grad_bias_PF = scale_PF.new_zeros((2, *scale_PF.shape), dtype=kept)
        grad_lift_QD = torch.zeros_like(lift_QD, dtype=kept)
        for rows in _chunks(x_RF, scale_PF):
            x_FC, weight_FC = _features_first(x_RF[rows]), _features_first(weight_RF[rows])
            hinge_PFC = _hinges(x_FC, scale_PF, bias_PF)
            through_PFC = (lift_QD @ grad_RD[rows].T).view_as(hinge_PFC)
            grad_weight_RF[rows] = (hinge_PFC * through_PFC).sum(0).T
            through_PFC.mul_(weight_FC).mul_(hinge_PFC > 0)
            grad_bias_PF += through_PFC.sum(-1, dtype=kept)
            if grad_x_RF is not None:
                grad_x_RF[rows] = (through_PFC * scale_PF[..., None]).sum(0).T
            grad_scale_PF += through_PFC.mul_(x_FC).sum(-1, dtype=kept)
            grad_lift_QD += hinge_PFC.mul_(weight_FC).flatten(0, 1) @ grad_RD[rows]
        return (
            grad_x_RF,
            grad_weight_RF,
            grad_scale_PF.to(scale_PF.dtype),
            grad_bias_PF.to(bias_PF.dtype),
            grad_lift_QD.view_as(lift).to(lift.dtype),
        )


def _chunks(x_RF: Tensor, scale_PF: Tensor) -> Iterator[slice]:
    size = max(1, _CHUNK.get(x_RF.device.type, _CHUNK["cuda"]) // scale_PF.numel())
    for first in range(0, len(x_RF), size):
        yield slice(first, first + size)


def _features_first(x_CF: Tensor) -> Tensor:
    return x_CF.T.contiguous()


def _hinges(x_FC: Tensor, scale_PF: Tensor, bias_PF: Tensor) -> Tensor:
    return torch.addcmul(bias_PF[..., None], x_FC, scale_PF[..., None]).relu_()
