"""Days into batches: index arithmetic over the mapped panel, no loader, no workers.

Shapes: B days, N stocks, T look-back days, F features, K horizons.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gogooku3.config import DataConfig
from gogooku3.data.batch import Batch
from gogooku3.data.panel import Panel
from gogooku3.data.splits import Split, split_days
from gogooku3.data.targets import TRANSFORMS


class BatchMaker:
    """Makes the batches of one configuration from one panel.

    With `reuse`, x_BNTF of every batch lies in the same memory and is overwritten by the next
    `make`: faster for large markets, since fresh pages cost more than the copy. Without it, each
    batch owns its memory.
    """

    def __init__(self, panel: Panel, data: DataConfig, *, reuse: bool = False) -> None:
        """Raises SplitError or DatasetMismatchError when the panel does not fit `data`."""
        self.panel = panel
        self.data = data
        self.features = data.features or panel.header.feature_names
        self.split: Split = split_days(panel.calendar, data, first_day=panel.header.first_day)
        columns = panel.columns_of(data.features)
        is_all = columns == list(range(panel.features_RF.shape[1]))
        self._columns = None if is_all else torch.tensor(columns)
        self._horizons = panel.horizons_of(data.horizons)
        self._transform = TRANSFORMS[data.target]
        self._buffer = torch.empty(0) if reuse else None

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
        lookback, horizons = self.data.lookback, len(self._horizons)
        stock_BN = torch.full(shape, -1, dtype=torch.int64)
        row_BNT = torch.full((*shape, lookback), -1, dtype=torch.int32)
        return_BNK = torch.full((*shape, horizons), torch.nan)
        target_BNK = torch.zeros(*shape, horizons)
        for place, (day, stock_N) in enumerate(zip(days, drawn, strict=True)):
            stock_BN[place, : len(stock_N)] = stock_N
            row_BNT[place, : len(stock_N)] = self.panel.rows_until(day, lookback, stock_N)
            return_NK, target_NK = self._targets(day, stock_N)
            return_BNK[place, : len(stock_N)] = return_NK
            target_BNK[place, : len(stock_N)] = target_NK
        present_BNT = row_BNT >= 0
        mask_BN = stock_BN >= 0
        read_BNT = row_BNT.clamp(min=0)
        past_BNT = self.panel.return_R[read_BNT.long()].nan_to_num_(nan=0.0)
        return Batch(
            day_B=torch.tensor(list(days), dtype=torch.int64),
            stock_BN=stock_BN,
            x_BNTF=self._gather(read_BNT, present_BNT),
            present_BNT=present_BNT,
            mask_BN=mask_BN,
            sector_BN=self.panel.sector_N[stock_BN.clamp(min=0)] * mask_BN,
            past_return_BNT=past_BNT * present_BNT,
            return_BNK=return_BNK,
            target_BNK=target_BNK,
            valid_BNK=torch.isfinite(return_BNK),
        )

    def _draw(self, day: int, most: int | None, generator: torch.Generator | None) -> Tensor:
        stock_N = self.panel.scored_stocks(day)
        if most is None or len(stock_N) <= most:
            return stock_N
        if generator is None:
            raise ValueError("stocks_per_day needs a generator")
        kept = torch.randperm(len(stock_N), generator=generator)[:most]
        return stock_N[kept.sort().values]

    def _targets(self, day: int, stock_N: Tensor) -> tuple[Tensor, Tensor]:
        """Raw and transformed forward returns. The transform sees the day's whole universe, so a
        drawn stock's target does not depend on who was drawn with it."""
        everyone_M = self.panel.scored_stocks(day)
        row_M = self.panel.row_of_TN[day, everyone_M].long()
        return_MK = self.panel.targets_RK[row_M][:, self._horizons]
        target_MK = self._transform(return_MK)
        place_N = torch.searchsorted(everyone_M, stock_N)
        return return_MK[place_N], target_MK[place_N]

    def _gather(self, read_BNT: Tensor, present_BNT: Tensor) -> Tensor:
        features_RF = self.panel.features_RF
        shape = (*read_BNT.shape, features_RF.shape[1])
        count = read_BNT.numel() * shape[-1]
        flat = None
        if self._buffer is not None:
            if self._buffer.numel() < count:
                self._buffer = torch.empty(count)
            flat = self._buffer[:count].view(-1, shape[-1])
        x = torch.index_select(features_RF, 0, read_BNT.reshape(-1), out=flat)
        # Absent rows were read as row 0: few as a rule, so they are found rather than multiplied.
        x.index_fill_(0, torch.nonzero(~present_BNT.reshape(-1)).squeeze(1), 0.0)
        x_BNTF = x.view(shape)
        return x_BNTF if self._columns is None else x_BNTF[..., self._columns]


def epoch_days(days: Sequence[int], seed: int, epoch: int, days_per_step: int) -> list[list[int]]:
    """The days of an epoch in shuffled groups of `days_per_step`; the last may be smaller.

    The order depends on (seed, epoch) and nothing else.
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(days))
    shuffled = [int(days[place]) for place in order]
    return [
        shuffled[start : start + days_per_step] for start in range(0, len(shuffled), days_per_step)
    ]
