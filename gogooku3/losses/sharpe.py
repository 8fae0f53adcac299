"""Sharpe ratio of a portfolio made of the scores. Shapes: B days, K horizons, N stocks."""

from __future__ import annotations

from torch import Tensor

from gogooku3.config import SharpeConfig
from gogooku3.losses import moments
from gogooku3.losses.days import Days
from gogooku3.losses.positions import positions

_FLOOR = 1e-8
"""Least variance of a portfolio's return, for a stock's return of unit variance."""


class Sharpe:
    """-(day's return of a dollar-neutral portfolio) / (its standard deviation over the block).

    A stock's return is its target (`data.target = "raw"`: the return itself). The variance is that
    of the block's days, with one more: what stocks that move by themselves would give it. So
    a single day has a value too: its portfolio's return over its noise. Not annualised.
    """

    def __init__(self, config: SharpeConfig) -> None:
        self.positions = config.positions
        self.temperature = config.temperature

    def __call__(self, days: Days) -> Tensor:
        """Value per day and horizon [B, K]."""
        valid_BKN = days.valid_BKN
        held_BKN = positions(days.score_BKN, valid_BKN, self.positions, self.temperature)
        counts_BK = days.counts_BK.to(held_BKN.dtype)
        count_1K = counts_BK.sum(0, keepdim=True).clamp(min=1)
        centred_BKN = days.target_BKN - moments.mean(days.target_BKN, valid_BKN)[..., None]
        variance_BK = moments.mean(centred_BKN.square(), valid_BKN)
        variance_1K = (variance_BK * counts_BK).sum(0, keepdim=True) / count_1K
        scale_1K = variance_1K.clamp(min=_FLOOR**2).sqrt()
        return_BK = moments.mean(held_BKN * centred_BKN, valid_BKN) / scale_1K
        mean_1K = (return_BK * counts_BK).sum(0, keepdim=True) / count_1K
        squares_1K = ((return_BK - mean_1K).square() * counts_BK).sum(0, keepdim=True)
        noise_BK = moments.mean(held_BKN.square(), valid_BKN) / valid_BKN.sum(-1)
        noise_1K = (noise_BK * counts_BK).sum(0, keepdim=True) / count_1K
        return -return_BK / ((squares_1K + noise_1K) / count_1K + _FLOOR).sqrt()
