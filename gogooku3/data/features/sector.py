"""A stock's sector, and its place within it."""

from __future__ import annotations

from collections.abc import Callable

from gogooku3.data.features.spec import RETURN_DAYS, FeatureSpec, Float, Need
from gogooku3.data.quantities import STALE_DAYS, Quantities
from gogooku3.data.ranks import group_rank

FAMILY = "sector"
SECTOR = frozenset[Need]({"sector"})


def sector_return(days: int) -> FeatureSpec:
    """The return of the sector (Moskowitz and Grinblatt 1999)."""
    return FeatureSpec(
        f"sector_return_{days}",
        f"mean of return_{days} over the sector's stocks in the universe",
        days + 1 + STALE_DAYS,
        lambda q: q.sector_return(days),
        FAMILY,
        needs=SECTOR,
    )


def sector_relative(days: int) -> FeatureSpec:
    """The return less the sector's."""
    return FeatureSpec(
        f"sector_relative_{days}",
        f"return_{days} - sector_return_{days}",
        days + 1 + STALE_DAYS,
        lambda q: q.past_return(days) - q.sector_return(days),
        FAMILY,
        needs=SECTOR,
    )


def sector_rank(
    name: str, lookback_days: int, compute: Callable[[Quantities], Float], *more: Need
) -> FeatureSpec:
    """The rank of another feature within the sector."""
    return FeatureSpec(
        f"sector_rank_{name}",
        f"share of the sector's stocks in the universe with a smaller {name}",
        lookback_days,
        lambda q: group_rank(compute(q), q.bars.sector_N, q.counted_TN),
        FAMILY,
        needs=SECTOR | {*more},
    )


FEATURES = (
    *(sector_return(days) for days in (1, 5, 20, 60)),
    *(sector_relative(days) for days in (1, 5, 20, 60)),
    sector_rank("return_5", 6 + STALE_DAYS, lambda q: q.past_return(5)),
    sector_rank("return_20", 21 + STALE_DAYS, lambda q: q.past_return(20)),
    sector_rank("volatility_20", 20 + RETURN_DAYS - 1, lambda q: q.volatility(20)),
    sector_rank("turnover_20", 20, lambda q: q.liquidity_TN, "volume"),
)
