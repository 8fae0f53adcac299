"""Exponentially weighted, shrunk correlation of daily returns.

Shapes: W days of the window, N stocks, C candidates.
"""

from __future__ import annotations

import torch
from torch import Tensor

KNOWN_SHARE = 0.5
"""A stock with a smaller share of known returns in the window has no correlations."""


def standardise(return_WN: Tensor, halflife: float) -> tuple[Tensor, Tensor, Tensor]:
    """Prepare returns so that the correlation of two stocks is one dot product.

    Weights halve every `halflife` days before the window's last; each stock is centred by its own
    weighted mean; unknown returns (NaN) weigh nothing.

    Returns:
        z_WN: columns of length 1, or all 0 for stocks without enough known returns;
        volatility_N: weighted standard deviation, 0 where unknown;
        known_N: bool, the stock has correlations.
    """
    window = len(return_WN)
    age_W = torch.arange(window - 1, -1, -1, dtype=return_WN.dtype)
    weight_W1 = torch.exp2(-age_W / halflife).unsqueeze(1)
    known_WN = torch.isfinite(return_WN)
    weight_WN = weight_W1 * known_WN
    total_N = weight_WN.sum(0)
    filled_WN = torch.where(known_WN, return_WN, 0.0)
    mean_N = (weight_WN * filled_WN).sum(0) / total_N.clamp(min=1e-12)
    centred_WN = weight_WN.sqrt() * (filled_WN - mean_N)
    length_N = centred_WN.square().sum(0).sqrt()
    volatility_N = length_N / total_N.clamp(min=1e-12).sqrt()
    enough_N = known_WN.sum(0) >= KNOWN_SHARE * window
    # A price that never moved has no correlation, only rounding.
    known_N = enough_N & (volatility_N > 1e-8)
    z_WN = torch.where(known_N, centred_WN / length_N.clamp(min=1e-12), 0.0)
    return z_WN, volatility_N * known_N, known_N


def mean_correlation(z_WC: Tensor, known_C: Tensor) -> Tensor:
    """Mean correlation over all pairs of different known stocks, without making the pairs."""
    count = known_C.sum().to(z_WC.dtype)
    pairs = (count * (count - 1.0)).clamp(min=1.0)
    return (z_WC.sum(1).square().sum() - count) / pairs


def shrunk_correlation(
    z_WN: Tensor, known_N: Tensor, candidate_C: Tensor, shrinkage: float
) -> Tensor:
    """correlation_NC of every stock with each candidate, the share `shrinkage` of it pulled to the
    candidates' mean correlation; 0 where either is unknown.

    Args:
        z_WN: standardised returns.
        known_N: which columns of it are known.
        candidate_C: positions of the candidates among the N.
        shrinkage: in [0, 1).
    """
    z_WC, known_C = z_WN[:, candidate_C], known_N[candidate_C]
    mean = mean_correlation(z_WC, known_C)
    correlation_NC = (z_WN.T @ z_WC).mul_(1.0 - shrinkage).add_(shrinkage * mean)
    correlation_NC *= known_N.unsqueeze(1)
    correlation_NC *= known_C
    return correlation_NC.clamp_(-1.0, 1.0)
