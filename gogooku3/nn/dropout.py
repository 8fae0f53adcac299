"""Dropout for windows of days. Shapes: T days, S windows, D hidden."""

from __future__ import annotations

from torch import Tensor, nn


class DayDropout(nn.Module):
    """Dropout with one mask for all days of a window (Gal and Ghahramani, 2016).

    A recurrent layer then loses the same inputs on every day instead of seeing fresh noise each
    day, and T times fewer random numbers are drawn. Tensors without a day axis get plain dropout.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """x [T, S, D] or any tensor of another rank."""
        if not self.training or self.rate == 0.0:
            return x
        shape = (1, *x.shape[1:]) if x.ndim == 3 else x.shape
        kept = x.new_empty(shape).bernoulli_(1.0 - self.rate).div_(1.0 - self.rate)
        return x * kept
