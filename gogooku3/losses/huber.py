"""Huber loss (Huber, 1964). Shapes: B days, K horizons, N stocks."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from gogooku3.config import HuberConfig
from gogooku3.losses import moments
from gogooku3.losses.days import Days


class Huber:
    """Square near the target, straight line beyond `delta`."""

    def __init__(self, config: HuberConfig) -> None:
        self.delta = config.delta

    def __call__(self, days: Days) -> Tensor:
        """Value per day and horizon [B, K]."""
        loss_BKN = F.huber_loss(days.score_BKN, days.target_BKN, reduction="none", delta=self.delta)
        return moments.mean(loss_BKN, days.valid_BKN)
