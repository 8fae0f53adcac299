"""A day's forward returns as what the model is trained on.

Shapes: N stocks, K horizons.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import torch
from torch import Tensor

CLIP = 5.0
"""z-scores are cut here."""


def rank_target(return_NK: Tensor) -> Tensor:
    """Average rank over the stocks with a known return, centred, scaled so that distinct ranks
    have variance 1; 0 where unknown, and on days with fewer than two known returns."""
    target_NK = torch.zeros_like(return_NK)
    for place in range(return_NK.shape[1]):
        known_N = torch.isfinite(return_NK[:, place])
        return_M = return_NK[known_N, place]
        size = len(return_M)
        if size < 2:
            continue
        sorted_M = return_M.sort().values
        below_M = torch.searchsorted(sorted_M, return_M)
        up_to_M = torch.searchsorted(sorted_M, return_M, right=True)
        centred_M = (below_M + up_to_M - size).to(return_NK.dtype)
        target_NK[known_N, place] = centred_M * (0.5 * sqrt(12.0 / (size * size - 1.0)))
    return target_NK


def zscore_target(return_NK: Tensor) -> Tensor:
    """Standard deviations from the day's mean, cut at 5; 0 where unknown, and on days whose known
    returns are constant or fewer than two."""
    known_NK = torch.isfinite(return_NK)
    filled_NK = torch.where(known_NK, return_NK, 0.0).double()
    count_K = known_NK.sum(0).clamp(min=1)
    mean_K = filled_NK.sum(0) / count_K
    centred_NK = torch.where(known_NK, filled_NK - mean_K, 0.0)
    spread_K = (centred_NK.square().sum(0) / count_K).sqrt()
    z_NK = torch.where(spread_K > 1e-12, centred_NK / spread_K.clamp(min=1e-12), 0.0)
    return z_NK.clamp(-CLIP, CLIP).to(return_NK.dtype)


def raw_target(return_NK: Tensor) -> Tensor:
    """The return itself; 0 where unknown."""
    return torch.nan_to_num(return_NK, nan=0.0)


TRANSFORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "rank": rank_target,
    "zscore": zscore_target,
    "raw": raw_target,
}
"""By the value of `DataConfig.target`."""
