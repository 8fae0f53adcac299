"""The features: one table of name, formula, look-back and what works it out.

Each value at t is made of rows <= t and is free of the price level: dividing every price of a stock
by a constant and multiplying its volumes by it (a split) changes nothing. Back-adjusted levels hold
later splits and dividends and are therefore never a feature.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gogooku3.data.quantities import STALE_DAYS, Quantities
from gogooku3.data.rolling import rolling_max, rolling_mean, rolling_min, rolling_std, shift

Float = NDArray[np.float64]


@dataclass(frozen=True)
class FeatureSpec:
    """One feature and how it is made."""

    name: str
    formula: str
    lookback_days: int
    """Market days up to and including t that the value may read."""
    compute: Callable[[Quantities], Float]
    role: Literal["stock", "market"] = "stock"
    needs_sector: bool = False
    family: str = "price"
    """What kind of feature it is."""


def _past_return(days: int) -> FeatureSpec:
    return FeatureSpec(
        f"return_{days}",
        f"close / close[-{days}] - 1",
        days + 1 + STALE_DAYS,
        lambda q: q.past_return(days),
    )


def _momentum(days: int, skipped: int) -> FeatureSpec:
    return FeatureSpec(
        f"momentum_{days}_{skipped}",
        f"close[-{skipped}] / close[-{days}] - 1",
        days + 1 + STALE_DAYS,
        lambda q: shift(q.known_close_TN, skipped) / shift(q.known_close_TN, days) - 1.0,
    )


def _volatility(days: int) -> FeatureSpec:
    return FeatureSpec(
        f"volatility_{days}",
        f"std(return_1, {days})",
        days + 1 + STALE_DAYS,
        lambda q: q.volatility(days),
    )


def _price_over_mean(days: int) -> FeatureSpec:
    return FeatureSpec(
        f"close_to_mean_{days}",
        f"close / mean(close, {days}) - 1",
        days + 1 + STALE_DAYS,
        lambda q: q.price_over_mean(days),
    )


def _volume_ratio(short: int, long: int) -> FeatureSpec:
    top = "volume" if short == 1 else f"mean(volume, {short})"
    return FeatureSpec(
        f"volume_ratio_{short}_{long}",
        f"log(1 + {top} / mean(volume, {long}))",
        long,
        lambda q: np.log1p(rolling_mean(q.volume_TN, short) / q.mean_volume(long)),
    )


def _sector_return(days: int) -> FeatureSpec:
    return FeatureSpec(
        f"sector_return_{days}",
        f"mean of return_{days} over the sector's stocks in the universe",
        days + 1 + STALE_DAYS,
        lambda q: q.sector_return(days),
        needs_sector=True,
    )


def _sector_relative(days: int) -> FeatureSpec:
    return FeatureSpec(
        f"sector_relative_{days}",
        f"return_{days} - sector_return_{days}",
        days + 1 + STALE_DAYS,
        lambda q: q.past_return(days) - q.sector_return(days),
        needs_sector=True,
    )


def _range(q: Quantities) -> Float:
    return (q.high_TN - q.low_TN) / q.close_TN


def _close_location(q: Quantities) -> Float:
    span_TN = q.high_TN - q.low_TN
    return (q.close_TN - q.low_TN) / np.where(span_TN > 0, span_TN, np.nan)


def _positive(x_TN: Float) -> Float:
    return np.where(x_TN > 0, x_TN, np.nan)


def _illiquidity(q: Quantities) -> Float:
    daily_TN = np.abs(q.return_1d_TN) / _positive(q.value_TN)
    return np.log(_positive(rolling_mean(daily_TN, 20)))


FEATURES: tuple[FeatureSpec, ...] = (
    *(_past_return(days) for days in (1, 2, 3, 5, 10, 20, 60, 120)),
    _momentum(120, 20),
    *(_volatility(days) for days in (5, 20, 60)),
    FeatureSpec(
        "volatility_ratio_5_60",
        "volatility_5 / volatility_60",
        61 + STALE_DAYS,
        lambda q: q.volatility(5) / _positive(q.volatility(60)),
    ),
    FeatureSpec(
        "largest_return_20",
        "max(return_1, 20)",
        21 + STALE_DAYS,
        lambda q: rolling_max(q.return_1d_TN, 20),
    ),
    *(_price_over_mean(days) for days in (5, 20, 60)),
    FeatureSpec("range_1", "(high - low) / close", 1, _range),
    FeatureSpec("range_20", "mean(range_1, 20)", 20, lambda q: rolling_mean(_range(q), 20)),
    FeatureSpec(
        "gap_1",
        "open / close[-1] - 1",
        2 + STALE_DAYS,
        lambda q: q.open_TN / shift(q.known_close_TN, 1) - 1.0,
    ),
    FeatureSpec("intraday_1", "close / open - 1", 1, lambda q: q.close_TN / q.open_TN - 1.0),
    FeatureSpec("close_location_1", "(close - low) / (high - low)", 1, _close_location),
    FeatureSpec(
        "close_location_5",
        "mean(close_location_1, 5)",
        5,
        lambda q: rolling_mean(_close_location(q), 5),
    ),
    FeatureSpec(
        "close_to_high_60",
        "close / max(high, 60) - 1",
        61 + STALE_DAYS,
        lambda q: q.close_TN / rolling_max(q.high_TN, 60) - 1.0,
    ),
    FeatureSpec(
        "close_to_low_60",
        "close / min(low, 60) - 1",
        61 + STALE_DAYS,
        lambda q: q.close_TN / rolling_min(q.low_TN, 60) - 1.0,
    ),
    FeatureSpec(
        "turnover_20",
        "log(mean(close * volume, 20)), days without trade counting as 0",
        20,
        lambda q: np.log(_positive(q.liquidity_TN)),
    ),
    *(_volume_ratio(short, long) for short, long in ((1, 20), (5, 20), (20, 60))),
    FeatureSpec(
        "volume_variation_20",
        "std(volume, 20) / mean(volume, 20)",
        20,
        lambda q: rolling_std(q.volume_TN, 20) / q.mean_volume(20),
    ),
    FeatureSpec(
        "illiquidity_20",
        "log(mean(|return_1| / (close * volume), 20)) (Amihud 2002)",
        21 + STALE_DAYS,
        _illiquidity,
    ),
    *(_sector_return(days) for days in (1, 5, 20)),
    *(_sector_relative(days) for days in (1, 5, 20)),
)
"""Every feature, in the order of the cache's last axis. Those of sectors are left out when the
source names no sector."""
