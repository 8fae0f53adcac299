"""One training or evaluation step's tensors.

Shapes: B days, N stocks, T look-back days, F features, K horizons, M neighbours, E edge features,
L = T + B - 1 days that a block reads, S stocks of a block.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class BlockRows:
    """What the windows of consecutive days are made of: each row once, whoever's window it is in.

    Window b of a block holds the lines b to b + T - 1.
    """

    stock_S: Tensor
    """int64: position of the stock in the panel's codes, increasing; -1 = nobody (a block without
    stocks has one such place)."""
    sector_S: Tensor
    """int64: sector of the stock (0 = unknown)."""
    x_LSF: Tensor
    """Features, oldest day first; 0 where the row is absent."""
    present_LS: Tensor
    """bool: the row exists."""
    past_return_LS: Tensor
    """Trailing 1-day returns, raw; 0 where absent."""

    def windows(self, lookback: int) -> tuple[Tensor, Tensor, Tensor]:
        """x_BNTF, present_BNT and past_return_BNT of every window: views, nothing is copied."""
        return (
            self.x_LSF.unfold(0, lookback, 1).transpose(2, 3),
            self.present_LS.unfold(0, lookback, 1),
            self.past_return_LS.unfold(0, lookback, 1),
        )

    def to(self, device: torch.device) -> Self:
        """The same rows on a device."""
        return replace(self, **_moved(self, device))


@dataclass(frozen=True)
class Batch:
    """B cross-sections side by side.

    A place without a stock to score has stock -1 and is false in `mask_BN` and `valid_BNK`; it is
    padding, or, in a block, belongs to a stock that is scored on another of its days, whose window
    may then hold values. A stock that is in the batch was in the universe and traded on the scored
    day.
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
    """bool: there is a stock to score."""
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
    rows: BlockRows | None = None
    """Of a block of consecutive days (N = S): what the windows are views of. None = each day has
    windows and stocks of its own."""

    def with_graph(self, neighbour_BNM: Tensor, edge_BNME: Tensor) -> Self:
        """The same batch with the day's edges."""
        return replace(self, neighbour_BNM=neighbour_BNM, edge_BNME=edge_BNME)

    def to(self, device: torch.device) -> Self:
        """The same batch on a device. Rows that windows share are moved once."""
        if self.rows is None:
            return replace(self, **_moved(self, device))
        rows = self.rows.to(device)
        x_BNTF, present_BNT, past_return_BNT = rows.windows(self.x_BNTF.shape[2])
        windows = {"x_BNTF": x_BNTF, "present_BNT": present_BNT, "past_return_BNT": past_return_BNT}
        moved = _moved(self, device, without=(*windows, "rows"))
        return replace(self, **moved, **windows, rows=rows)


def _moved(
    tensors: Batch | BlockRows, device: torch.device, without: tuple[str, ...] = ()
) -> dict[str, Any]:
    return {
        field.name: to_device(value, device)
        for field in fields(tensors)
        if field.name not in without and (value := getattr(tensors, field.name)) is not None
    }


def to_device(value: Tensor, device: torch.device) -> Tensor:
    """The value on the device, without waiting: the copy is made from memory that the GPU can
    read by itself."""
    if device.type == "cuda" and value.device.type == "cpu":
        value = value.pin_memory()
    return value.to(device, non_blocking=True)
