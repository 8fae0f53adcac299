"""The market as a whole: the same value for every stock of a day, over the stocks that count.

Stored as it is, because a day's distribution of one value is empty; scaled when it is read.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gogooku3.data.features.spec import RETURN_DAYS, FeatureSpec, Float, Need
from gogooku3.data.quantities import STALE_DAYS, Quantities
from gogooku3.data.rolling import rolling_mean, rolling_std, row_mean

FAMILY = "market"
Daily = NDArray[np.float64]
"""values_T."""


def of_days(
    name: str,
    formula: str,
    lookback_days: int,
    compute: Callable[[Quantities], Daily],
    needs: frozenset[Need] = frozenset(),
) -> FeatureSpec:
    """A feature with one value a day."""

    def spread(q: Quantities) -> Float:
        return np.broadcast_to(compute(q)[:, None], q.present_TN.shape)

    return FeatureSpec(name, formula, lookback_days, spread, FAMILY, "market", needs)


def market_return(days: int) -> FeatureSpec:
    """The return of holding the universe in equal parts."""
    formula = f"sum(market_return_1, {days})" if days > 1 else "mean of return_1 over the universe"
    return of_days(
        f"market_return_{days}",
        formula,
        days + RETURN_DAYS - 1,
        lambda q: days * mean(q.market_return_T, days),
    )


def market_volatility(days: int) -> FeatureSpec:
    """How much the market moves."""
    return of_days(
        f"market_volatility_{days}",
        f"std(market_return_1, {days})",
        days + RETURN_DAYS - 1,
        lambda q: rolling_std(q.market_return_T[:, None], days)[:, 0],
    )


def breadth(days: int) -> FeatureSpec:
    """How many stocks rise."""
    formula = f"mean(market_breadth_1, {days})" if days > 1 else "share of stocks with return_1 > 0"
    return of_days(
        f"market_breadth_{days}", formula, days + RETURN_DAYS - 1, lambda q: mean(_up(q), days)
    )


def dispersion(days: int) -> FeatureSpec:
    """How differently stocks move on one day."""
    formula = (
        f"mean(market_dispersion_1, {days})"
        if days > 1
        else "std of return_1 between the universe's stocks"
    )
    return of_days(
        f"market_dispersion_{days}",
        formula,
        days + RETURN_DAYS - 1,
        lambda q: mean(_dispersion(q), days),
    )


def mean(x_T: Daily, days: int) -> Daily:
    """Trailing mean of a daily value."""
    return rolling_mean(x_T[:, None], days)[:, 0]


def _up(q: Quantities) -> Daily:
    up_TN = np.where(np.isnan(q.return_1d_TN), np.nan, q.return_1d_TN > 0.0)
    return row_mean(up_TN, q.counted_TN)


def _dispersion(q: Quantities) -> Daily:
    square_T = row_mean(q.return_1d_TN**2, q.counted_TN)
    return np.sqrt(np.maximum(square_T - q.market_return_T**2, 0.0))


def _above(q: Quantities) -> Daily:
    distance_TN = q.price_over_mean(60)
    above_TN = np.where(np.isnan(distance_TN), np.nan, distance_TN > 0.0)
    return row_mean(above_TN, q.counted_TN)


def _turnover(q: Quantities) -> Daily:
    value_T = row_mean(q.value_TN, q.counted_TN)
    return np.log(mean(value_T, 5) / mean(value_T, 60))


FEATURES = (
    *(market_return(days) for days in (1, 5, 20, 60)),
    market_volatility(20),
    market_volatility(60),
    breadth(1),
    breadth(20),
    of_days(
        "market_above_mean_60",
        "share of stocks with close > mean(close, 60)",
        61 + STALE_DAYS,
        _above,
    ),
    dispersion(1),
    dispersion(20),
    of_days(
        "market_turnover_5_60",
        "log of the mean money traded per stock, 5 days over 60",
        60,
        _turnover,
        needs=frozenset({"volume"}),
    ),
)
