"""The features: one table of name, formula, look-back and what works it out, by family.

Each value at t is made of rows <= t and is free of the price level: dividing every price of a stock
by a constant and multiplying its volumes by it (a split) changes nothing. Back-adjusted levels hold
later splits and dividends and are therefore never a feature.
"""

from __future__ import annotations

from gogooku3.data.features import (
    beta,
    calendar,
    liquidity,
    market,
    price,
    sector,
    technical,
    validity,
    volatility,
)
from gogooku3.data.features.spec import FeatureSpec

__all__ = ["FEATURES", "FeatureSpec"]

FEATURES: tuple[FeatureSpec, ...] = (
    *price.FEATURES,
    *volatility.FEATURES,
    *technical.FEATURES,
    *liquidity.FEATURES,
    *beta.FEATURES,
    *sector.FEATURES,
    *validity.FEATURES,
    *market.FEATURES,
    *calendar.FEATURES,
)
"""Every feature, in the order of the cache's last axis. Those that need sectors or volumes are left
out when the source has none. The market's come last: a batch writes them over its rows in one
stretch (`data.rows`)."""
