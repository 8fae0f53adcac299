"""What features are made of: prices repaired from data errors, returns, traded value, sectors.

Shapes: T market days, N stocks. Each quantity is worked out once, on first use.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gogooku3.data.rolling import (
    group_mean,
    last_known,
    rolling_mean,
    rolling_slope,
    rolling_std,
    row_mean,
    shift,
)
from gogooku3.data.source import Bars

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

STALE_DAYS = 5
"""A price may stand in for a day without a row for this many market days."""
EXTREME_MOVE = 0.6
"""A 1-day move beyond this is taken for an error in the data."""
BETA_DAYS = 60
"""Market days of the regression that gives a beta."""


class Quantities:
    """Point-in-time quantities of a market; nothing at t reads a row after t."""

    def __init__(self, bars: Bars, liquidity_TN: Float, universe_TN: Bool) -> None:
        self.bars = bars
        self.liquidity_TN = liquidity_TN
        """Mean traded value of the last 20 market days."""
        self.universe_TN = universe_TN
        """Members of each day."""

    @cached_property
    def present_TN(self) -> Bool:
        """The stock has a row."""
        return self.bars.present_TN

    @cached_property
    def previous_close_TN(self) -> Float:
        """The last close before t, at most 1 + STALE_DAYS market days old."""
        return last_known(shift(self.bars.close_TN, 1), STALE_DAYS)

    @cached_property
    def raw_return_TN(self) -> Float:
        """close / previous close - 1, errors included."""
        return self.bars.close_TN / self.previous_close_TN - 1.0

    @cached_property
    def extreme_TN(self) -> Bool:
        """The 1-day move is beyond EXTREME_MOVE: an error in the data, as a rule."""
        with np.errstate(invalid="ignore"):
            return np.abs(self.raw_return_TN) > EXTREME_MOVE

    @cached_property
    def return_1d_TN(self) -> Float:
        """Raw 1-day return; unknown where extreme."""
        return np.where(self.extreme_TN, np.nan, self.raw_return_TN)

    @cached_property
    def repair_TN(self) -> Float:
        """Factor that takes the extreme moves out of ratios of prices: the product, up to t, of
        each extreme move's inverse. It only ever enters as a ratio of two days."""
        inverse_TN = np.where(self.extreme_TN, 1.0 / (1.0 + self.raw_return_TN), 1.0)
        return np.asarray(np.cumprod(inverse_TN, axis=0), dtype=np.float64)

    @cached_property
    def close_TN(self) -> Float:
        """Close without extreme moves."""
        return self.bars.close_TN * self.repair_TN

    @cached_property
    def open_TN(self) -> Float:
        """Open on the scale of `close_TN`."""
        return self.bars.open_TN * self.repair_TN

    @cached_property
    def high_TN(self) -> Float:
        """High on the scale of `close_TN`, never below open or close."""
        return np.fmax(np.fmax(self.bars.high_TN, self.bars.open_TN), self._close_if_range) * (
            self.repair_TN
        )

    @cached_property
    def low_TN(self) -> Float:
        """Low on the scale of `close_TN`, never above open or close."""
        return np.fmin(np.fmin(self.bars.low_TN, self.bars.open_TN), self._close_if_range) * (
            self.repair_TN
        )

    @cached_property
    def _close_if_range(self) -> Float:
        known_TN = ~np.isnan(self.bars.high_TN) & ~np.isnan(self.bars.low_TN)
        return np.where(known_TN, self.bars.close_TN, np.nan)

    @cached_property
    def known_close_TN(self) -> Float:
        """The close at t or the latest one within STALE_DAYS."""
        return last_known(self.close_TN, STALE_DAYS)

    @cached_property
    def volume_TN(self) -> Float:
        """Shares traded."""
        return self.bars.volume_TN

    @cached_property
    def value_TN(self) -> Float:
        """Money traded: close x volume. A split leaves it as it is."""
        return self.bars.close_TN * self.bars.volume_TN

    @cached_property
    def counted_TN(self) -> Bool:
        """The stocks that make up a day's distribution and its sector means: the universe, or
        every stock with a row on the first days, when there is no universe yet."""
        has_universe_T1 = self.universe_TN.any(axis=1, keepdims=True)
        return np.where(has_universe_T1, self.universe_TN, self.present_TN)

    @cached_property
    def market_return_T(self) -> Float:
        """Equal-weight mean of the counted stocks' known 1-day returns; unknown where fewer than
        two are known."""
        return row_mean(self.return_1d_TN, self.counted_TN)

    @cached_property
    def beta_TN(self) -> Float:
        """Slope of the least-squares line (with a constant) of a stock's 1-day returns on the
        market's, over the days of the last BETA_DAYS, t included, on which both are known."""
        return rolling_slope(self.return_1d_TN, self.market_return_T, BETA_DAYS)

    @cached_property
    def residual_1d_TN(self) -> Float:
        """1-day return less the market's times the beta known the day before."""
        return self.return_1d_TN - shift(self.beta_TN, 1) * self.market_return_T[:, None]

    def past_return(self, days: int) -> Float:
        """close / close `days` market days ago - 1."""
        return self.close_TN / shift(self.known_close_TN, days) - 1.0

    def volatility(self, days: int) -> Float:
        """Standard deviation of the daily returns of `days` days."""
        return rolling_std(self.return_1d_TN, days)

    def price_over_mean(self, days: int) -> Float:
        """close / mean close of `days` days - 1."""
        return self.close_TN / rolling_mean(self.close_TN, days) - 1.0

    def mean_volume(self, days: int) -> Float:
        """Mean daily volume of `days` days, unknown when nothing traded."""
        mean_TN = rolling_mean(self.volume_TN, days)
        return np.where(mean_TN > 0, mean_TN, np.nan)

    def sector_return(self, days: int) -> Float:
        """Mean of `past_return` over the sector's counted stocks."""
        return group_mean(self.past_return(days), self.bars.sector_N, self.counted_TN)
