"""Days into batches: index arithmetic over the mapped panel, no loader, no workers.

Shapes: B days, N stocks, T look-back days, F features, K horizons, L days that are read, S stocks
of a block.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor

from gogooku3.config import DataConfig
from gogooku3.data.batch import Batch, BlockRows
from gogooku3.data.blocks import RowBuffer
from gogooku3.data.epochs import runs
from gogooku3.data.panel import Panel
from gogooku3.data.resident import ResidentRows
from gogooku3.data.rows import RowReader
from gogooku3.data.scaling import MarketScaling, market_features
from gogooku3.data.splits import Split, split_days
from gogooku3.data.targets import Targets

STRETCH_DAYS = 64
"""Consecutive days whose blocks are read into the same memory, one day after the other. Longer
stretches read fewer rows twice, and hold more stocks that are scored on few of their days."""


class BatchMaker:
    """Makes the batches of one configuration from one panel.

    With `reuse`, batches take so many pieces of memory in turn, and x_BNTF is overwritten by the
    batch that is so many later: faster for large markets, since fresh pages cost more than the
    copy. With 0, each batch owns its memory. Either way a batch's days lie one after the other in
    memory, and x_BNTF, present_BNT and past_return_BNT are views of that with the stocks in front.
    """

    def __init__(
        self,
        panel: Panel,
        data: DataConfig,
        *,
        reuse: int = 0,
        scaling: MarketScaling | None = None,
        resident: torch.device | None = None,
    ) -> None:
        """Take `scaling` as that of the market features; None = fit it on the training days. With
        `resident`, the features are kept on that device and gathered there: x_BNTF and a block's
        x_LSF then lie there, and all else on the CPU.

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
        self._rows = (
            RowReader(panel, self.features, scaling)
            if resident is None
            else ResidentRows(panel, self.features, scaling, resident)
        )
        self._targets = Targets(panel, data)
        self._pieces = [torch.empty(0, device=self._rows.device) for _ in range(reuse)]
        self._taken = 0

    def anew(self) -> BatchMaker:
        """The same, with memory of its own for the batches."""
        made = copy.copy(self)
        made._pieces = [piece.new_empty(0) for piece in self._pieces]
        return made

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
            days: positions in the calendar, in any order.
            stocks_per_day: draw at most so many of each day's stocks, with `generator`.
            generator: source of that draw; needed when `stocks_per_day` is given.

        A day before the dataset's first universe gives a cross-section of padding.
        """
        drawn = [_draw(self.panel.scored_stocks(t), stocks_per_day, generator) for t in days]
        size = max([1, *(len(stock_N) for stock_N in drawn)])
        lookback = self.data.lookback
        stock_BN = torch.full((len(days), size), -1, dtype=torch.int64)
        row_BTN = torch.full((len(days), lookback, size), -1, dtype=torch.int32)
        for place, (day, stock_N) in enumerate(zip(days, drawn, strict=True)):
            stock_BN[place, : len(stock_N)] = stock_N
            row_BTN[place, :, : len(stock_N)] = self.panel.rows_between(
                day + 1 - lookback, day, stock_N
            )
        self._taken += 1
        x_BTNF = self._memory((*row_BTN.shape, len(self.features)))
        read = [day + step for day in days for step in range(1 - lookback, 1)]
        self._rows.read(row_BTN.flatten(0, 1), read, x_BTNF.flatten(0, 1))
        return self._batch(
            days,
            stock_BN,
            (
                x_BTNF.transpose(1, 2),
                (row_BTN >= 0).transpose(1, 2),
                self._rows.past_returns(row_BTN).transpose(1, 2),
            ),
        )

    def block(
        self,
        days: Sequence[int],
        stocks_per_day: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Batch:
        """The batch of consecutive days, whose windows are views of rows that are read once.

        Its places are the stocks that are scored on any of the days. With `stocks_per_day`, so many
        of these at most are drawn for the whole block.

        Raises ValueError for days that do not follow each other.
        """
        self._taken += 1
        return next(self._stretch(days, len(days), stocks_per_day, generator))

    def blocks(self, days: Sequence[int], block_days: int) -> Iterator[Batch]:
        """Blocks of at most `block_days` of the given increasing days, in their order.

        Each stretch of consecutive days is read row by row, so that a further day costs the reading
        of its own rows only. A block's places are the stocks that are scored on any day of the
        stretch. All of it takes the first piece of memory: making another batch ends its blocks.
        """
        self._taken = 0
        step = max(1, STRETCH_DAYS // block_days) * block_days
        for run in runs(days):
            for start in range(0, len(run), step):
                yield from self._stretch(run[start : start + step], block_days)

    def _stretch(
        self,
        days: Sequence[int],
        block_days: int,
        most: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Iterator[Batch]:
        if len(runs(days)) != 1:
            raise ValueError(f"a block is made of consecutive days, not of {list(days)}")
        lookback = self.data.lookback
        scored_BN = self.panel.universe_TN[days[0] : days[-1] + 1]
        stock_S = _draw(torch.nonzero(scored_BN.any(dim=0)).squeeze(1), most, generator)
        mask_BS = scored_BN[:, stock_S]
        if not len(stock_S):
            stock_S, mask_BS = torch.tensor([-1]), torch.zeros(len(days), 1, dtype=torch.bool)
        length = lookback + len(days) - 1
        memory_LSF = self._memory((length, len(stock_S), len(self.features)))
        buffer = RowBuffer(self._rows, days[0] + 1 - lookback, stock_S, memory_LSF)
        for start in range(0, len(days), block_days):
            at = slice(start, start + block_days)
            block = days[at]
            rows = buffer.rows(start, start + len(block) + lookback - 1)
            stock_BN = stock_S.where(mask_BS[at], -1)
            yield self._batch(block, stock_BN, rows.windows(lookback), rows)

    def _batch(
        self,
        days: Sequence[int],
        stock_BN: Tensor,
        windows: tuple[Tensor, Tensor, Tensor],
        rows: BlockRows | None = None,
    ) -> Batch:
        shape = (*stock_BN.shape, len(self.data.horizons))
        mask_BN = stock_BN >= 0
        return_BNK = torch.full(shape, torch.nan)
        target_BNK = torch.zeros(shape)
        valid_BNK = torch.zeros(shape, dtype=torch.bool)
        for place, day in enumerate(days):
            at_N = mask_BN[place]
            found = self._targets.of(day, stock_BN[place, at_N])
            return_BNK[place, at_N] = found.return_NK
            target_BNK[place, at_N] = found.target_NK
            valid_BNK[place, at_N] = found.valid_NK
        x_BNTF, present_BNT, past_return_BNT = windows
        return Batch(
            day_B=torch.tensor(list(days), dtype=torch.int64),
            stock_BN=stock_BN,
            x_BNTF=x_BNTF,
            present_BNT=present_BNT,
            mask_BN=mask_BN,
            sector_BN=self.panel.sector_N[stock_BN.clamp(min=0)] * mask_BN,
            past_return_BNT=past_return_BNT,
            return_BNK=return_BNK,
            target_BNK=target_BNK,
            valid_BNK=valid_BNK,
            rows=rows,
        )

    def _memory(self, shape: tuple[int, ...]) -> Tensor:
        """Float32 memory to read features into."""
        if not self._pieces:
            return torch.empty(shape, device=self._rows.device)
        count, place = torch.Size(shape).numel(), self._taken % len(self._pieces)
        if self._pieces[place].numel() < count:
            self._pieces[place] = torch.empty(count, device=self._rows.device)
        return self._pieces[place][:count].view(shape)


def _draw(stock_N: Tensor, most: int | None, generator: torch.Generator | None) -> Tensor:
    """At most so many of the stocks, in their order."""
    if most is None or len(stock_N) <= most:
        return stock_N
    if generator is None:
        raise ValueError("stocks_per_day needs a generator")
    kept = torch.randperm(len(stock_N), generator=generator)[:most]
    return stock_N[kept.sort().values]
