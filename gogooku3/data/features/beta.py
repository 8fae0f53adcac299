"""A stock against the market: betas, and what the market doesn't explain."""

from __future__ import annotations

import numpy as np

from gogooku3.data.features.spec import RETURN_DAYS, FeatureSpec, Float
from gogooku3.data.quantities import BETA_DAYS, Quantities
from gogooku3.data.rolling import rolling_correlation, rolling_mean, rolling_slope, rolling_std

FAMILY = "beta"
RESIDUAL_DAYS = BETA_DAYS + RETURN_DAYS
"""Look-back of one residual return: the day before's beta."""


def residual_return(days: int) -> FeatureSpec:
    """The return that the market's doesn't explain (Blitz, Huij and Martens 2011)."""
    formula = (
        f"sum(residual_return_1, {days})"
        if days > 1
        else f"return_1 - beta_{BETA_DAYS}[-1] * market_return_1"
    )
    return FeatureSpec(
        f"residual_return_{days}",
        formula,
        days - 1 + RESIDUAL_DAYS,
        lambda q: days * rolling_mean(q.residual_1d_TN, days),
        FAMILY,
    )


def residual_volatility(days: int) -> FeatureSpec:
    """How much a stock moves by itself (Ang et al. 2006)."""
    return FeatureSpec(
        f"residual_volatility_{days}",
        f"std(residual_return_1, {days})",
        days - 1 + RESIDUAL_DAYS,
        lambda q: rolling_std(q.residual_1d_TN, days),
        FAMILY,
    )


def _correlation(q: Quantities) -> Float:
    market_TN = np.broadcast_to(q.market_return_T[:, None], q.present_TN.shape)
    return rolling_correlation(q.return_1d_TN, market_TN, 60)


FEATURES = (
    FeatureSpec(
        f"beta_{BETA_DAYS}",
        f"slope of return_1 on market_return_1 over {BETA_DAYS} days",
        BETA_DAYS + RETURN_DAYS - 1,
        lambda q: q.beta_TN,
        FAMILY,
    ),
    FeatureSpec(
        "beta_120",
        "slope of return_1 on market_return_1 over 120 days",
        120 + RETURN_DAYS - 1,
        lambda q: rolling_slope(q.return_1d_TN, q.market_return_T, 120),
        FAMILY,
    ),
    FeatureSpec(
        "market_correlation_60",
        "correlation of return_1 and market_return_1 over 60 days",
        60 + RETURN_DAYS - 1,
        _correlation,
        FAMILY,
    ),
    *(residual_return(days) for days in (1, 5, 20, 60)),
    residual_volatility(20),
    residual_volatility(60),
)
