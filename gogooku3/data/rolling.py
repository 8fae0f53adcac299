"""Trailing windows over the market calendar, one column per stock; NaN = unknown.

Shapes: T market days, N stocks. Every value at t is made of rows <= t in an order that does not
depend on later rows, so cutting the table after t changes no bit of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

KNOWN_SHARE = 2 / 3
"""A window with a smaller share of known days has no value."""


def shift(x_TN: Float, days: int) -> Float:
    """The value `days` market days earlier."""
    shifted_TN = np.full_like(x_TN, np.nan)
    if days < len(x_TN):
        shifted_TN[days:] = x_TN[: len(x_TN) - days]
    return shifted_TN


def last_known(x_TN: Float, days: int) -> Float:
    """The value at t or, where unknown, the latest one of the `days` market days before."""
    filled_TN = x_TN.copy()
    for back in range(1, days + 1):
        unknown_TN = np.isnan(filled_TN)
        filled_TN[unknown_TN] = shift(x_TN, back)[unknown_TN]
    return filled_TN


def rolling_count(x_TN: Float, days: int) -> Float:
    """Known values among the last `days` days, t included."""
    return _window_sum((~np.isnan(x_TN)).astype(np.float64), days)


def rolling_sum(x_TN: Float, days: int) -> Float:
    """Sum of the known values of the last `days` days, t included; 0 if there are none."""
    return _window_sum(np.nan_to_num(x_TN, nan=0.0), days)


def rolling_mean(x_TN: Float, days: int) -> Float:
    """Mean of the known values of the last `days` days."""
    count_TN = rolling_count(x_TN, days)
    return _where_known(rolling_sum(x_TN, days) / np.maximum(count_TN, 1.0), count_TN, days)


def rolling_std(x_TN: Float, days: int) -> Float:
    """Standard deviation of the known values of the last `days` days (divisor n - 1)."""
    count_TN = rolling_count(x_TN, days)
    mean_TN = rolling_sum(x_TN, days) / np.maximum(count_TN, 1.0)
    square_TN = rolling_sum(x_TN * x_TN, days) / np.maximum(count_TN, 1.0)
    # Rounding of the running sums leaves about 1e-16 of the squares: below that it is 0.
    spread_TN = square_TN - mean_TN * mean_TN
    spread_TN[spread_TN < 1e-12 * square_TN] = 0.0
    unbiased_TN = spread_TN * count_TN / np.maximum(count_TN - 1.0, 1.0)
    return _where_known(np.sqrt(unbiased_TN), np.where(count_TN > 1, count_TN, 0.0), days)


def rolling_max(x_TN: Float, days: int) -> Float:
    """Largest known value of the last `days` days."""
    reached_TN, span = np.where(np.isnan(x_TN), -np.inf, x_TN), 1
    while span < days:
        step = min(span, days - span)
        earlier_TN = np.full_like(reached_TN, -np.inf)
        earlier_TN[step:] = reached_TN[:-step] if step < len(x_TN) else earlier_TN[step:]
        reached_TN = np.maximum(reached_TN, earlier_TN)
        span += step
    return _where_known(reached_TN, rolling_count(x_TN, days), days)


def rolling_min(x_TN: Float, days: int) -> Float:
    """Smallest known value of the last `days` days."""
    return -rolling_max(-x_TN, days)


def rolling_slope(y_TN: Float, x_T: Float, days: int) -> Float:
    """Slope of the least-squares line of y on x over the days of the last `days` on which both are
    known; unknown where x does not vary on them."""
    joint_TN, _, spread_TN, count_TN = _joint_moments(y_TN, x_T[:, None], days)
    return _where_known(joint_TN / spread_TN, count_TN, days)


def rolling_correlation(y_TN: Float, x_TN: Float, days: int) -> Float:
    """Correlation of y and x over the days of the last `days` on which both are known; unknown
    where one of them does not vary on them."""
    joint_TN, y_spread_TN, x_spread_TN, count_TN = _joint_moments(y_TN, x_TN, days)
    correlation_TN = joint_TN / np.sqrt(y_spread_TN * x_spread_TN)
    return _where_known(np.clip(correlation_TN, -1.0, 1.0), count_TN, days)


def _joint_moments(y_TN: Float, x_TN: Float, days: int) -> tuple[Float, Float, Float, Float]:
    """Covariance of y and x, variance of each (NaN where it does not vary), and the number of days
    on which both are known."""
    x_TN = np.where(np.isnan(y_TN), np.nan, x_TN)
    y_TN = np.where(np.isnan(x_TN), np.nan, y_TN)
    count_TN = rolling_count(y_TN, days)
    share_TN = 1.0 / np.maximum(count_TN, 1.0)
    x_mean_TN = rolling_sum(x_TN, days) * share_TN
    y_mean_TN = rolling_sum(y_TN, days) * share_TN
    joint_TN = rolling_sum(x_TN * y_TN, days) * share_TN - x_mean_TN * y_mean_TN
    y_spread_TN = _spread(rolling_sum(y_TN * y_TN, days) * share_TN, y_mean_TN)
    x_spread_TN = _spread(rolling_sum(x_TN * x_TN, days) * share_TN, x_mean_TN)
    return joint_TN, y_spread_TN, x_spread_TN, count_TN


def _spread(square_TN: Float, mean_TN: Float) -> Float:
    """Variance from the mean square and the mean; unknown where it is only rounding."""
    spread_TN = square_TN - mean_TN * mean_TN
    # Rounding of the running sums leaves about 1e-16 of the squares: below that it is constant.
    return np.where(spread_TN > 1e-12 * square_TN, spread_TN, np.nan)


def row_mean(x_TN: Float, counted_TN: NDArray[np.bool_]) -> Float:
    """Per day, the mean of the counted stocks' known values; unknown with fewer than two."""
    day_V, stock_V = np.nonzero(counted_TN & ~np.isnan(x_TN))
    # bincount adds in the order of (day, stock): the sum does not depend on who else is there.
    sum_T = np.bincount(day_V, x_TN[day_V, stock_V], len(x_TN))
    count_T = np.bincount(day_V, minlength=len(x_TN))
    return np.where(count_T >= 2, sum_T / np.maximum(count_T, 1), np.nan)


def group_mean(x_TN: Float, group_N: NDArray[np.int32], counted_TN: NDArray[np.bool_]) -> Float:
    """Per day and group, the mean of the counted stocks' known values, given to every stock of the
    group; unknown for group -1 and for groups with fewer than two of them."""
    groups = int(group_N.max(initial=-1)) + 1
    if groups == 0:
        return np.full_like(x_TN, np.nan)
    day_V, stock_V = np.nonzero(counted_TN & ~np.isnan(x_TN) & (group_N >= 0))
    cell_V = day_V * groups + group_N[stock_V]
    cells = len(x_TN) * groups
    # bincount adds in the order of (day, stock): the sum does not depend on who else is there.
    sum_TG = np.bincount(cell_V, x_TN[day_V, stock_V], cells).reshape(len(x_TN), groups)
    count_TG = np.bincount(cell_V, minlength=cells).reshape(len(x_TN), groups)
    mean_TG = np.where(count_TG >= 2, sum_TG / np.maximum(count_TG, 1), np.nan)
    mean_TN = mean_TG[:, np.maximum(group_N, 0)]
    mean_TN[:, group_N < 0] = np.nan
    return mean_TN


def _window_sum(x_TN: Float, days: int) -> Float:
    total_TN = np.cumsum(x_TN, axis=0)
    total_TN[days:] -= total_TN[:-days].copy() if days < len(x_TN) else 0.0
    return total_TN


def _where_known(value_TN: Float, count_TN: Float, days: int) -> Float:
    return np.where(count_TN >= np.ceil(days * KNOWN_SHARE), value_TN, np.nan)
