"""ListNet (Cao, Qin, Liu, Tsai, Li, ICML 2007). Shapes: B days, K horizons, N stocks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gogooku3.config import ListNetConfig
from gogooku3.losses.days import Days


class ListNet:
    """Cross-entropy between softmax(target / temperature) and softmax(score)."""

    def __init__(self, config: ListNetConfig) -> None:
        self.temperature = config.temperature

    def __call__(self, days: Days) -> Tensor:
        """Value per day and horizon [B, K], in nats."""
        lowest = torch.finfo(days.score_BKN.dtype).min
        wanted_BKN = F.softmax(
            (days.target_BKN / self.temperature).masked_fill(~days.valid_BKN, lowest), dim=-1
        )
        log_given_BKN = F.log_softmax(days.score_BKN.masked_fill(~days.valid_BKN, lowest), dim=-1)
        return -torch.where(days.valid_BKN, wanted_BKN * log_given_BKN, 0.0).sum(-1)
