"""Trading that a portfolio made of the scores needs. Shapes: B days, K horizons, N stocks."""

from __future__ import annotations

import torch
from torch import Tensor

from gogooku3.config import TurnoverConfig
from gogooku3.losses.days import Days
from gogooku3.losses.positions import positions


class Turnover:
    """Half of the mean |change of position| from the day before, over stocks known on both days.

    Positions are tanh of the standardised score, so a full reversal of the ranking costs nearly 1.
    Only days of a block have a day before; without one the value is 0.
    """

    def __init__(self, config: TurnoverConfig) -> None:
        """Nothing to set: the weight belongs to the sum over terms."""

    def __call__(self, days: Days) -> Tensor:
        """Value per day and horizon [B, K]; its mean over the days is that over pairs of days."""
        if not days.aligned or len(days.score_BKN) < 2:
            return days.score_BKN.sum(-1) * 0.0
        held_BKN = positions(days.score_BKN, days.valid_BKN, "tanh", 1.0)
        both_BKN = days.valid_BKN[1:] & days.valid_BKN[:-1]
        moved_BKN = torch.where(both_BKN, (held_BKN[1:] - held_BKN[:-1]).abs(), 0.0)
        traded_BK = 0.5 * moved_BKN.sum(-1) / both_BKN.sum(-1).clamp(min=1)
        pairs_BK = days.counts_BK[1:] & days.counts_BK[:-1] & both_BKN.any(-1)
        scale_K = days.counts_BK.sum(0) / pairs_BK.sum(0).clamp(min=1)
        traded_BK = torch.where(pairs_BK, traded_BK, 0.0) * scale_K
        return torch.cat((torch.zeros_like(traded_BK[:1]), traded_BK))
