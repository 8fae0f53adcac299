"""Information coefficient as a loss. Shapes: B days, K horizons, N stocks."""

from __future__ import annotations

from torch import Tensor

from gogooku3.config import IcConfig
from gogooku3.losses import moments


class Ic:
    """1 - Pearson correlation of score and target; 1 for a constant score."""

    def __init__(self, config: IcConfig) -> None:
        """Nothing to set: the weight belongs to the sum over terms."""

    def __call__(self, score_BKN: Tensor, target_BKN: Tensor, valid_BKN: Tensor) -> Tensor:
        """Value per day and horizon [B, K]."""
        return 1.0 - moments.correlation(score_BKN, target_BKN, valid_BKN)
