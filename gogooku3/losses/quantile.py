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
        """Raises ValueError without levels, which a whole configuration takes from its head."""
        if config.levels is None:
            raise ValueError("the quantile term has no levels")
        self.levels = config.levels

    def __call__(self, days: Days) -> Tensor:
        """Value per day and horizon [B, K]. Raises ValueError without a quantile head."""
        above_BKNP = days.of_distribution("quantile")
        miss_PBKN = ((days.target_BKN - days.score_BKN)[..., None] - above_BKNP).unbind(-1)
        # Level by level: a tensor of the levels would make the host wait for a GPU in each step.
        losses = [
            torch.maximum(level * miss_BKN, (level - 1.0) * miss_BKN)
            for level, miss_BKN in zip(self.levels, miss_PBKN, strict=True)
        ]
        return moments.mean(2.0 * torch.stack(losses).mean(0), days.valid_BKN)
