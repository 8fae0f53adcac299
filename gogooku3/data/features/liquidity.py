"""How much is traded, how steadily, and what trading costs."""

from __future__ import annotations

import numpy as np

from gogooku3.data.features.spec import RETURN_DAYS, FeatureSpec, Float, Need, positive
from gogooku3.data.quantities import STALE_DAYS, Quantities
from gogooku3.data.rolling import rolling_correlation, rolling_mean, rolling_std, shift

FAMILY = "liquidity"
VOLUME = frozenset[Need]({"volume"})


def volume_ratio(short: int, long: int) -> FeatureSpec:
    """Whether more is traded than usual."""
    top = "volume" if short == 1 else f"mean(volume, {short})"
    return FeatureSpec(
        f"volume_ratio_{short}_{long}",
        f"log(1 + {top} / mean(volume, {long}))",
        long,
        lambda q: np.log1p(rolling_mean(q.volume_TN, short) / q.mean_volume(long)),
        FAMILY,
        needs=VOLUME,
    )


def illiquidity(days: int) -> FeatureSpec:
    """How far a unit of money moves the price."""

    def compute(q: Quantities) -> Float:
        daily_TN = np.abs(q.return_1d_TN) / positive(q.value_TN)
        return np.log(positive(rolling_mean(daily_TN, days)))

    return FeatureSpec(
        f"illiquidity_{days}",
        f"log(mean(|return_1| / (close * volume), {days})) (Amihud 2002)",
        days + RETURN_DAYS - 1,
        compute,
        FAMILY,
        needs=VOLUME,
    )


def _log_value(q: Quantities) -> Float:
    return np.log(positive(q.value_TN))


def _shock(q: Quantities) -> Float:
    log_TN = _log_value(q)
    return (log_TN - rolling_mean(log_TN, 60)) / positive(rolling_std(log_TN, 60))


def _with_turnover(q: Quantities) -> Float:
    log_TN = _log_value(q)
    return rolling_correlation(q.return_1d_TN, log_TN - shift(log_TN, 1), 60)


def _signed(q: Quantities) -> Float:
    known_TN = np.isfinite(q.return_1d_TN)
    value_TN = np.where(known_TN, q.value_TN, np.nan)
    signed_TN = np.sign(q.return_1d_TN) * value_TN
    return rolling_mean(signed_TN, 20) / positive(rolling_mean(value_TN, 20))


def _variation(q: Quantities) -> Float:
    return rolling_std(q.value_TN, 60) / positive(rolling_mean(q.value_TN, 60))


def _spread(q: Quantities) -> Float:
    high_TN, low_TN = q.high_TN, q.low_TN
    day_TN = np.log(high_TN / low_TN) ** 2
    two_TN = day_TN + shift(day_TN, 1)
    over_TN = np.maximum(high_TN, shift(high_TN, 1)) / np.minimum(low_TN, shift(low_TN, 1))
    scale = 3.0 - 2.0 * np.sqrt(2.0)
    alpha_TN = (np.sqrt(2.0 * two_TN) - np.sqrt(two_TN)) / scale
    alpha_TN -= np.sqrt(np.log(over_TN) ** 2 / scale)
    return rolling_mean(2.0 * np.tanh(alpha_TN / 2.0), 20)


FEATURES = (
    FeatureSpec(
        "turnover_20",
        "log(mean(close * volume, 20)), days without trade counting as 0",
        20,
        lambda q: np.log(positive(q.liquidity_TN)),
        FAMILY,
        needs=VOLUME,
    ),
    volume_ratio(1, 20),
    volume_ratio(5, 20),
    volume_ratio(5, 60),
    volume_ratio(20, 60),
    FeatureSpec(
        "volume_variation_20",
        "std(volume, 20) / mean(volume, 20)",
        20,
        lambda q: rolling_std(q.volume_TN, 20) / q.mean_volume(20),
        FAMILY,
        needs=VOLUME,
    ),
    FeatureSpec(
        "turnover_variation_60",
        "std(close * volume, 60) / mean(close * volume, 60)",
        60,
        _variation,
        FAMILY,
        needs=VOLUME,
    ),
    FeatureSpec(
        "turnover_shock_60",
        "log(close * volume) less its mean of 60 days, over its standard deviation",
        60,
        _shock,
        FAMILY,
        needs=VOLUME,
    ),
    FeatureSpec(
        "return_turnover_correlation_60",
        "correlation of return_1 and the change of log(close * volume) over 60 days",
        61 + STALE_DAYS,
        _with_turnover,
        FAMILY,
        needs=VOLUME,
    ),
    FeatureSpec(
        "signed_turnover_20",
        "sum(sign(return_1) * close * volume, 20) / sum(close * volume, 20)",
        20 + RETURN_DAYS - 1,
        _signed,
        FAMILY,
        needs=VOLUME,
    ),
    illiquidity(20),
    illiquidity(60),
    FeatureSpec(
        "spread_20",
        "mean over 20 days of the spread that two days' highs and lows tell "
        "(Corwin and Schultz 2012)",
        22 + STALE_DAYS,
        _spread,
        FAMILY,
    ),
)
