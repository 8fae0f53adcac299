"""RankNet's loss (Burges et al., ICML 2005) on a systematic sample of pairs.

Shapes: B days, K horizons, N stocks, P pairs of a stock.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gogooku3.config import PairwiseConfig
from gogooku3.losses.days import Days


class Pairwise:
    """Mean of log(1 + exp(-(score of the better - score of the worse) / temperature)).

    All N^2 / 2 pairs are too many. In the order of the target, each stock is compared with those a
    given share of the day above it, `pairs` evenly spaced shares from 0 to a half: near and far
    pairs alike, each stock equally often, and no random numbers. Ties are left out.
    """

    def __init__(self, config: PairwiseConfig) -> None:
        self.pairs = config.pairs
        self.temperature = config.temperature

    def __call__(self, days: Days) -> Tensor:
        """Value per day and horizon [B, K], in nats."""
        last = torch.where(days.valid_BKN, days.target_BKN, torch.inf)
        order_BKN = last.argsort(dim=-1, stable=True)
        score_BKN = days.score_BKN.gather(-1, order_BKN)
        target_BKN = days.target_BKN.gather(-1, order_BKN)
        count_BK11 = days.valid_BKN.sum(-1)[..., None, None]
        share_P = (torch.arange(self.pairs, device=order_BKN.device) + 0.5) / (2 * self.pairs)
        shift_BK1P = (count_BK11 * share_P).round().long().clamp(min=1)
        place_N1 = torch.arange(order_BKN.shape[-1], device=order_BKN.device)[:, None]
        other_BKM = ((place_N1 + shift_BK1P) % count_BK11).flatten(2)
        shape = (*order_BKN.shape, self.pairs)
        above_BKNP = score_BKN.gather(-1, other_BKM).view(shape) - score_BKN[..., None]
        gap_BKNP = target_BKN.gather(-1, other_BKM).view(shape) - target_BKN[..., None]
        counts_BKNP = (gap_BKNP != 0) & (place_N1 < count_BK11)
        loss_BKNP = F.softplus(-above_BKNP * gap_BKNP.sign() / self.temperature)
        total_BK = torch.where(counts_BKNP, loss_BKNP, 0.0).sum((-1, -2))
        return total_BK / counts_BKNP.sum((-1, -2)).clamp(min=1)
