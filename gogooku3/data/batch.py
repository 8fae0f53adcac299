"""One training or evaluation step's tensors.

Shapes: B days, N stocks, T look-back days, F features, K horizons, M neighbours, E edge features.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """B cross-sections padded to the same number of stocks.

    A padded place has stock -1 and is false in every mask. A stock that is in the batch was in
    the universe and traded on the scored day.
    """

    day_B: Tensor
    """int64: position of the scored day in the panel's calendar."""
    stock_BN: Tensor
    """int64: position of the stock in the panel's codes; -1 = padding."""
    x_BNTF: Tensor
    """Features of the look-back days, oldest first; 0 where the row is absent."""
    present_BNT: Tensor
    """bool: the row exists."""
    mask_BN: Tensor
    """bool: a real stock, not padding."""
    sector_BN: Tensor
    """int64: sector of the stock (0 = unknown or padding)."""
    past_return_BNT: Tensor
    """Trailing 1-day returns of the look-back days, raw; 0 where absent."""
    return_BNK: Tensor
    """Forward return close[t+h] / close[t] - 1, raw; NaN = unknown."""
    target_BNK: Tensor
    """The return as the configured training target; 0 where unknown."""
    valid_BNK: Tensor
    """bool: the target is known: the forward return, and what it is made neutral by."""
    neighbour_BNM: Tensor | None = None
    """int64: place in this batch's N of each neighbour; -1 = no edge. None = no graph."""
    edge_BNME: Tensor | None = None
    """float32: features of each edge; 0 where there is none."""

    def with_graph(self, neighbour_BNM: Tensor, edge_BNME: Tensor) -> Self:
        """The same batch with the day's edges."""
        return replace(self, neighbour_BNM=neighbour_BNM, edge_BNME=edge_BNME)

    def to(self, device: torch.device) -> Self:
        """The same batch on a device."""
        moved = {
            field.name: value.to(device, non_blocking=True)
            for field in fields(self)
            if (value := getattr(self, field.name)) is not None
        }
        return replace(self, **moved)
