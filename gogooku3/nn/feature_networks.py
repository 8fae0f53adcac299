"""A gated residual network for every feature, and the weighted sum of what they give.

Shapes: R rows, C rows of a tile, F features, P features of a tile, D hidden, G = 2 D.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from gogooku3.nn.dropout import kept_factors

_TILE = {"cpu": 1 << 16, "cuda": 1 << 28}
"""Elements of [F, R, D] that are worked on at a time: what a core's cache holds; on a GPU, so many
that launches are few."""
_EPSILON = 1e-5
"""Of the layer normalisation, torch's default."""

_GIVEN = 9
"""Tensors that the function is given, which it keeps before those of its tiles."""

Tile = tuple[slice, slice]
"""Features and rows."""


def weighted_networks(
    x_FR: Tensor,
    weight_FR: Tensor,
    embedding_F2D: Tensor,
    entry_F2D: Tensor,
    mix_FDD: Tensor,
    bias_mix_F1D: Tensor,
    gate_FDG: Tensor,
    bias_gate_F1G: Tensor,
    scale_F1D: Tensor,
    dropout: float,
) -> Tensor:
    """sum over f of weight_fr scale_f norm(GLU(gate_f dropout(mix_f ELU(entry_f (x, 1)))) +
    embedding_f (x, 1)) -> [R, D], norm being a layer normalisation without parameters.

    Tile by tile, so that what an operation leaves is still in the cache when the next one reads
    it. Under autocast all of it runs in the autocast type.
    """
    device = x_FR.device.type
    given = (
        x_FR,
        weight_FR,
        embedding_F2D,
        entry_F2D,
        mix_FDD,
        bias_mix_F1D,
        gate_FDG,
        bias_gate_F1G,
        scale_F1D,
    )
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x_FR.dtype
    with torch.autocast(device, enabled=False):
        summed: Tensor = _WeightedNetworks.apply(dropout, *(tensor.to(dtype) for tensor in given))
    return summed


class _Kept(NamedTuple):
    """What the backward pass needs of a tile."""

    hidden_PCD: Tensor
    """After the ELU."""
    mixed_PCD: Tensor
    """After the dropout."""
    gate_PCG: Tensor
    """What is gated, then the gate between 0 and 1."""
    normed_PCD: Tensor
    rstd_PC1: Tensor
    kept_PCD: Tensor | None
    """What the dropout multiplied by; None = 1."""


class _WeightedNetworks(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, dropout: float, x_FR: Tensor, weight_FR: Tensor, *given: Tensor
    ) -> Tensor:
        embedding, entry, mix, bias_mix, gate, bias_gate, scale = given
        width = mix.shape[-1]
        summed_RD = x_FR.new_zeros(x_FR.shape[1], width)
        kept: list[Tensor | None] = []
        for features, rows in _tiles(x_FR, width):
            x_PC2 = _with_one(x_FR[features, rows])
            hidden_PCD = F.elu_(torch.bmm(x_PC2, entry[features]))
            mixed_PCD = torch.baddbmm(bias_mix[features], hidden_PCD, mix[features])
            kept_PCD = None
            if dropout:
                kept_PCD = kept_factors(mixed_PCD.shape, dropout, mixed_PCD)
                mixed_PCD.mul_(kept_PCD)
            gate_PCG = torch.baddbmm(bias_gate[features], mixed_PCD, gate[features])
            gated_PCD, open_PCD = gate_PCG.chunk(2, -1)
            open_PCD.sigmoid_()
            embedded_PCD = torch.bmm(x_PC2, embedding[features]).addcmul_(gated_PCD, open_PCD)
            normed_PCD, _, rstd_PC1 = torch.native_layer_norm(
                embedded_PCD, (width,), None, None, _EPSILON
            )
            added_PCD = (normed_PCD * weight_FR[features, rows, None]).mul_(scale[features])
            summed_RD[rows] += added_PCD[0] if len(added_PCD) == 1 else added_PCD.sum(0)
            kept += _Kept(hidden_PCD, mixed_PCD, gate_PCG, normed_PCD, rstd_PC1, kept_PCD)
        ctx.save_for_backward(x_FR, weight_FR, *given, *kept)
        return summed_RD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_RD: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # a checkpoint gives them once
        x_FR, weight_FR, *parameters = saved[:_GIVEN]
        embedding, entry, mix, _, gate, _, scale = parameters
        of_tiles = iter(saved[_GIVEN:])
        width = mix.shape[-1]
        grad_x_FR = torch.empty_like(x_FR) if ctx.needs_input_grad[1] else None
        grad_weight_FR = torch.empty_like(weight_FR)
        # Sums over all rows are kept in fp32 at least, whatever the rows are in.
        kept_in = torch.promote_types(x_FR.dtype, torch.float32)
        grads = [torch.zeros_like(parameter, dtype=kept_in) for parameter in parameters]
        to_embedding, to_entry, to_mix, to_bias_mix, to_gate, to_bias_gate, to_scale = grads
        # What the normalisation takes out of a gradient: its mean over D.
        mean_FR = torch.mm(scale.squeeze(1), grad_RD.T).div_(width)
        for features, rows in _tiles(x_FR, width):
            kept = _Kept(*islice(of_tiles, len(_Kept._fields)))
            weight_PC1 = weight_FR[features, rows, None]
            along_PCD = grad_RD[rows] * kept.normed_PCD
            to_scale[features] += torch.bmm(weight_PC1.transpose(1, 2), along_PCD)
            share_PC1 = torch.bmm(along_PCD, scale[features].transpose(1, 2))
            grad_weight_FR[features, rows] = share_PC1.squeeze(2)

            inner_PCD = (grad_RD[rows] * scale[features]).sub_(mean_FR[features, rows, None])
            inner_PCD.addcmul_(kept.normed_PCD, share_PC1, value=-1.0 / width)
            inner_PCD.mul_(weight_PC1 * kept.rstd_PC1.to(weight_PC1.dtype))

            gated_PCD, open_PCD = kept.gate_PCG.chunk(2, -1)
            grad_gate_PCG = torch.empty_like(kept.gate_PCG)
            grad_gated_PCD, grad_open_PCD = grad_gate_PCG.chunk(2, -1)
            torch.mul(inner_PCD, open_PCD, out=grad_gated_PCD)
            torch.mul(grad_gated_PCD, gated_PCD, out=grad_open_PCD)
            grad_open_PCD.addcmul_(grad_open_PCD, open_PCD, value=-1.0)
            to_bias_gate[features] += grad_gate_PCG.sum(1, keepdim=True, dtype=kept_in)
            to_gate[features] += torch.bmm(kept.mixed_PCD.transpose(1, 2), grad_gate_PCG)

            grad_mixed_PCD = torch.bmm(grad_gate_PCG, gate[features].transpose(1, 2))
            if kept.kept_PCD is not None:
                grad_mixed_PCD.mul_(kept.kept_PCD)
            to_bias_mix[features] += grad_mixed_PCD.sum(1, keepdim=True, dtype=kept_in)
            to_mix[features] += torch.bmm(kept.hidden_PCD.transpose(1, 2), grad_mixed_PCD)

            grad_hidden_PCD = torch.bmm(grad_mixed_PCD, mix[features].transpose(1, 2))
            # The slope of the ELU: 1, or its value + 1 where that is less.
            grad_hidden_PCD.mul_((kept.hidden_PCD + 1.0).clamp_max_(1.0))
            x_P2C = _with_one(x_FR[features, rows]).transpose(1, 2)
            to_entry[features] += torch.bmm(x_P2C, grad_hidden_PCD)
            to_embedding[features] += torch.bmm(x_P2C, inner_PCD)
            if grad_x_FR is not None:
                grad_x_PC1 = torch.bmm(grad_hidden_PCD, entry[features, :1].transpose(1, 2))
                grad_x_PC1 += torch.bmm(inner_PCD, embedding[features, :1].transpose(1, 2))
                grad_x_FR[features, rows] = grad_x_PC1.squeeze(2)
        return None, grad_x_FR, grad_weight_FR, *(grad.to(x_FR.dtype) for grad in grads)


def _tiles(x_FR: Tensor, width: int) -> Iterator[Tile]:
    """All features of some rows come before the next rows."""
    features, rows = x_FR.shape
    tile = max(1, _TILE.get(x_FR.device.type, _TILE["cuda"]) // width)
    height = min(tile, rows)
    group = min(features, max(1, tile // max(1, height)))
    for row in range(0, rows, height):
        for feature in range(0, features, group):
            yield slice(feature, feature + group), slice(row, row + height)


def _with_one(x_PC: Tensor) -> Tensor:
    return torch.stack((x_PC, torch.ones_like(x_PC)), dim=-1)
