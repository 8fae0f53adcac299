"""One definition of every metric, for training, API and docs: per day first, then over days."""

from gogooku3.metrics.daily import DailySeries, daily_series
from gogooku3.metrics.inference import Interval, block_bootstrap, newey_west_t
from gogooku3.metrics.ranks import average_ranks
from gogooku3.metrics.stability import population_stability
from gogooku3.metrics.summary import over_horizons, summarise

__all__ = [
    "DailySeries",
    "Interval",
    "average_ranks",
    "block_bootstrap",
    "daily_series",
    "newey_west_t",
    "over_horizons",
    "population_stability",
    "summarise",
]
