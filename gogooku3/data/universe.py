"""Who may be scored on a day: stocks that trade regularly and with enough money behind them.

Shapes: T market days, N stocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gogooku3.data.rolling import rolling_sum
from gogooku3.data.source import Bars
from gogooku3.errors import SourceDataError


@dataclass(frozen=True)
class UniverseRule:
    """Member at t: traded at t and on at least `min_days` of the last `window` market days, and
    is among the `top` of those by trailing 20-day mean traded value (None = all of them).

    A source may carry the last price on over days without a trade: nobody could have dealt at it.
    """

    top: int | None = None
    min_days: int = 54
    window: int = 60

    def __post_init__(self) -> None:
        if self.top is not None and self.top < 1:
            raise ValueError(f"top must be at least 1, not {self.top}")
        if not 1 <= self.min_days <= self.window:
            raise ValueError(
                f"min_days must lie between 1 and window {self.window}, not {self.min_days}"
            )


def liquidity(bars: Bars) -> NDArray[np.float64]:
    """liquidity_TN: mean traded value (close x volume) of the last 20 market days, days without
    trade counting as 0. A split leaves it as it is."""
    return rolling_sum(bars.close_TN * bars.volume_TN, 20) / 20.0


def members(bars: Bars, liquidity_TN: NDArray[np.float64], rule: UniverseRule) -> NDArray[np.bool_]:
    """universe_TN: the rule's members of each day, from rows <= t only."""
    has_volume = not np.isnan(bars.volume_TN).all()
    if rule.top is not None and not has_volume:
        raise SourceDataError(
            f"top {rule.top} needs the money traded, but the table has no volume; leave top out"
        )
    # Without volume, whoever has a row is taken to have traded.
    traded_TN = bars.present_TN & (bars.volume_TN > 0) if has_volume else bars.present_TN
    days_TN = rolling_sum(traded_TN.astype(np.float64), rule.window)
    regular_TN = traded_TN & (days_TN >= rule.min_days)
    if rule.top is None:
        return regular_TN
    universe_TN = np.zeros_like(regular_TN)
    for day, regular_N in enumerate(regular_TN):
        stock_M = np.flatnonzero(regular_N)
        # A stable sort breaks ties by code, whoever else is listed.
        order_M = np.argsort(-liquidity_TN[day, stock_M], kind="stable")
        universe_TN[day, stock_M[order_M[: rule.top]]] = True
    return universe_TN
