"""Variable selection as published: a gated residual network of its own for every feature.

Shapes: T days, S sequences, R = T * S rows, F features, D hidden, G = 2 D, O outputs.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gogooku3.nn.feature_networks import weighted_networks
from gogooku3.nn.grn import GatedResidualNetwork

_CHUNK = 1 << 25
"""Elements of [F, R, D] that are kept for the backward pass; beyond it they are made again."""


class GroupedVariableSelection(nn.Module):
    """Lim, Arik, Loeff, Pfister, 2021: softmax weights over the features, from all their embeddings
    and a context, times each feature's embedding through its own GRN.

    A feature is one number and its embedding x scale + bias, so the first product of each network
    is one with its D columns summed beforehand, and no tensor of all embeddings is made. It has
    4 F D^2 parameters, where `VariableSelection` has `rank` F D.
    """

    uncompiled = ("select",)

    def __init__(self, *, features: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.weigh: nn.Module = EmbeddingWeights(features=features, width=width, dropout=dropout)
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
        logit_TSF = self.weigh(x_TSF, context_SD, self.scale_FD, self.bias_FD)
        weight_TSF = F.softmax(logit_TSF, dim=-1)
        x_FR, weight_FR = (part.flatten(0, 1).T.contiguous() for part in (x_TSF, weight_TSF))
        return self.select(x_FR, weight_FR).view(*x_TSF.shape[:2], -1), weight_TSF

    def select(self, x_FR: Tensor, weight_FR: Tensor) -> Tensor:
        """`_select`, in parts that are made again in the backward pass if all is too much."""
        kept = max(1, _CHUNK // self.scale_FD.numel())
        if kept >= x_FR.shape[1]:
            return self._select(x_FR, weight_FR)
        parts = [
            checkpoint(self._select, x, weight, use_reentrant=False)
            for x, weight in zip(x_FR.split(kept, 1), weight_FR.split(kept, 1), strict=True)
        ]
        return torch.cat(parts)

    def _select(self, x_FR: Tensor, weight_FR: Tensor) -> Tensor:
        """Sum over the features of weight x embedding through its network [R, D]."""
        embedding_F2D = torch.stack((self.scale_FD, self.bias_FD), dim=1)
        entry_F2D = torch.bmm(embedding_F2D, self.enter_FDD)
        entry_F2D = torch.cat((entry_F2D[:, :1], entry_F2D[:, 1:] + self.bias_enter_F1D), dim=1)
        selected_RD = weighted_networks(
            x_FR,
            weight_FR,
            embedding_F2D,
            entry_F2D,
            self.mix_FDD,
            self.bias_mix_F1D,
            self.gate_FDG,
            self.bias_gate_F1G,
            self.bias_scale_F1D,
            self.dropout if self.training else 0.0,
        )
        return selected_RD + weight_FR.T @ self.bias_shift_F1D.squeeze(1)


class EmbeddingWeights(nn.Module):
    """A GRN on the embeddings x scale + bias of all features side by side, which are not made: what
    its first products have to say of each feature is summed over D beforehand."""

    def __init__(self, *, features: int, width: int, dropout: float) -> None:
        super().__init__()
        self.network = GatedResidualNetwork(
            features * width, width, features, dropout=dropout, context=width
        )

    def forward(
        self, x_TSF: Tensor, context_SD: Tensor, scale_FD: Tensor, bias_FD: Tensor
    ) -> Tensor:
        """Logits of the features [T, S, F]."""
        # The network has more inputs than outputs, so its skip connection is a product too.
        products = (self.network.enter, cast(nn.Linear, self.network.skip))
        hidden_TSD, skip_TSF = (
            _of_embeddings(product, x_TSF, scale_FD, bias_FD) for product in products
        )
        return self.network.rest(hidden_TSD, skip_TSF, context_SD)


def _of_embeddings(product: nn.Linear, x_TSF: Tensor, scale_FD: Tensor, bias_FD: Tensor) -> Tensor:
    weight_OFD = product.weight.unflatten(1, scale_FD.shape)
    weight_OF = torch.einsum("ofd,fd->of", weight_OFD, scale_FD)
    bias_O = torch.mv(product.weight, bias_FD.flatten())
    return F.linear(x_TSF, weight_OF, bias_O if product.bias is None else bias_O + product.bias)
