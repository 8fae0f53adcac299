"""Variable selection over all features at once, with low-rank feature embeddings.

Shapes: T days, S windows, F features, P = rank, D hidden.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gogooku3.nn.grn import GatedResidualNetwork
from gogooku3.nn.hinges import weighted_hinges


class VariableSelection(nn.Module):
    """Softmax weights over the features times each feature's own embedding.

    Lim et al. give every feature a GRN of its own; here feature f has `rank` hinges
    relu(scale_f x + bias_f), lifted to D by its own matrix. The weighted sum over features is
    then one matrix product, sum_f w_f lift_f^T hinge_f, and no [.., F, D] tensor ever exists.
    """

    uncompiled = ("sum_hinges",)

    def __init__(self, *, features: int, rank: int, width: int, dropout: float) -> None:
        super().__init__()
        self.sum_hinges = weighted_hinges
        self.weigh = GatedResidualNetwork(features, width, features, dropout=dropout, context=width)
        # Features have unit variance: slopes of both signs and knots over the bulk of the values.
        self.scale_PF = nn.Parameter(torch.randn(rank, features))
        self.bias_PF = nn.Parameter(torch.empty(rank, features).uniform_(-1.0, 1.0))
        self.lift_PFD = nn.Parameter(torch.randn(rank, features, width) / math.sqrt(rank))

    def forward(self, x_TSF: Tensor, context_SD: Tensor) -> tuple[Tensor, Tensor]:
        """Selected embedding [T, S, D] and the weights [T, S, F], which sum to 1 over F."""
        weight_TSF = F.softmax(self.weigh(x_TSF, context_SD), dim=-1)
        selected_RD = self.sum_hinges(
            x_TSF.flatten(0, 1),
            weight_TSF.flatten(0, 1),
            self.scale_PF,
            self.bias_PF,
            self.lift_PFD,
        )
        return selected_RD.unflatten(0, x_TSF.shape[:2]), weight_TSF
