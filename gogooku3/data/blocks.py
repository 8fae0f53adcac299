"""The rows of consecutive days, read one day after the other as they are asked for.

Shapes: L days that are read, S stocks, F features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gogooku3.data.batch import BlockRows
from gogooku3.data.rows import RowReader


class RowBuffer:
    """Rows of some stocks on L consecutive days, each read once, when first asked for."""

    def __init__(
        self, reader: RowReader, first_day: int, stock_S: Tensor, memory_LSF: Tensor
    ) -> None:
        """Take `memory_LSF` (contiguous float32) to read features into.

        Args:
            first_day: the first line's day as a position in the calendar; before its first, no
                stock has a row.
            stock_S: positions in the panel's codes; -1 = nobody.
        """
        panel = reader.panel
        self._reader = reader
        self._first_day = first_day
        self._row_LS = panel.rows_between(
            first_day, first_day + len(memory_LSF) - 1, stock_S.clamp(min=0)
        ).masked_fill_(stock_S < 0, -1)
        self._whole = BlockRows(
            stock_S=stock_S,
            sector_S=panel.sector_N[stock_S.clamp(min=0)] * (stock_S >= 0),
            x_LSF=memory_LSF,
            present_LS=self._row_LS >= 0,
            past_return_LS=torch.empty(self._row_LS.shape),
        )
        self._filled = 0

    def rows(self, start: int, end: int) -> BlockRows:
        """The lines from `start` up to `end`: views of the whole. A later line is not looked at
        before an earlier one."""
        whole = self._whole
        if end > self._filled:
            new = slice(self._filled, end)
            days = range(self._first_day + new.start, self._first_day + new.stop)
            self._reader.read(self._row_LS[new], days, whole.x_LSF[new])
            whole.past_return_LS[new] = self._reader.past_returns(self._row_LS[new])
            self._filled = end
        return BlockRows(
            stock_S=whole.stock_S,
            sector_S=whole.sector_S,
            x_LSF=whole.x_LSF[start:end],
            present_LS=whole.present_LS[start:end],
            past_return_LS=whole.past_return_LS[start:end],
        )
