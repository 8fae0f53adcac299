"""A batch as the sequences that an encoder reads.

Shapes: B days, N stocks, T look-back days, L days of a sequence, S sequences, Q scored days at a
sequence's end, F features.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gogooku3.data.batch import Batch


@dataclass(frozen=True)
class Sequences:
    """Stocks' days, oldest first, the last Q of which are scored."""

    x_LSF: Tensor
    present_LS: Tensor
    sector_S: Tensor
    days: int
    """Q."""
    stocks: int
    """N: places of a scored day."""

    @classmethod
    def of(cls, batch: Batch, shares_rows: bool) -> Sequences:
        """One sequence per stock of a block, whose days share their rows, for a model that encodes
        a row alike for every window; else one per window."""
        rows = batch.rows
        if rows is None or not shares_rows:
            return cls.windows(batch)
        days, stocks = batch.mask_BN.shape
        return cls(rows.x_LSF, rows.present_LS, rows.sector_S, days, stocks)

    @classmethod
    def windows(cls, batch: Batch) -> Sequences:
        """One sequence per window, one scored day each: any batch, any model."""
        x_LSF = batch.x_BNTF.permute(2, 0, 1, 3).flatten(1, 2)
        present_LS = batch.present_BNT.permute(2, 0, 1).flatten(1)
        return cls(x_LSF, present_LS, batch.sector_BN.flatten(), 1, batch.mask_BN.shape[1])

    def by_day(self, value_QSV: Tensor) -> Tensor:
        """What was made of each scored day [Q, S, ...] -> [B, N, ...]."""
        return value_QSV.reshape(-1, self.stocks, *value_QSV.shape[2:])
