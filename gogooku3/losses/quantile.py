"""Pinball loss (Koenker and Bassett, 1978). Shapes: B days, K horizons, N stocks, P levels."""

from __future__ import annotations

import torch
from torch import Tensor

from gogooku3.config import QuantileConfig
from gogooku3.losses import moments
from gogooku3.losses.days import Days


class Quantile:
    """Mean over levels q of 2 max(q (y - y_q), (q - 1) (y - y_q)): |y - median| for the median.

    The head's quantiles y_q are the score plus what it predicts beside it.
    """

    def __init__(self, config: QuantileConfig) -> None:
        self.levels = config.levels

    def __call__(self, days: Days) -> Tensor:
        """Value per day and horizon [B, K]. Raises ValueError without a quantile head."""
        above_BKNP = days.of_distribution("quantile")
        miss_BKNP = (days.target_BKN - days.score_BKN)[..., None] - above_BKNP
        level_P = torch.tensor(self.levels, dtype=miss_BKNP.dtype, device=miss_BKNP.device)
        loss_BKNP = 2.0 * torch.maximum(level_P * miss_BKNP, (level_P - 1.0) * miss_BKNP)
        return moments.mean(loss_BKNP.mean(-1), days.valid_BKN)
