"""Information coefficient as a loss. Shapes: B days, K horizons, N stocks."""

from __future__ import annotations

from torch import Tensor

from gogooku3.config import IcConfig
from gogooku3.losses import moments
from gogooku3.losses.days import Days


class Ic:
    """1 - Pearson correlation of score and target; 1 for a constant score."""

    def __init__(self, config: IcConfig) -> None:
        """Nothing to set: the weight belongs to the sum over terms."""

    def __call__(self, days: Days) -> Tensor:
        """Value per day and horizon [B, K]."""
        return 1.0 - moments.correlation(days.score_BKN, days.target_BKN, days.valid_BKN)
