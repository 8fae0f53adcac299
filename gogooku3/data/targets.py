"""A day's forward returns as what the model is trained on: made neutral, then transformed.

Shapes: N stocks asked for, M stocks of the day's universe, K horizons.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gogooku3.config import DataConfig
from gogooku3.data.panel import Panel
from gogooku3.errors import DatasetMismatchError

CLIP = 5.0
"""z-scores are cut here."""


def rank_target(return_NK: Tensor) -> Tensor:
    """Average rank over the stocks with a known return, centred, scaled so that distinct ranks
    have variance 1; 0 where unknown, and on days with fewer than two known returns."""
    known_KN = torch.isfinite(return_NK).T
    size_K1 = known_KN.sum(1, keepdim=True)
    # Unknown returns lie behind all others, where no known one counts them.
    value_KN = torch.where(known_KN, return_NK.T, torch.inf).contiguous()
    sorted_KN, order_KN = value_KN.sort(dim=1)
    # Equal values form a run: each takes the middle of the run's first and last place.
    place_N = torch.arange(sorted_KN.shape[1])
    begins_KN = torch.ones_like(known_KN)
    begins_KN[:, 1:] = sorted_KN[:, 1:] != sorted_KN[:, :-1]
    ends_KN = begins_KN.roll(-1, dims=1)
    ends_KN[:, -1:] = True
    first_KN = torch.where(begins_KN, place_N, 0).cummax(dim=1).values
    last_KN = torch.where(ends_KN, place_N, len(place_N)).flip(1).cummin(dim=1).values.flip(1)
    middle_KN = torch.empty_like(order_KN).scatter_(1, order_KN, first_KN + last_KN + 1)
    centred_KN = (middle_KN - size_K1).to(return_NK.dtype)
    scale_K1 = 0.5 * (12.0 / (size_K1.double().clamp(min=2).square() - 1.0)).sqrt()
    ranked_KN = known_KN & (size_K1 >= 2)
    return torch.where(ranked_KN, centred_KN * scale_K1.to(return_NK.dtype), 0.0).T.contiguous()


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


def sector_neutral(return_MK: Tensor, sector_M: Tensor) -> Tensor:
    """Returns minus the mean of the known returns of their sector; NaN where the sector is unknown
    (0) or has fewer than two known returns."""
    known_MK = torch.isfinite(return_MK)
    filled_MK = torch.where(known_MK, return_MK, 0.0).double()
    shape = (int(sector_M.max()) + 1 if len(sector_M) else 1, return_MK.shape[1])
    sum_SK = filled_MK.new_zeros(shape).index_add_(0, sector_M, filled_MK)
    count_SK = filled_MK.new_zeros(shape).index_add_(0, sector_M, known_MK.double())
    mean_SK = torch.where(count_SK >= 2, sum_SK / count_SK, torch.nan)
    mean_SK[0] = torch.nan
    return (return_MK.double() - mean_SK[sector_M]).to(return_MK.dtype)


def beta_neutral(return_MK: Tensor, beta_M: Tensor) -> Tensor:
    """Returns minus beta times the market's return of the same days, which is the mean of the known
    returns; NaN where the beta is unknown, and where fewer than two returns are known.

    The beta is of the past, as it is known on the day; the market's forward return is of the
    future, as the target is.
    """
    known_MK = torch.isfinite(return_MK)
    filled_MK = torch.where(known_MK, return_MK, 0.0).double()
    count_K = known_MK.sum(0)
    market_K = torch.where(count_K >= 2, filled_MK.sum(0) / count_K.clamp(min=1), torch.nan)
    return (return_MK.double() - beta_M.double().unsqueeze(1) * market_K).to(return_MK.dtype)


@dataclass(frozen=True)
class DayTargets:
    """What became of some stocks of a day."""

    return_NK: Tensor
    """Forward returns, raw; NaN = unknown."""
    target_NK: Tensor
    """What the model is trained on; 0 where unknown."""
    valid_NK: Tensor
    """bool: the target is known."""


class Targets:
    """Targets of one configuration from one panel."""

    def __init__(self, panel: Panel, data: DataConfig) -> None:
        """Raises DatasetMismatchError when the panel lacks a horizon or what `neutral` needs."""
        self._panel = panel
        self._neutral = data.neutral
        self._horizons = panel.horizons_of(data.horizons)
        self._transform = TRANSFORMS[data.target]
        self._is_shuffled = data.shuffle_targets
        if data.neutral == "sector" and not bool((panel.sector_N > 0).any()):
            raise DatasetMismatchError(
                f"dataset {panel.header.name!r} knows no stock's sector, which "
                "data.neutral = sector needs; use none"
            )
        if data.neutral == "beta" and not bool(torch.isfinite(panel.beta_R).any()):
            raise DatasetMismatchError(
                f"dataset {panel.header.name!r} knows no stock's beta, which "
                "data.neutral = beta needs; use none"
            )

    def of(self, day: int, stock_N: Tensor) -> DayTargets:
        """The targets of some stocks of the day's universe. They are worked out over the whole
        universe: they do not depend on which stocks are asked for."""
        everyone_M = self._panel.scored_stocks(day)
        row_M = self._panel.row_of_TN[day, everyone_M].long()
        return_MK = self._panel.targets_RK[row_M][:, self._horizons]
        if self._is_shuffled:
            generator = torch.Generator().manual_seed(day)
            return_MK = return_MK[torch.randperm(len(return_MK), generator=generator)]
        neutral_MK = self._made_neutral(return_MK, everyone_M, row_M)
        target_MK = self._transform(neutral_MK)
        valid_MK = torch.isfinite(neutral_MK)
        place_N = torch.searchsorted(everyone_M, stock_N)
        return DayTargets(return_MK[place_N], target_MK[place_N], valid_MK[place_N])

    def _made_neutral(self, return_MK: Tensor, stock_M: Tensor, row_M: Tensor) -> Tensor:
        if self._neutral == "sector":
            return sector_neutral(return_MK, self._panel.sector_N[stock_M])
        if self._neutral == "beta":
            return beta_neutral(return_MK, self._panel.beta_R[row_M])
        return return_MK
