"""Heads that predict a distribution around the score.

Shapes: ... any leading axes, D hidden, K horizons, P values beside the score.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gogooku3.nn.heads import HorizonHeads

LEAST_SCALE = 1e-3
"""Of Student's t, in units of the target: below it the likelihood of one target has no bound."""
LEAST_FREEDOM = 2.0
"""Of Student's t: above it the variance is finite."""


class QuantileHeads(nn.Module):
    """The median as score, and quantiles that never cross: each differs from its neighbour towards
    the median by a softplus."""

    def __init__(
        self, *, levels: Sequence[float], width: int, hidden: int, horizons: int, dropout: float
    ) -> None:
        """Levels increase and hold 0.5."""
        super().__init__()
        self.median = list(levels).index(0.5)
        self.sizes = (horizons, len(levels))
        self.heads = HorizonHeads(
            width=width, hidden=hidden, horizons=horizons * len(levels), dropout=dropout
        )

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z [..., D] -> scores [..., K], and quantile - score of each level [..., K, P]."""
        raw = self.heads(z).unflatten(-1, self.sizes)
        step = F.softplus(raw)
        below = step[..., : self.median].flip(-1).cumsum(-1).flip(-1)
        above = step[..., self.median + 1 :].cumsum(-1)
        score: Tensor = raw[..., self.median]
        return score, torch.cat((-below, torch.zeros_like(score)[..., None], above), dim=-1)


class StudentTHeads(nn.Module):
    """The location as score, and the scale and degrees of freedom beside it."""

    def __init__(self, *, width: int, hidden: int, horizons: int, dropout: float) -> None:
        super().__init__()
        self.horizons = horizons
        self.heads = HorizonHeads(
            width=width, hidden=hidden, horizons=3 * horizons, dropout=dropout
        )

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z [..., D] -> scores [..., K], and scale and degrees of freedom [..., K, 2]."""
        score, scale, freedom = self.heads(z).unflatten(-1, (self.horizons, 3)).unbind(-1)
        beside = (F.softplus(scale) + LEAST_SCALE, F.softplus(freedom) + LEAST_FREEDOM)
        return score, torch.stack(beside, dim=-1)
