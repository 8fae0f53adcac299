"""Variable selection as published: a gated residual network of its own for every feature.

Shapes: T days, S sequences, R = T * S rows, F features, D hidden.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gogooku3.nn.grn import GatedResidualNetwork

_CHUNK = 1 << 25
"""Elements of [F, R, D] that are kept for the backward pass; beyond it they are made again."""


class GroupedVariableSelection(nn.Module):
    """Lim, Arik, Loeff, Pfister, 2021: softmax weights over the features, from all their embeddings
    and a context, times each feature's embedding through its own GRN.

    The F networks run as one batched product each layer instead of one after the other. It has
    4 F D^2 parameters and work, where `VariableSelection` has `rank` F D.
    """

    def __init__(self, *, features: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.weigh = GatedResidualNetwork(
            features * width, width, features, dropout=dropout, context=width
        )
        self.scale_FD = nn.Parameter(torch.randn(features, width))
        self.bias_FD = nn.Parameter(torch.zeros(features, width))
        bound = 1.0 / math.sqrt(width)

        def matrix(outputs: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(features, width, outputs).uniform_(-bound, bound))

        self.enter_FDD = matrix(width)
        self.mix_FDD = matrix(width)
        self.gate_FDG = matrix(2 * width)
        self.bias_enter_F1D = nn.Parameter(torch.zeros(features, 1, width))
        self.bias_mix_F1D = nn.Parameter(torch.zeros(features, 1, width))
        self.bias_gate_F1G = nn.Parameter(torch.zeros(features, 1, 2 * width))
        self.bias_scale_F1D = nn.Parameter(torch.ones(features, 1, width))
        self.bias_shift_F1D = nn.Parameter(torch.zeros(features, 1, width))

    def forward(self, x_TSF: Tensor, context_SD: Tensor) -> tuple[Tensor, Tensor]:
        """Selected embedding [T, S, D] and the weights [T, S, F], which sum to 1 over F."""
        days, sequences, features = x_TSF.shape
        step = max(1, _CHUNK // (features * self.scale_FD.shape[1]) // sequences)
        if step >= days:
            return self._select(x_TSF, context_SD)
        parts = [
            checkpoint(self._select, chunk, context_SD, use_reentrant=False)
            for chunk in x_TSF.split(step)
        ]
        return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])

    def _select(self, x_TSF: Tensor, context_SD: Tensor) -> tuple[Tensor, Tensor]:
        days, sequences, _ = x_TSF.shape
        embedded_TSFD = torch.addcmul(self.bias_FD, x_TSF[..., None], self.scale_FD)
        weight_TSF = F.softmax(self.weigh(embedded_TSFD.flatten(2), context_SD), dim=-1)
        # Features in front: each network's rows are then one matrix.
        embedded_FRD = embedded_TSFD.flatten(0, 1).transpose(0, 1).contiguous()
        hidden_FRD = F.elu(torch.baddbmm(self.bias_enter_F1D, embedded_FRD, self.enter_FDD))
        hidden_FRD = torch.baddbmm(self.bias_mix_F1D, hidden_FRD, self.mix_FDD)
        hidden_FRD = F.dropout(hidden_FRD, self.dropout, self.training)
        gated_FRD = F.glu(torch.baddbmm(self.bias_gate_F1G, hidden_FRD, self.gate_FDG), dim=-1)
        normed_FRD = F.layer_norm(gated_FRD + embedded_FRD, gated_FRD.shape[-1:])
        each_FRD = torch.addcmul(self.bias_shift_F1D, normed_FRD, self.bias_scale_F1D)
        selected_RD = torch.einsum("frd,rf->rd", each_FRD, weight_TSF.flatten(0, 1))
        return selected_RD.view(days, sequences, -1), weight_TSF
