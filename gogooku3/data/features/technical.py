"""Where a price stands within its own recent past: chartists' indicators."""

from __future__ import annotations

import numpy as np

from gogooku3.data.features.spec import RETURN_DAYS, FeatureSpec, Float, positive
from gogooku3.data.quantities import STALE_DAYS, Quantities
from gogooku3.data.rolling import (
    rolling_correlation,
    rolling_max,
    rolling_mean,
    rolling_min,
    rolling_std,
    shift,
)

FAMILY = "technical"


def close_to_mean(days: int) -> FeatureSpec:
    """Distance from a moving average."""
    return FeatureSpec(
        f"close_to_mean_{days}",
        f"close / mean(close, {days}) - 1",
        days + 1 + STALE_DAYS,
        lambda q: q.price_over_mean(days),
        FAMILY,
    )


def mean_ratio(short: int, long: int) -> FeatureSpec:
    """Distance of two moving averages."""
    return FeatureSpec(
        f"mean_ratio_{short}_{long}",
        f"mean(close, {short}) / mean(close, {long}) - 1",
        long + 1 + STALE_DAYS,
        lambda q: rolling_mean(q.close_TN, short) / rolling_mean(q.close_TN, long) - 1.0,
        FAMILY,
    )


def close_to_high(days: int) -> FeatureSpec:
    """Distance below the highest price (George and Hwang 2004)."""
    return FeatureSpec(
        f"close_to_high_{days}",
        f"close / max(high, {days}) - 1",
        days + 1 + STALE_DAYS,
        lambda q: q.close_TN / rolling_max(q.high_TN, days) - 1.0,
        FAMILY,
    )


def close_to_low(days: int) -> FeatureSpec:
    """Distance above the lowest price."""
    return FeatureSpec(
        f"close_to_low_{days}",
        f"close / min(low, {days}) - 1",
        days + 1 + STALE_DAYS,
        lambda q: q.close_TN / rolling_min(q.low_TN, days) - 1.0,
        FAMILY,
    )


def relative_strength(days: int) -> FeatureSpec:
    """The relative strength index with plain means (Wilder 1978, Cutler's form)."""

    def compute(q: Quantities) -> Float:
        gain_TN = rolling_mean(np.maximum(q.return_1d_TN, 0.0), days)
        return gain_TN / positive(rolling_mean(np.abs(q.return_1d_TN), days))

    return FeatureSpec(
        f"rsi_{days}",
        f"sum(max(return_1, 0), {days}) / sum(|return_1|, {days})",
        days + RETURN_DAYS - 1,
        compute,
        FAMILY,
    )


def _close_location(q: Quantities) -> Float:
    return (q.close_TN - q.low_TN) / positive(q.high_TN - q.low_TN)


def _stochastic(q: Quantities) -> Float:
    low_TN = rolling_min(q.low_TN, 14)
    return (q.close_TN - low_TN) / positive(rolling_max(q.high_TN, 14) - low_TN)


def _bollinger(q: Quantities) -> Float:
    spread_TN = positive(rolling_std(q.close_TN, 20))
    return (q.close_TN - rolling_mean(q.close_TN, 20)) / spread_TN


def _up_share(q: Quantities) -> Float:
    up_TN = np.where(np.isnan(q.return_1d_TN), np.nan, q.return_1d_TN > 0.0)
    return rolling_mean(up_TN, 20)


def _money_flow(q: Quantities) -> Float:
    known_TN = np.isfinite(q.return_1d_TN)
    value_TN = np.where(known_TN, q.value_TN, np.nan)
    up_TN = np.where(known_TN & (q.return_1d_TN > 0.0), value_TN, np.where(known_TN, 0.0, np.nan))
    return rolling_mean(up_TN, 14) / positive(rolling_mean(value_TN, 14))


FEATURES = (
    *(close_to_mean(days) for days in (5, 20, 60, 120)),
    mean_ratio(5, 20),
    mean_ratio(20, 60),
    mean_ratio(60, 120),
    *(close_to_high(days) for days in (20, 60, 120)),
    *(close_to_low(days) for days in (20, 60, 120)),
    FeatureSpec("close_location_1", "(close - low) / (high - low)", 1, _close_location, FAMILY),
    FeatureSpec(
        "close_location_5",
        "mean(close_location_1, 5)",
        5,
        lambda q: rolling_mean(_close_location(q), 5),
        FAMILY,
    ),
    relative_strength(5),
    relative_strength(14),
    FeatureSpec(
        "stochastic_14",
        "(close - min(low, 14)) / (max(high, 14) - min(low, 14))",
        15 + STALE_DAYS,
        _stochastic,
        FAMILY,
    ),
    FeatureSpec(
        "bollinger_20",
        "(close - mean(close, 20)) / std(close, 20)",
        21 + STALE_DAYS,
        _bollinger,
        FAMILY,
    ),
    FeatureSpec(
        "up_share_20",
        "share of days with return_1 > 0 among 20",
        20 + RETURN_DAYS - 1,
        _up_share,
        FAMILY,
    ),
    FeatureSpec(
        "money_flow_14",
        "money traded on days with return_1 > 0, as a share of all, over 14 days",
        14 + RETURN_DAYS - 1,
        _money_flow,
        FAMILY,
        needs=frozenset({"volume"}),
    ),
    FeatureSpec(
        "autocorrelation_60",
        "correlation of return_1 and return_1[-1] over 60 days",
        61 + RETURN_DAYS - 1,
        lambda q: rolling_correlation(q.return_1d_TN, shift(q.return_1d_TN, 1), 60),
        FAMILY,
    ),
)
