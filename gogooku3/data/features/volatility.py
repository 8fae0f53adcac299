"""How much, and how unevenly, a price moves."""

from __future__ import annotations

from typing import Literal

import numpy as np

from gogooku3.data.features.spec import RETURN_DAYS, FeatureSpec, Float, positive
from gogooku3.data.quantities import Quantities
from gogooku3.data.rolling import rolling_max, rolling_mean, rolling_min, rolling_std

FAMILY = "volatility"


def volatility(days: int) -> FeatureSpec:
    """Standard deviation of the daily returns."""
    return FeatureSpec(
        f"volatility_{days}",
        f"std(return_1, {days})",
        days + RETURN_DAYS - 1,
        lambda q: q.volatility(days),
        FAMILY,
    )


def volatility_ratio(short: int, long: int) -> FeatureSpec:
    """Whether a price moves more than it used to."""
    return FeatureSpec(
        f"volatility_ratio_{short}_{long}",
        f"volatility_{short} / volatility_{long}",
        long + RETURN_DAYS - 1,
        lambda q: q.volatility(short) / positive(q.volatility(long)),
        FAMILY,
    )


def downside_share(days: int) -> FeatureSpec:
    """The share of the squared returns that is of falls (semivariance)."""

    def compute(q: Quantities) -> Float:
        fall_TN = np.minimum(q.return_1d_TN, 0.0)
        whole_TN = rolling_mean(q.return_1d_TN**2, days)
        return rolling_mean(fall_TN**2, days) / positive(whole_TN)

    return FeatureSpec(
        f"downside_share_{days}",
        f"sum(min(return_1, 0)^2, {days}) / sum(return_1^2, {days})",
        days + RETURN_DAYS - 1,
        compute,
        FAMILY,
    )


def _range(q: Quantities) -> Float:
    return (q.high_TN - q.low_TN) / q.close_TN


def _log_range(q: Quantities) -> Float:
    return np.log(q.high_TN / q.low_TN)


def _parkinson(q: Quantities) -> Float:
    return np.asarray(np.sqrt(rolling_mean(_log_range(q) ** 2, 20) / (4.0 * np.log(2.0))))


def _garman_klass(q: Quantities) -> Float:
    day_TN = 0.5 * _log_range(q) ** 2
    day_TN -= (2.0 * np.log(2.0) - 1.0) * np.log(q.close_TN / q.open_TN) ** 2
    return np.sqrt(positive(rolling_mean(day_TN, 20)))


def _moment(q: Quantities, order: Literal[3, 4], days: int) -> Float:
    """A standardised central moment of the daily returns."""
    x_TN = q.return_1d_TN
    mean_TN, square_TN, cube_TN = (rolling_mean(x_TN**power, days) for power in (1, 2, 3))
    spread_TN = square_TN - mean_TN**2
    # Rounding of the running sums leaves about 1e-16 of the squares: below that it is constant.
    spread_TN = np.where(spread_TN > 1e-12 * square_TN, spread_TN, np.nan)
    if order == 3:
        central_TN = cube_TN - 3.0 * mean_TN * square_TN + 2.0 * mean_TN**3
    else:
        central_TN = rolling_mean(x_TN**4, days) - 4.0 * mean_TN * cube_TN
        central_TN += 6.0 * mean_TN**2 * square_TN - 3.0 * mean_TN**4
    return np.asarray(central_TN / spread_TN ** (order / 2))


def _variation(q: Quantities) -> Float:
    size_TN = np.abs(q.return_1d_TN)
    return rolling_std(size_TN, 60) / positive(rolling_mean(size_TN, 60))


FEATURES = (
    *(volatility(days) for days in (5, 10, 20, 60, 120)),
    volatility_ratio(5, 60),
    volatility_ratio(20, 120),
    downside_share(20),
    downside_share(60),
    FeatureSpec(
        "largest_return_20",
        "max(return_1, 20)",
        20 + RETURN_DAYS - 1,
        lambda q: rolling_max(q.return_1d_TN, 20),
        FAMILY,
    ),
    FeatureSpec(
        "smallest_return_20",
        "min(return_1, 20)",
        20 + RETURN_DAYS - 1,
        lambda q: rolling_min(q.return_1d_TN, 20),
        FAMILY,
    ),
    FeatureSpec(
        "skewness_60",
        "skewness of return_1 over 60 days",
        60 + RETURN_DAYS - 1,
        lambda q: _moment(q, 3, 60),
        FAMILY,
    ),
    FeatureSpec(
        "kurtosis_60",
        "kurtosis of return_1 over 60 days",
        60 + RETURN_DAYS - 1,
        lambda q: _moment(q, 4, 60),
        FAMILY,
    ),
    FeatureSpec(
        "volatility_variation_60",
        "std(|return_1|, 60) / mean(|return_1|, 60)",
        60 + RETURN_DAYS - 1,
        _variation,
        FAMILY,
    ),
    FeatureSpec("range_1", "(high - low) / close", 1, _range, FAMILY),
    FeatureSpec("range_20", "mean(range_1, 20)", 20, lambda q: rolling_mean(_range(q), 20), FAMILY),
    FeatureSpec(
        "parkinson_20",
        "sqrt(mean(log(high / low)^2, 20) / (4 log 2)) (Parkinson 1980)",
        20,
        _parkinson,
        FAMILY,
    ),
    FeatureSpec(
        "garman_klass_20",
        "sqrt(mean(log(high / low)^2 / 2 - (2 log 2 - 1) log(close / open)^2, 20)) "
        "(Garman and Klass 1980)",
        20,
        _garman_klass,
        FAMILY,
    ),
)
