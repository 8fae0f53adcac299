"""Scores as positions of a dollar-neutral portfolio. Shapes: B days, K horizons, N stocks."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from gogooku3.losses import moments

Shape = Literal["tanh", "softmax"]


def positions(score_BKN: Tensor, valid_BKN: Tensor, shape: Shape, temperature: float) -> Tensor:
    """Positions that sum to 0 over the valid stocks, in units of a share 1 / n; 0 elsewhere.

    With z the score over the day's standard deviation: `tanh` holds tanh(z / temperature) less
    its mean, nearly all stocks alike; `softmax` holds n/2 times softmax(z / temperature) less
    softmax(-z / temperature), the extremes above all (a portfolio of gross exposure 1 at most).
    """
    z_BKN = moments.standardise(score_BKN, valid_BKN) / temperature
    if shape == "tanh":
        held_BKN = torch.tanh(z_BKN)
        held_BKN = held_BKN - moments.mean(held_BKN, valid_BKN)[..., None]
        return torch.where(valid_BKN, held_BKN, 0.0)
    lowest = torch.finfo(z_BKN.dtype).min
    long_BKN = F.softmax(z_BKN.masked_fill(~valid_BKN, lowest), dim=-1)
    short_BKN = F.softmax((-z_BKN).masked_fill(~valid_BKN, lowest), dim=-1)
    return (long_BKN - short_BKN) * valid_BKN.sum(-1, keepdim=True) / 2
