"""Rank correlation as a loss with a gradient. Shapes: B days, K horizons, N stocks."""

from __future__ import annotations

from torch import Tensor

from gogooku3.config import SoftSpearmanConfig
from gogooku3.losses import moments
from gogooku3.losses.days import Days
from gogooku3.losses.ranks import average_ranks, soft_ranks


class SoftSpearman:
    """1 - Spearman correlation, with soft ranks of the scores and exact ranks of the target.

    Ties of the target share their average rank. As the temperature falls the value tends to
    that of the exact Spearman correlation.
    """

    def __init__(self, config: SoftSpearmanConfig) -> None:
        self.temperature = config.temperature
        self.bins = config.bins

    def __call__(self, days: Days) -> Tensor:
        """Value per day and horizon [B, K]."""
        score_rank_BKN = soft_ranks(
            days.score_BKN, days.valid_BKN, temperature=self.temperature, bins=self.bins
        )
        target_rank_BKN = average_ranks(days.target_BKN, days.valid_BKN)
        return 1.0 - moments.correlation(score_rank_BKN, target_rank_BKN, days.valid_BKN)
