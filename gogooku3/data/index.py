"""Where the rows of a cache lie: by day at once, by day and stock when first asked for.

Shapes: R rows, T market days, N stocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gogooku3.data.writer import EPOCH
from gogooku3.errors import DatasetCorruptError

Int = NDArray[np.int32]


@dataclass(frozen=True)
class RowIndex:
    """Dense indices of a cache's rows.

    Finding the days takes a few thousand reads of the dates; the dense tables read a value of every
    row, which is why they wait for who needs them.
    """

    path: Path
    """The cache, for messages."""
    first_row_T: NDArray[np.int64]
    """T + 1 positions: the rows of day t are those from the t-th up to the next."""
    stock_R: Int
    """Position of each row's stock, increasing within a day."""
    stocks: int
    """N."""
    universe: Callable[[], NDArray[np.bool_]]
    """Reads universe_R."""
    sectors: tuple[tuple[Int, int], tuple[Int, int]]
    """sector_R and how many sectors there are, 0 included; and the same of the coarse ones."""

    @cached_property
    def row_of_TN(self) -> Tensor:
        """int32: row of the stock's day; -1 = absent. Raises DatasetCorruptError."""
        stock_R = self.stock_R
        if not len(stock_R) or stock_R.min() < 0 or stock_R.max() >= self.stocks:
            raise self._damaged("a row names a code that does not exist")
        starts_T = self.first_row_T[1:-1]
        steps_R = np.diff(stock_R) > 0
        steps_R[starts_T[(starts_T > 0) & (starts_T < len(stock_R))] - 1] = True
        if not steps_R.all():
            raise self._damaged("the stocks of a day are not in order")
        row_of_TN = np.full((len(self.first_row_T) - 1, self.stocks), -1, dtype=np.int32)
        for row_N, first, end in zip(
            row_of_TN, self.first_row_T[:-1], self.first_row_T[1:], strict=True
        ):
            row_N[stock_R[first:end]] = np.arange(first, end, dtype=np.int32)
        return torch.from_numpy(row_of_TN)

    @cached_property
    def universe_TN(self) -> Tensor:
        """bool: members of each day, all of which have a row. Raises DatasetCorruptError."""
        row_of_TN = self.row_of_TN.numpy()
        # Absent stocks read the last place, which is of no row.
        member_R = np.append(self.universe(), False)
        return torch.from_numpy(member_R[row_of_TN])

    @cached_property
    def sector_N(self) -> Tensor:
        """int64: 0 = unknown."""
        return self._per_stock(*self.sectors[0])

    @cached_property
    def sector_coarse_N(self) -> Tensor:
        """int64: 0 = unknown."""
        return self._per_stock(*self.sectors[1])

    def _per_stock(self, sector_R: Int, sectors: int) -> Tensor:
        """The sector of each stock, from its last row."""
        row_N = self.row_of_TN.amax(dim=0).numpy()
        if (row_N < 0).any():
            raise self._damaged("a stock has no row")
        sector_N = sector_R[row_N].astype(np.int64)
        if sector_N.min() < 0 or sector_N.max() >= sectors:
            raise self._damaged("a row names a sector that does not exist")
        return torch.from_numpy(sector_N)

    def _damaged(self, what: str) -> DatasetCorruptError:
        return DatasetCorruptError(f"{self.path} is damaged ({what}); build it again")


def first_rows(date_R: Int, calendar: Sequence[date]) -> NDArray[np.int64]:
    """first_row_T [T + 1]: where each day's rows begin, the last being R.

    Raises ValueError for rows that belong to no day, or a calendar that does not increase.
    """
    days_T = np.asarray([(day - EPOCH).days for day in calendar], dtype=np.int32)
    if len(days_T) == 0 or (np.diff(days_T) <= 0).any():
        raise ValueError("the calendar is not increasing")
    first_T = np.searchsorted(date_R, days_T, side="left")
    end_T = np.searchsorted(date_R, days_T, side="right")
    whole_T = np.append(first_T, len(date_R))
    if first_T[0] != 0 or (end_T != whole_T[1:]).any():
        raise ValueError("a row has a date that is not in the calendar")
    return whole_T
