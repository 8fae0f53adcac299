"""Exponentially weighted, shrunk correlation of daily returns.

Shapes: W days of the window, N stocks, B stocks of a block, C candidates, M places for neighbours,
P of them given.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gogooku3.graph.sectors import merged, widened

KNOWN_SHARE = 0.5
"""A stock with a smaller share of known returns in the window has no correlations."""
BLOCK = 512
"""Stocks whose correlations with all candidates are worked on at once: about 8 MB."""


def standardise(return_NW: Tensor, halflife: float) -> tuple[Tensor, Tensor, Tensor]:
    """Prepare returns so that the correlation of two stocks is one dot product.

    Weights halve every `halflife` days before the window's last; each stock is centred by its own
    weighted mean; unknown returns (NaN) weigh nothing. A stock's days lie beside one another in
    memory, so that its sums are the same, bit for bit, whatever other stocks there are.

    Returns:
        z_NW: rows of length 1, or all 0 for stocks without enough known returns;
        volatility_N: weighted standard deviation, 0 where unknown;
        known_N: bool, the stock has correlations.
    """
    window = return_NW.shape[1]
    age_W = torch.arange(window - 1, -1, -1, dtype=return_NW.dtype)
    known_NW = torch.isfinite(return_NW)
    weight_NW = torch.exp2(-age_W / halflife) * known_NW
    total_N1 = weight_NW.sum(1, keepdim=True).clamp(min=1e-12)
    filled_NW = torch.where(known_NW, return_NW, 0.0)
    mean_N1 = (weight_NW * filled_NW).sum(1, keepdim=True) / total_N1
    centred_NW = weight_NW.sqrt() * (filled_NW - mean_N1)
    length_N1 = centred_NW.square().sum(1, keepdim=True).sqrt()
    volatility_N1 = length_N1 / total_N1.sqrt()
    enough_N1 = known_NW.sum(1, keepdim=True) >= KNOWN_SHARE * window
    # A price that never moved has no correlation, only rounding.
    known_N1 = enough_N1 & (volatility_N1 > 1e-8)
    z_NW = torch.where(known_N1, centred_NW / length_N1.clamp(min=1e-12), 0.0)
    return z_NW, (volatility_N1 * known_N1).squeeze(1), known_N1.squeeze(1)


def mean_correlation(z_CW: Tensor, known_C: Tensor) -> Tensor:
    """Mean correlation over all pairs of different known stocks, without making the pairs."""
    count = known_C.sum().to(z_CW.dtype)
    pairs = (count * (count - 1.0)).clamp(min=1.0)
    return (z_CW.sum(0).square().sum() - count) / pairs


def shrunk_correlation(
    z_NW: Tensor, z_CW: Tensor, known_N: Tensor, known_C: Tensor, shrunk: Shrinkage
) -> Tensor:
    """correlation_NC of stocks with candidates, pulled to the mean; 0 where either is unknown.

    The constant-correlation target of Ledoit and Wolf (2004, "Honey, I shrunk the sample covariance
    matrix", Journal of Portfolio Management 30) with a fixed share.
    """
    offset = torch.tensor(shrunk.share * shrunk.mean)
    correlation_NC = torch.addmm(offset, z_NW, z_CW.T, alpha=1.0 - shrunk.share)
    correlation_NC.index_fill_(0, torch.nonzero(~known_N).squeeze(1), 0.0)
    return correlation_NC.index_fill_(1, torch.nonzero(~known_C).squeeze(1), 0.0)


@dataclass(frozen=True)
class Shrinkage:
    """How far correlations are pulled, and where to."""

    share: float
    """In [0, 1)."""
    mean: float
    """Mean correlation of the candidates."""


def nearest(
    z_NW: Tensor,
    known_N: Tensor,
    candidate_C: Tensor,
    given_NP: Tensor,
    shrinkage: float,
    most: int,
) -> tuple[Tensor, Tensor]:
    """The candidates of largest |correlation| with each stock, beside others that are given.

    Works on blocks of stocks that stay in a processor's cache: the matrix of all pairs is never
    in memory.

    Args:
        z_NW: standardised returns.
        known_N: which rows of it are known.
        candidate_C: positions of the candidates among the N.
        given_NP: places of neighbours that each stock has anyway; -1 = none.
        shrinkage: share of the correlations that is pulled to the candidates' mean.
        most: how many to find.

    Returns:
        place_NM: `most` found, largest first, self excluded, then those given which are not among
            them; -1 = none. A correlation of exactly 0 is that of an unknown pair, and not found.
        correlation_NM: along those edges, in [-1, 1]; 0 where there is none.
    """
    z_CW, known_C = z_NW[candidate_C], known_N[candidate_C]
    shrunk = Shrinkage(shrinkage, float(mean_correlation(z_CW, known_C)))
    stocks = len(z_NW)
    place_of_N = torch.full((stocks,), -1, dtype=torch.int64)
    place_of_N[candidate_C] = torch.arange(len(candidate_C))
    place_NM = torch.empty(stocks, most + given_NP.shape[1], dtype=torch.int64)
    correlation_NM = torch.empty(place_NM.shape)
    for start in range(0, stocks, BLOCK):
        block = slice(start, start + BLOCK)
        correlation_BC = shrunk_correlation(z_NW[block], z_CW, known_N[block], known_C, shrunk)
        found_BM = strongest(correlation_BC, place_of_N[block], most)
        place_NM[block] = merged(found_BM, given_NP[block])
        is_edge_BM = place_NM[block] >= 0
        along_BM = correlation_BC.gather(1, place_NM[block].clamp(min=0))
        correlation_NM[block] = along_BM.clamp_(-1.0, 1.0) * is_edge_BM
    return place_NM, correlation_NM


def strongest(correlation_NC: Tensor, self_N: Tensor, most: int) -> Tensor:
    """place_NM: the candidates of largest |correlation|, largest first; -1 = none.

    Args:
        correlation_NC: 0 = unknown, and no edge.
        self_N: the stock's own place among the candidates, which is left out; -1 = none.
        most: M.
    """
    count = min(most, correlation_NC.shape[1])
    strength_NC = correlation_NC.abs()
    row_S = torch.nonzero(self_N >= 0).squeeze(1)
    strength_NC[row_S, self_N[row_S]] = 0.0
    top = strength_NC.topk(count, dim=1)
    return widened(top.indices.masked_fill_(top.values <= 0.0, -1), most)
