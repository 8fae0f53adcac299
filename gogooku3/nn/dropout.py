"""Dropout whose draw costs little on a CPU. Shapes: T days, S windows, D hidden."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_LEVELS = 1 << 16


def kept_factors(shape: Sequence[int], rate: float, like: Tensor) -> Tensor:
    """0 with probability `rate`, else 1 / (1 - rate): what a dropped-out tensor is multiplied by.

    Four 16-bit numbers of one 64-bit draw tell on a CPU, a sixth of the time of a Bernoulli draw
    each; the probability is then the nearest of 65,536 levels.
    """
    if like.device.type != "cpu":
        return like.new_empty(shape).bernoulli_(1.0 - rate).div_(1.0 - rate)
    count = torch.Size(shape).numel()
    words = torch.randint(-(2**63), 2**63 - 1, ((count + 3) // 4,))
    level = min(_LEVELS - 1, round((1.0 - rate) * _LEVELS)) - _LEVELS // 2
    is_kept = words.view(torch.int16)[:count].view(shape) < level
    return is_kept.to(like.dtype).div_(1.0 - rate)


class Dropout(nn.Module):
    """Each value is left out by itself."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """A tensor of any shape."""
        if not self.training or self.rate == 0.0:
            return x
        return x * kept_factors(self._shape(x), self.rate, x)

    def _shape(self, x: Tensor) -> Sequence[int]:
        return x.shape


class DayDropout(Dropout):
    """Dropout with one mask for all days of a window (Gal and Ghahramani, 2016).

    A recurrent layer then loses the same inputs on every day instead of seeing fresh noise each
    day, and T times fewer random numbers are drawn. Tensors [T, S, D] have a day axis; tensors of
    another rank get plain dropout.
    """

    def _shape(self, x: Tensor) -> Sequence[int]:
        return (1, *x.shape[1:]) if x.ndim == 3 else x.shape
