"""Copies rows of a panel into memory that is there already: the one place that moves features.

Shapes: S days, N stocks, F features in use, T market days, M market features among them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gogooku3.data.panel import Panel
from gogooku3.data.scaling import MarketScaling, market_features

TILE_BYTES = 8 << 20
"""Rows that are worked on are copied in tiles of this size: small enough for a processor's cache,
large enough that waking its threads costs nothing."""


class RowReader:
    """Rows of a panel as the model sees them: the features in use, float32, market features
    scaled, absent rows 0."""

    def __init__(self, panel: Panel, features: Sequence[str], scaling: MarketScaling) -> None:
        """Raises DatasetMismatchError when the panel lacks a feature or doesn't fit the scaling."""
        self.panel = panel
        self.device = torch.device("cpu")
        self.features = tuple(features)
        self._features_RF = panel.features_RF
        columns = panel.columns_of(features)
        is_all = columns == list(range(panel.features_RF.shape[1]))
        self._columns = None if is_all else torch.tensor(columns)
        self._scaled_TM = scaling.scaled(panel, features)
        self._market = _runs([features.index(name) for name in market_features(panel, features)])
        self._scratch = torch.empty(0, dtype=panel.features_RF.dtype)

    def read(self, row_SN: Tensor, day_S: Sequence[int], out_SNF: Tensor) -> None:
        """Fill `out_SNF` (contiguous float32) with rows; -1 = absent.

        Args:
            row_SN: rows of the panel, contiguous. They lie close together within a day, which is
                why days come before stocks: memory is then read nearly in order.
            day_S: the day of each line of `row_SN`, as a position in the calendar.
            out_SNF: the memory to fill.
        """
        read_SN = row_SN.clamp(min=0)
        if self._is_plain():
            self._copy(read_SN, out_SNF)
        else:
            row_bytes = self._features_RF.shape[1] * self._features_RF.element_size()
            step = max(1, TILE_BYTES // max(1, row_SN.shape[1] * row_bytes))
            for start in range(0, len(row_SN), step):
                tile = slice(start, start + step)
                self._copy(read_SN[tile], out_SNF[tile])
                self._put_market(day_S[tile], out_SNF[tile])
        # Absent rows were read as row 0: few as a rule, so they are found rather than multiplied,
        # and by numpy, which finds them several times faster.
        absent = np.flatnonzero(row_SN.reshape(-1).numpy() < 0)
        out_SNF.view(-1, out_SNF.shape[2]).index_fill_(0, torch.from_numpy(absent), 0.0)

    def past_returns(self, row_SN: Tensor) -> Tensor:
        """Trailing 1-day returns of rows, in their shape; 0 where absent or unknown."""
        past_Q = self.panel.return_R.index_select(0, row_SN.clamp(min=0).view(-1))
        return past_Q.nan_to_num_(nan=0.0).view(row_SN.shape).mul_(row_SN >= 0)

    def _is_plain(self) -> bool:
        whole = self._columns is None and self._features_RF.dtype == torch.float32
        return whole and not self._market

    def _copy(self, read_SN: Tensor, out_SNF: Tensor) -> None:
        read_Q, out_QF = read_SN.reshape(-1), out_SNF.view(-1, out_SNF.shape[2])
        if self._columns is None and self._features_RF.dtype == torch.float32:
            torch.index_select(self._features_RF, 0, read_Q, out=out_QF)
            return
        width = self._features_RF.shape[1]
        if self._scratch.numel() < len(read_Q) * width:
            self._scratch = self._features_RF.new_empty(len(read_Q) * width)
        row_QG = self._scratch[: len(read_Q) * width].view(-1, width)
        torch.index_select(self._features_RF, 0, read_Q, out=row_QG)
        out_QF.copy_(row_QG if self._columns is None else row_QG[:, self._columns])

    def _put_market(self, day_S: Sequence[int], out_SNF: Tensor) -> None:
        if not self._market:
            return
        # Days before the calendar's first have no rows, whatever is written here.
        scaled_SM = self._scaled_TM[[max(day, 0) for day in day_S]]
        for first, place, width in self._market:
            run_SM = scaled_SM[:, place : place + width]
            out_SNF[:, :, first : first + width] = run_SM.unsqueeze(1)


def _runs(columns: Sequence[int]) -> list[tuple[int, int, int]]:
    """First column, place among all given, and width of each stretch of neighbouring columns."""
    runs: list[tuple[int, int, int]] = []
    for place, column in enumerate(columns):
        if runs and column == runs[-1][0] + runs[-1][2]:
            first, start, width = runs[-1]
            runs[-1] = (first, start, width + 1)
        else:
            runs.append((column, place, 1))
    return runs
