"""Masked sums over a day's stocks.

Shapes: B days, K horizons, N stocks.
"""

from __future__ import annotations

import torch
from torch import Tensor

_VARIANCE_FLOOR = 1e-8
"""Added to variances: a constant score then has correlation 0 and a finite gradient."""


def mean(value_BKN: Tensor, valid_BKN: Tensor) -> Tensor:
    """Mean over valid stocks -> [B, K]; at least one must be valid."""
    return torch.where(valid_BKN, value_BKN, 0.0).sum(-1) / valid_BKN.sum(-1)


def standardise(value_BKN: Tensor, valid_BKN: Tensor) -> Tensor:
    """(value - mean) / standard deviation over valid stocks; 0 elsewhere."""
    centred_BKN = torch.where(valid_BKN, value_BKN - mean(value_BKN, valid_BKN)[..., None], 0.0)
    variance_BK1 = mean(centred_BKN.square(), valid_BKN)[..., None]
    return centred_BKN * (variance_BK1 + _VARIANCE_FLOOR).rsqrt()


def correlation(a_BKN: Tensor, b_BKN: Tensor, valid_BKN: Tensor) -> Tensor:
    """Pearson correlation over valid stocks -> [B, K]; 0 where either is constant."""
    return mean(standardise(a_BKN, valid_BKN) * standardise(b_BKN, valid_BKN), valid_BKN)
