"""Prediction heads.

Shapes: ... any leading axes, B days, N stocks, D hidden, K horizons, W width of a head's hidden
layer.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gogooku3.nn.dropout import Dropout


class HorizonHeads(nn.Module):
    """One small perceptron per horizon, all in one product: W2_k GELU(W1_k z + b1_k) + b2_k."""

    def __init__(self, *, width: int, hidden: int, horizons: int, dropout: float) -> None:
        super().__init__()
        self.horizons = horizons
        self.enter = nn.Linear(width, horizons * hidden)
        self.dropout = Dropout(dropout)
        self.leave_KW = nn.Parameter(torch.empty(horizons, hidden))
        nn.init.uniform_(self.leave_KW, -1.0 / math.sqrt(hidden), 1.0 / math.sqrt(hidden))
        self.bias_K = nn.Parameter(torch.zeros(horizons))

    def forward(self, z: Tensor) -> Tensor:
        """z [..., D] -> scores [..., K]."""
        hidden = self.dropout(F.gelu(self.enter(z))).unflatten(-1, (self.horizons, -1))
        score: Tensor = (hidden * self.leave_KW).sum(-1) + self.bias_K
        return score

    def masked(self, z_BND: Tensor, mask_BN: Tensor) -> Tensor:
        """Scores [B, N, K] in fp32 whatever the autocast, 0 where the mask is false."""
        # Scores in bf16 have 8 bits: thousands of stocks would tie.
        with torch.autocast(z_BND.device.type, enabled=False):
            return torch.where(mask_BN[..., None], self(z_BND.float()), 0.0)
