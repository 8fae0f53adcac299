"""From daily series to the named metrics of a split: `rank_ic@5`, and `rank_ic` over horizons."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt

import numpy as np

from gogooku3.metrics.daily import DailySeries
from gogooku3.metrics.inference import Series, block_bootstrap, newey_west_t

TRADING_DAYS = 252
"""Trading days a year, for annualised figures."""

OVER_HORIZONS = (
    "ic",
    "rank_ic",
    "icir",
    "rank_icir",
    "sharpe",
    "sharpe_net",
    "turnover",
    "hit_rate",
    "hit_over_base",
)
"""Metrics that also have a mean over horizons, named without `@`."""


def summarise(
    series: DailySeries, horizon_weights: Mapping[int, float] | None = None
) -> dict[str, float | None]:
    """The metrics of a stretch of days; None = undefined.

    Per horizon h: `ic@h`, `rank_ic@h` (means over days), `icir@h`, `rank_icir@h` (mean over
    standard deviation, per day), `ic_t@h`, `rank_ic_t@h` (Newey-West), `rank_ic_low@h`,
    `rank_ic_high@h` and the same of `ic` (95 % moving-block bootstrap), `n_days@h` (days with a
    rank IC), `long_short@h` (mean h-day decile spread), `sharpe@h`, `sharpe_net@h` (annualised),
    `turnover@h`, `hit_rate@h` (share of the long leg that rose), `base_rate@h` (of all stocks),
    `hit_over_base@h` (their difference, mean over the days that have both).
    Without `@`: the mean of `OVER_HORIZONS` over horizons by `horizon_weights` (None = equal),
    undefined if it is for any horizon that has weight.
    """
    metrics: dict[str, float | None] = {}
    for horizon in series.horizons:
        for name, value in _of_horizon(series, horizon).items():
            metrics[f"{name}@{horizon}"] = value
    weights = horizon_weights or dict.fromkeys(series.horizons, 1.0)
    for name in OVER_HORIZONS:
        metrics[name] = over_horizons(metrics, name, weights)
    return metrics


def over_horizons(
    metrics: Mapping[str, float | None], name: str, weights: Mapping[int, float]
) -> float | None:
    """Mean of `name@h` by the horizons' weights; None if it is for one that has weight."""
    total, weight_sum = 0.0, 0.0
    for horizon, weight in weights.items():
        if weight == 0:
            continue
        value = metrics[f"{name}@{horizon}"]
        if value is None:
            return None
        total += weight * value
        weight_sum += weight
    return total / weight_sum if weight_sum else None


def sharpe(returns: Series, horizon: int) -> float | None:
    """Annualised Sharpe ratio of h-day returns that start on every day.

    Returns that start h days apart don't overlap: they form h interleaved series. The variance is
    the mean of theirs, the mean is over all days, and 252 / h periods make a year. None without
    two returns in a series, or without variation within any.
    """
    series = [returns[start::horizon] for start in range(horizon)]
    variances = [part.var(ddof=1) for part in series if len(part) > 1]
    variance = np.mean(variances) if variances else 0.0
    if variance == 0.0 or np.ptp(returns) == 0:
        return None
    return float(returns.mean() / np.sqrt(variance) * sqrt(TRADING_DAYS / horizon))


def _of_horizon(series: DailySeries, horizon: int) -> dict[str, float | None]:
    def days(name: str) -> Series:
        values: Series = series.of(name, horizon).numpy()
        return values

    ic, rank_ic = days("ic"), days("rank_ic")
    hit_over_base = series.values["hit_rate"] - series.values["base_rate"]
    hits: Series = hit_over_base[:, series.horizons.index(horizon)].numpy()
    return {
        "ic": _mean(ic),
        "rank_ic": _mean(rank_ic),
        "icir": _ratio(ic),
        "rank_icir": _ratio(rank_ic),
        "ic_t": newey_west_t(ic, horizon),
        "rank_ic_t": newey_west_t(rank_ic, horizon),
        **_interval("ic", ic, horizon),
        **_interval("rank_ic", rank_ic, horizon),
        "n_days": float(len(rank_ic)),
        "long_short": _mean(days("long_short")),
        "sharpe": sharpe(days("long_short"), horizon),
        "sharpe_net": sharpe(days("long_short_net"), horizon),
        "turnover": _mean(days("turnover")),
        "hit_rate": _mean(days("hit_rate")),
        "base_rate": _mean(days("base_rate")),
        "hit_over_base": _mean(hits[~np.isnan(hits)]),
    }


def _interval(name: str, values: Series, horizon: int) -> dict[str, float | None]:
    found = block_bootstrap(values, horizon)
    return {
        f"{name}_low": found.low if found else None,
        f"{name}_high": found.high if found else None,
    }


def _mean(values: Series) -> float | None:
    return float(values.mean()) if len(values) else None


def _ratio(values: Series) -> float | None:
    if len(values) < 2 or np.ptp(values) == 0:
        return None
    return float(values.mean() / values.std(ddof=1))
