"""Mean squared error. Shapes: B days, K horizons, N stocks."""

from __future__ import annotations

from torch import Tensor

from gogooku3.config import MseConfig
from gogooku3.losses import moments
from gogooku3.losses.days import Days


class Mse:
    """Mean of (score - target)^2."""

    def __init__(self, config: MseConfig) -> None:
        """Nothing to set: the weight belongs to the sum over terms."""

    def __call__(self, days: Days) -> Tensor:
        """Value per day and horizon [B, K]."""
        return moments.mean((days.score_BKN - days.target_BKN).square(), days.valid_BKN)
