"""How sure a mean over days is, when neighbouring days share most of their forward return."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A confidence interval of a mean."""

    low: float
    high: float


def newey_west_t(series: Series, horizon: int = 1) -> float | None:
    """t statistic of the mean with Newey-West (1987) standard errors.

    The lag is at least twice `horizon - 1` (an h-day return overlaps the next h - 1, and the
    Bartlett weights would otherwise see only two thirds of that overlap) and at least the usual
    4 (n / 100)^(2/9). None with fewer than 3 days or without variation.
    """
    count = len(series)
    if count < 3:
        return None
    lag = min(count - 1, max(2 * (horizon - 1), int(4 * (count / 100) ** (2 / 9))))
    centred = series - series.mean()
    variance = float(centred @ centred) / count
    for step in range(1, lag + 1):
        weight = 1 - step / (lag + 1)
        variance += 2 * weight * float(centred[step:] @ centred[:-step]) / count
    if not variance > 0 or np.ptp(series) == 0:
        return None
    return float(series.mean()) / sqrt(variance / count)


def block_bootstrap(
    series: Series, horizon: int = 1, *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> Interval | None:
    """Moving-block bootstrap (Kuensch 1989) percentile interval of the mean.

    Blocks are `max(2 horizon, n^(1/3))` days long. The draws come from `seed` alone: the same
    series always has the same interval. None with fewer than two blocks of days.
    """
    count = len(series)
    length = max(2 * horizon, ceil(count ** (1 / 3)))
    if count < 2 * length:
        return None
    blocks = ceil(count / length)
    sums = np.concatenate([[0.0], np.cumsum(series)])
    starts = np.random.default_rng(seed).integers(0, count - length + 1, size=(draws, blocks))
    # The last block is cut so that every resample has as many days as the series.
    lengths = np.full(blocks, length)
    lengths[-1] = count - length * (blocks - 1)
    means = (sums[starts + lengths] - sums[starts]).sum(axis=1) / count
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(low), float(high))
