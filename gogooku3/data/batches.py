"""Days into batches: index arithmetic over the mapped panel, no loader, no workers.

Shapes: B days, N stocks, T look-back days, F features, K horizons.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from gogooku3.config import DataConfig
from gogooku3.data.batch import Batch
from gogooku3.data.panel import Panel
from gogooku3.data.rows import RowReader
from gogooku3.data.scaling import MarketScaling, market_features
from gogooku3.data.splits import Split, split_days
from gogooku3.data.targets import Targets


class BatchMaker:
    """Makes the batches of one configuration from one panel.

    With `reuse`, x_BNTF of every batch lies in the same memory and is overwritten by the next
    `make`: faster for large markets, since fresh pages cost more than the copy. Without it, each
    batch owns its memory. Either way a batch's days lie one after the other in memory, and
    x_BNTF, present_BNT and past_return_BNT are views of that with the stocks in front.
    """

    def __init__(
        self,
        panel: Panel,
        data: DataConfig,
        *,
        reuse: bool = False,
        scaling: MarketScaling | None = None,
    ) -> None:
        """Take `scaling` as that of the market features; None = fit it on the training days.

        Raises DatasetMismatchError when the panel does not fit `data` or the scaling, and
        SplitError when there is a scaling to fit, but no training day.
        """
        self.panel = panel
        self.data = data
        self.features = data.features or panel.header.feature_names
        panel.columns_of(self.features)
        if scaling is None:
            has_market = market_features(panel, self.features)
            days = self.split.train_D if has_market else ()
            scaling = MarketScaling.fit(panel, self.features, days)
        self.scaling = scaling
        self._rows = RowReader(panel, self.features, scaling)
        self._targets = Targets(panel, data)
        self._buffer = torch.empty(0) if reuse else None

    @cached_property
    def split(self) -> Split:
        """The days of each part in this panel. Raises SplitError when a part has none."""
        return split_days(self.panel.calendar, self.data, first_day=self.panel.header.first_day)

    def make(
        self,
        days: Sequence[int],
        stocks_per_day: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Batch:
        """The batch of these days: each day's universe, padded to the largest.

        Args:
            days: positions in the calendar.
            stocks_per_day: draw at most so many of each day's stocks, with `generator`.
            generator: source of that draw; needed when `stocks_per_day` is given.

        A day before the dataset's first universe gives a cross-section of padding.
        """
        drawn = [self._draw(day, stocks_per_day, generator) for day in days]
        size = max([1, *(len(stock_N) for stock_N in drawn)])
        shape = (len(days), size)
        lookback, horizons = self.data.lookback, len(self.data.horizons)
        stock_BN = torch.full(shape, -1, dtype=torch.int64)
        row_BTN = torch.full((len(days), lookback, size), -1, dtype=torch.int32)
        return_BNK = torch.full((*shape, horizons), torch.nan)
        target_BNK = torch.zeros(*shape, horizons)
        valid_BNK = torch.zeros(*shape, horizons, dtype=torch.bool)
        for place, (day, stock_N) in enumerate(zip(days, drawn, strict=True)):
            count = len(stock_N)
            stock_BN[place, :count] = stock_N
            self._find_rows(day, stock_N, row_BTN[place])
            found = self._targets.of(day, stock_N)
            return_BNK[place, :count] = found.return_NK
            target_BNK[place, :count] = found.target_NK
            valid_BNK[place, :count] = found.valid_NK
        present_BTN = row_BTN >= 0
        mask_BN = stock_BN >= 0
        past_BTN = self.panel.return_R.index_select(0, row_BTN.clamp(min=0).view(-1))
        past_BTN = past_BTN.nan_to_num_(nan=0.0).view(row_BTN.shape).mul_(present_BTN)
        return Batch(
            day_B=torch.tensor(list(days), dtype=torch.int64),
            stock_BN=stock_BN,
            x_BNTF=self._read(row_BTN, days).transpose(1, 2),
            present_BNT=present_BTN.transpose(1, 2),
            mask_BN=mask_BN,
            sector_BN=self.panel.sector_N[stock_BN.clamp(min=0)] * mask_BN,
            past_return_BNT=past_BTN.transpose(1, 2),
            return_BNK=return_BNK,
            target_BNK=target_BNK,
            valid_BNK=valid_BNK,
        )

    def _draw(self, day: int, most: int | None, generator: torch.Generator | None) -> Tensor:
        stock_N = self.panel.scored_stocks(day)
        if most is None or len(stock_N) <= most:
            return stock_N
        if generator is None:
            raise ValueError("stocks_per_day needs a generator")
        kept = torch.randperm(len(stock_N), generator=generator)[:most]
        return stock_N[kept.sort().values]

    def _find_rows(self, day: int, stock_N: Tensor, row_TN: Tensor) -> None:
        """Rows of the look-back days into the first places of `row_TN`, which holds -1: days
        before the calendar's first are absent."""
        first = max(day + 1 - self.data.lookback, 0)
        row_SN = self.panel.row_of_TN[first : day + 1].index_select(1, stock_N)
        row_TN[len(row_TN) - len(row_SN) :, : len(stock_N)] = row_SN

    def _read(self, row_BTN: Tensor, days: Sequence[int]) -> Tensor:
        lookback = self.data.lookback
        shape = (*row_BTN.shape, len(self.features))
        count = row_BTN.numel() * len(self.features)
        if self._buffer is None:
            x_BTNF = torch.empty(shape)
        else:
            if self._buffer.numel() < count:
                self._buffer = torch.empty(count)
            x_BTNF = self._buffer[:count].view(shape)
        seen = [day + step for day in days for step in range(1 - lookback, 1)]
        self._rows.read(row_BTN.flatten(0, 1), seen, x_BTNF.flatten(0, 1))
        return x_BTNF
